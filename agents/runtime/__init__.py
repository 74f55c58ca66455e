"""What the agent needs of its machine: clock, data directory, back-off.

Knows `protocol` only.
Start with `data_dir.py`: the agent's key, and files that survive a power cut.
"""
