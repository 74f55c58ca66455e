"""Which workload is decided next, which events requeue it, and where capacity is reserved for it.

Pure; `control.queue` holds the queue itself. Knows `choose` and below, and the events of the rules.
Start with `order.py`.
"""
