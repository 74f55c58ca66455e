"""Step 4, divide: which site gets how many replicas, by strategy, groups, affinity and spread.

Knows `filter`, `fit`, `cost` and `fleet`.
Start with `divide.py`; `spread/` searches the cheapest division that meets spread constraints.
"""
