"""What of the documentation is made from the code: `python -m tests.docs --write` makes it anew."""
