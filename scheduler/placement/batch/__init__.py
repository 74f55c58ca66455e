"""Many workloads at once: prices of scarce capacity, and an order, close to the optimum.

Knows `choose` and the solver.
Start with `place.py` (over a fleet); `batch.py` is the bare assignment problem with its bound.
"""
