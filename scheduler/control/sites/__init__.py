"""What is known of the sites: reports, health, capacity in flight, what is left behind.

Knows `state`, `ports` and `model`. Nothing is decided here.
Start with `sites.py`; `site_state.py` has what is kept of one site, `site_readiness.py` the
condition Ready.
"""
