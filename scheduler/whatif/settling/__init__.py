"""Decides on a copy of the fleet what waits and what a scenario concerns, as the loops would.

Knows the engine and the copy. Start with `settle.py`; `settled_fleet.py` is what it decides on.
"""
