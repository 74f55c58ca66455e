"""Every metric of the scheduler, defined once; a test compares the list with docs/metrics.md.

Start with `definition.py`; `all_metrics.py` has them together.
"""
