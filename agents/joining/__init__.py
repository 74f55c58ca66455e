"""Joining: a machine becomes the agent of a site by a token, and its certificate renews itself.

It knows the settings, the data directory and the protocol. Start with `join.py`; `command.py` is
what technicians type, and `renewal.py` runs in the agent.
"""
