"""`kapok-agent doctor`: what would keep the agent from its work, and what to do about each.

It looks at settings, files, disk, clock, broker and cluster, changes nothing and sends no report.
Start with `examination.py`, which runs all checks at once, each bounded in time. The checks know
settings, files, the session with the broker and the client of the cluster; nothing knows them.
"""
