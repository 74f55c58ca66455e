"""Spread constraints: over how many groups replicas are divided, and how many each may hold.

Knows `fit`, `cost`, `fleet` and the solver; `divide` calls it.
Start with `spread.py`; `levels.py` numbers the groups, `search.py` is the integer program.
"""
