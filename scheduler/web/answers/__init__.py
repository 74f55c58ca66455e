"""What the page asks about workloads, tenants and the queue, as JSON.

Start with `handlers.py`. Everything here reads a snapshot, on any thread. What needs the engine or
the ledger comes through `source.py`.
"""
