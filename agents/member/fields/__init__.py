"""Which fields of an object at the site are ours, and which belong to another writer there.

Start with `owned_fields.py`.
"""
