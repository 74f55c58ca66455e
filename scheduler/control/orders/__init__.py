"""What each site is told to run, until the site confirms it.

Knows `state` and `ports`.
Start with `build.py` (placement to orders), then `sync.py` and `dispatch.py`.
"""
