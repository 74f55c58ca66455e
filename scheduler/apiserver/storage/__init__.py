"""All objects in memory, their history for watches, and SQLite under them.

Knows `kinds` and `base`.
Start with `object_store.py`; `sqlite.py` has the one writer thread with group commit.
"""
