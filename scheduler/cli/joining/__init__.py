"""What `kapok site join` and `kapok site revoke` do, and how lists of sites are read.

It writes to the hub only. Start with `join.py`; `site_list.py` reads CSV files.
"""
