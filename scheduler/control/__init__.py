"""The loops: reports become a fleet, workloads become decisions, decisions become orders.

Knows `model`, `placement` and `energy`, and the world only through `ports`: no vendor names here.
Start with `controller.py` (every event comes in there), then `reconcile/reconciler.py`.
"""
