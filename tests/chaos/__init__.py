"""The service, killed again and again while it works: nothing may be lost, done twice or left behind."""
