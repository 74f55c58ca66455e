"""Drills: a site is treated as lost for a while, while its agent and its pods run on.

Start with `drill_loop.py`; `drill_word.py` is what operators and the leader write to the hub.
"""
