"""The embedded hub in a process of its own: `child.py` is that process.

The API server and the scheduler each have an event loop and a core, and neither waits for the
other. What they say to each other beside HTTP is one JSON object a line (`messages.py`). The
scheduler talks to its hub through a Unix socket in the data directory, where TLS would only cost
time; everybody else uses TLS on the hub's port. Knows `apiserver`, `control/status` and `hub/crds`.
Start with `supervisor.py`.
"""
