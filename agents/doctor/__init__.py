"""`kapok-agent doctor`: what would keep the agent from its work, and what to do about each.

It looks at settings, files, disk, clock, broker and cluster, changes nothing and sends no report.
`examination.py` runs all checks at once, each bounded in time.
"""
