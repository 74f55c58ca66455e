"""The agent's metrics, and the HTTP server that shows them at `/metrics`.

Knows `protocol` only.
Start with `counters.py`.
"""
