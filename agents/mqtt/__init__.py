"""The session with the MQTT broker: routes received messages, and builds messages to publish.

Knows `orders`, `sensors`, `config`, `metrics`, `runtime` and `protocol`.
Start with `session.py`.
"""
