"""A scenario: its words, the changes that they mean, and what these make of a copy of the fleet.

`words.py` reads the words, of the command line, of a saved scenario or of the page's address, into
the values of `changes.py`. Start with `apply.py`, which makes them to a copy.
"""
