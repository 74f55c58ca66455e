"""What the loops know now: the hub's objects, the sites, quotas, usage, who owns which object.

Knows `ports` and `model`. Nothing is decided here.
Start with `objects.py` (from the hub) and `sites.py` (from the agents).
"""
