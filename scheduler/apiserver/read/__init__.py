"""Reading of objects: lists, watches, selectors, tables.

Knows `storage`, `kinds` and `base`.
Start with `lists.py` and `watch.py`.
"""
