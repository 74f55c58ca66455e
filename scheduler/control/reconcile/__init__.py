"""One workload, from its spec to its orders: decide, record, write, order.

Knows `orders`, `stats`, `queue`, `state`, `status` and `events`. All effects of a decision are
here. Start with `reconciler.py`, then `decide.py`; `triggers.py` says when a decision is due.
"""
