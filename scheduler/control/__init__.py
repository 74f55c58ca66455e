"""The loops: what is heard becomes a fleet, what is asked a decision, a decision an order.

No vendor names here: the hub, the broker and the ledger are ports (`ports.py`) that `app` plugs in.
"""
