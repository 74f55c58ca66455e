"""The tamper-evident ledger: every decision is recorded here before its orders are published.

- `record`: each record holds the hash of the one before it (SHA-256 over canonical JSON), so that
  an edited, missing or reordered record breaks the chain from there on. An *anchor* (sequence and
  hash, kept elsewhere) or the hash in an object's `status.decision` reveals a cut end.
- `blobs`, `fleet`: the inputs of decisions (the facts of each site) are stored once under their
  own hash, in a hash tree, so that a fleet in which one site changed adds that site and its branch.
- `writer`, `ledger`: one thread writes, many records per transaction, SQLite with WAL and
  synchronous=FULL; `append` returns when the record is durable.
- `reader`, `verify`, `replay`: open the file read-only, also while `kapok up` writes to it.

Knows `model`, `placement` (to replay) and the ledger port of `control`.
Start with `record.py`, then `recorder.py`, which writes decisions, and `replay.py`.
"""
