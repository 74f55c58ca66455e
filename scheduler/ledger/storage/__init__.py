"""Where the ledger is stored: a file of SQLite, or a database of PostgreSQL that replicas share.

- `database`: the seam. Chains, segments, group commit and verification are the same code above it.
- `sqlite`: the file in a data directory, the default of one replica.
- `postgres`, `postgres_url`: one chain for several replicas; an append locks the end of the chain.
- `places`: opens one or the other; reads of a server never hold the event loop for long.

Knows the ledger's records and blobs. Start with `database.py`.
"""
