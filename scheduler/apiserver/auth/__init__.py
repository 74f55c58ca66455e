"""Who sends a request and what they may do: tokens, certificates, roles, access reviews.

Knows `base`.
Start with `middleware.py`, which every request passes first.
"""
