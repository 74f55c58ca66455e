"""What the loops need from outside, as protocols: the hub, the agents, the ledger, telemetry.

Knows `model` only. `hub`, `mqtt`, `ledger` and `web` implement these; `app` connects them.
Start with `hub.py`.
"""
