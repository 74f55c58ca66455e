"""What the commands share that move work between sites: `kapok failover` and `kapok site`.

Start with `moves.py`: who asks, and what went from which site to which. `drain_preview.py` shows
what a drain would move, by the same plan and the same engine as the scheduler's.
"""
