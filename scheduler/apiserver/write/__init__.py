"""Writing of objects: create, update, patches, server-side apply, deletion.

Knows `storage`, `kinds` and `base`.
Start with `writer.py`, whose steps every write takes.
"""
