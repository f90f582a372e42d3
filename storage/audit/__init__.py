"""The audit's side of the database: everything is read in one snapshot, and nothing is written.

`compare` is the whole of it; each other file compares one thing.
"""
