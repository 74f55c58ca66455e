"""What sites used, by hour: from the totals in reports to rows of the ledger.

Start with `collector.py`. Nothing here is an input of a decision.
"""
