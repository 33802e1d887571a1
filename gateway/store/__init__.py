"""Persistence: the only package that knows the database and the object store."""
