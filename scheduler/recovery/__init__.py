"""What a start finds missing, replaced or damaged, and how an operator accepts a loss.

A missing file must not look like a new hub: it would forget who may run what, withdraw what runs,
or begin its epochs again. Start with `losses.py`.
"""
