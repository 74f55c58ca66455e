"""A small Kubernetes API server: the hub of `kapok up`, and the member clusters of tests.

It serves our kinds and the core kinds that we touch, in one process, kept in SQLite; for these
kubectl and the Kubernetes clients work as against a real one. Of ours it knows `runtime.clock` and
`hub.schema` only. Start with `server.py`, which has an example; a request goes http, verbs, write
or read, storage.
"""
