"""MQTT: the session with the broker, what arrives from agents, what is published to them.

Implements the agents port of `control`; the only package that knows `agents.protocol`.
Start with `ingest.py` (a report is decoded there) and `order_publisher.py` (orders are signed).
"""
