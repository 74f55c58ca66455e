"""Energy of the past: hours of meters, two carbon ledgers, money, the report of a month. Pure.

Start with `hours.py`, then `ledgers.py`. Nothing here is an input of a decision.
"""
