"""Heartbeats: what an agent sends in place of a report while nothing changes.

The one form of a message that is not JSON. Of the protocol it knows bounds and errors.
Start with `chain.py`: how they are made, and how the hub checks them.
"""
