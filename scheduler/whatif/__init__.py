"""What if: a scenario on a copy of the fleet, decided by the engine itself; pure.

A copy (`fleet_copy.py`) holds the facts, objects and terms of one instant, of a running scheduler
or of files. A scenario is a list of changes, which `scenario/` reads and makes to the copy. Then
`settle.py` decides what waits and what the changes concern, as the loops would, and `answer.py`
compares both. `capacity.py` says what still fits where, and `purchases.py` what to buy next.
Nothing is written anywhere. Knows `model` and `placement`. Start with `answer.py`.
"""
