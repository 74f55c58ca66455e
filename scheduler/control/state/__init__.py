"""What the loops know: the hub's objects, the sites, quotas, usage, the owner of each object.

Knows `ports` and `model`. Nothing is decided here.
Start with `objects.py` (from the hub) and `sites.py` (from the agents).
"""
