"""Reading of objects: lists, watches, selectors, tables.

Knows `write`, `storage`, `kinds` and `base`.
Start with `lists.py` and `watch.py`.
"""
