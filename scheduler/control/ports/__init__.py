"""What the loops need of the world, as protocols: the hub, the agents, the ledger, telemetry.

Knows `model` only. `hub`, `mqtt`, `ledger` and `web` implement these; `app` plugs them in.
Start with `hub.py`.
"""
