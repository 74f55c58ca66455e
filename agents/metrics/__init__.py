"""What the agent counts, and `/metrics` on a port of its own.

Knows nothing else of ours.
Start with `counters.py`.
"""
