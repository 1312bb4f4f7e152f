"""syncd measures where dubs lie against their master: offset, speed, edits, or «not the same programme»."""

__version__ = "0.1.0"
