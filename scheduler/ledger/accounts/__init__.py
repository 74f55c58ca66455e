"""Records of what sites used, beside those of decisions.

They are appended, signed and witnessed by the same ledger. Knows the ledger and the rows of
`scheduler.energy.accounts`. Start with `energy_pages.py`.
"""
