"""Which workload is decided next, which event requeues which, and for whom capacity is reserved.

Pure rules; `control.queue` holds the queue itself. Knows `filter` for the rules' events.
Start with `order.py`.
"""
