"""A small Kubernetes API server: the hub of `kapok up`, and the member clusters of tests.

One process serves our kinds and the core kinds that Kapok uses, and stores them in SQLite. kubectl
and the Kubernetes clients use them as on a real API server. It knows only `runtime.clock` and
`hub.schema` of our packages.
Start with `server.py`, which has an example; a request comes by `connection.py` or aiohttp, passes
`http.py`, `verbs.py`, then `write/` or `read/`, then `storage/`.
"""
