"""Files that were made to do harm, read by real workers: an answer or a code, never a crash, a hang or a way out."""
