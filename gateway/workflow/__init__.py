"""The steps of a case's life, one module each, in the order in which the data flows."""
