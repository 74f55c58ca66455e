"""MQTT: the session with the broker, the messages from agents, the messages to them.

Implements the agents port of `control`; the only package that knows `agents.protocol`.
Start with `receiver.py`, which queues messages by site, `ingest.py`, which verifies and decodes
them, and `order_publisher.py`, which signs orders.
"""
