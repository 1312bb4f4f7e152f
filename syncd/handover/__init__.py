"""What is done with a pair once its report is out: a command is run, its files are moved."""
