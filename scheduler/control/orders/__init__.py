"""Orders: what each site is to run, published until the site confirms it.

Knows `state` and `ports`.
Start with `build.py` (placement to orders), then `sync.py` and `dispatch.py`.
"""
