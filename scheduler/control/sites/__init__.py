"""What is known of the sites: reports, health, capacity in flight, what is left behind.

Knows `state`, `ports` and `model`. Nothing is decided here.
Start with `sites.py`; `site_readiness.py` has the condition Ready.
"""
