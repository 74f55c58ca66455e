"""Energy of the past: hours of meters, two carbon ledgers, money, the report of a month. Pure.

Knows `model`, factors, power and tariffs. Nothing here is an input of a decision.
Start with `hours.py`, then `ledgers.py`.
"""
