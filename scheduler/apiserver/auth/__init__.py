"""Authentication and authorization: tokens, the server certificate, roles, access reviews.

Knows `base`.
Start with `middleware.py`, which every request passes first.
"""
