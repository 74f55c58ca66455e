"""The tamper-evident decision record: every decision is here before its order goes out.

Three ideas, one file each:

- `record`: a record holds the hash of the record before it (SHA-256 over canonical JSON), so that
  an edit, a gap or a new order breaks the chain from that place on. Cutting off the end is found
  with an *anchor* (sequence and hash, kept elsewhere) and by the hash in each object's
  `status.decision`.
- `blobs`, `fleet`: what decisions stand on (the facts of each site) is kept once under its own
  hash, in a hash tree, so that a fleet of which one site changed costs that site and its branch.
- `writer`, `ledger`: one thread writes, many records per transaction, SQLite with WAL and
  synchronous=FULL; `append` returns when the record is on the disk.

Reading (`reader`, `verify`) opens the file read-only and works while `kapok up` writes to it.
"""
