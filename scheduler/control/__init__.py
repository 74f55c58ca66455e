"""The loops: reports become a fleet, workloads become decisions, decisions become orders.

Knows `model`, `placement` and `energy`; hub, broker, ledger and metrics only through `ports`.
Start with `controller.py` (every event arrives there), `worker.py`, `reconcile/reconciler.py`.
"""
