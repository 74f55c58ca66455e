"""Which workload is decided next, and what wakes workloads that wait.

Knows `state`, and the pure rules of `placement.queue`.
Start with `work_queue.py`; `capacity_watch.py` finds who could use freed capacity.
"""
