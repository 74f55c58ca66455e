"""All objects in memory, the history of changes for watches, and the SQLite file.

Knows `kinds` and `base`.
Start with `object_store.py`; `sqlite.py` has the writer thread, which groups commits.
"""
