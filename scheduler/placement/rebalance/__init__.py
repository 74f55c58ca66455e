"""Whether a placement somewhere else would save enough to be worth the move; pure.

Start with `saving.py`. `plan.py` says which workloads may move, and in which order.
"""
