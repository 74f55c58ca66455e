"""The HTTP server on loopback: the page, /api/v1, /metrics, /healthz and /readyz.

Knows `control` (to take snapshots of its state), `placement` and `model`; changes nothing of them.
Start with `server.py`; `snapshot.py` is the state that it shows, `metric_definitions` the metrics.
"""
