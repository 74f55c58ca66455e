"""What the commands share that show figures: forms of output and the live screen.

Knows `support`, the ledger's records, and the pure packages.
Start with `forms.py`.
"""
