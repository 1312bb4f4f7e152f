"""Golden reports: what the daemon says of a few small pairs, kept, and the command that makes them."""
