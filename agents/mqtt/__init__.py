"""The session with the broker: what comes in is routed, reports and statuses are published.

Knows `orders`, `sensors`, `runtime` and `protocol`.
Start with `session.py`.
"""
