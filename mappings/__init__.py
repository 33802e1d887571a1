"""Pure functions from one vocabulary to another, and the tables they read. No I/O beyond those tables."""
