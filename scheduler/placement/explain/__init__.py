"""Every verdict and cost of a decision, site by site, and the smallest changes that would help.

Knows `choose` and everything below it; nothing of a decision depends on this package.
Start with `explain.py`; `suggest.py` verifies each change by running the engine.
"""
