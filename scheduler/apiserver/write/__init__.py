"""How an object changes: create, update, patches, server-side apply, deletion.

Knows `storage`, `kinds` and `base`.
Start with `writer.py`: the one way from a request to the disk.
"""
