"""All objects in memory, the history of changes for watches, and the SQLite file.

Knows `kinds` and `base`.
Start with `object_store.py`; `stored_object.py` says what is held of an object, and `sqlite.py`
has the writer thread, which groups commits.
"""
