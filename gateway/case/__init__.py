"""Rules of a case, in plain Python: no protocol, no database, no clock, no I/O."""
