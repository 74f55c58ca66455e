"""The tamper-evident ledger: every decision is recorded here before its orders are published.

- `record`: each record holds the hash of the one before it (SHA-256 over canonical JSON), so that
  an edited, missing or reordered record breaks the chain from there on.
- `segments`, `sealer`: runs of records are signed with the hub's key, and so is the *head* of any
  moment, which leaves the hub with the indexes.
- `witnesses`: a head that a site holds, the hash in an object's `status.decision` or an *anchor*
  (sequence and hash, kept elsewhere) reveals a cut end, and a history that was written again.
- `blobs`, `fleet`: the inputs of decisions (the facts of each site) are stored once under their
  own hash, in a hash tree, so that a fleet in which one site changed adds that site and its branch.
- `writer`, `ledger`: one thread writes, many records per transaction, SQLite with WAL and
  synchronous=FULL; `append` returns when the record is durable.
- `reader`, `verify`, `replay`: open the file read-only, also while `kapok up` writes to it.

Knows `model`, `placement` (to replay) and the ledger port of `control`.
Start with `record.py`, then `recorder.py`, which writes decisions, and `replay.py`.
"""
