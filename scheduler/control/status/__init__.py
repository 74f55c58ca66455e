"""`Workload.status` as a value: phases, placement groups, conditions, moves. Pure.

Knows `model` and `ports`.
Start with `workload.py`; `migration.py` is the state machine of replicas that move.
"""
