"""What the agent needs of its machine: clock, identity, back-off, files that survive a power cut.

Knows `protocol` only.
Start with `identity.py`: the agent's key and its boots.
"""
