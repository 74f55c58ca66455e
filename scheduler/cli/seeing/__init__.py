"""What the commands share that show figures: forms of output, timelines, energy, the live screen.

Knows `support`, the ledger's records, and the pure packages.
Start with `forms.py`.
"""
