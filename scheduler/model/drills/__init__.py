"""Drills: a site is treated as lost for a while, and what that shows of each workload there.

Start with `drill.py`: what is measured, and which drills are refused. `report.py` is the answer.
"""
