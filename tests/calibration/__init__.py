"""How confident syncd may be: pairs of every strength in memory, what was said of them, and the curves that follow."""
