"""What-ifs of the running scheduler, each answered in a process of its own from a copy of state.

An answer takes seconds of a core and some hundred megabytes; here it takes them from neither the
event loop nor the scheduler's memory, and it can be ended at any moment. The process cannot reach
the hub, the broker or the ledger. Knows `whatif`, and of `control` the state that is copied.
Start with `asker.py`.
"""
