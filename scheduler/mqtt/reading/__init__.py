"""Reports of sites, of which only what has changed is read again.

Knows the protocol, and what reads a report as a whole.
Start with `report_reader.py`; `node_classes.py` does the same for the rows of nodes.
"""
