"""A term of a leader: how it begins, what it plans and decides, and the loops that do it.

Start with `term.py`.
"""
