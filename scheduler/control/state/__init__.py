"""What the loops know: the hub's objects, quotas, usage, the owner of each object.

Knows `ports` and `model`. Nothing is decided here.
Start with `objects.py`; what agents report is in `control/sites`.
"""
