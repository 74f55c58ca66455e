"""The chain: a record names the hash of the one before it.

The hash of a record covers its canonical bytes, and these hold the sequence, the id, the subject,
the digests of the blobs that it stands on, and the previous hash. The first record's previous hash
is all zeros. Chained hashes as in Haber and Stornetta, "How to time-stamp a digital document"
(1991).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scheduler.ledger.blobs import Blob
from scheduler.model.canonical import canonical_json, digest_of_bytes

GENESIS = "sha256:" + "0" * 64
"""The previous hash of the first record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What a caller hands in.

    Attributes:
        kind: what happened, "decision" for a placement.
        subject: whom it is about, "namespace/name" of the workload.
        epoch: the leader's epoch; with the sequence it makes the id.
        at: when, aware.
        content: the facts, made of JSON values or msgspec Structs.
        refs: digests of blobs that the content stands on; each must be stored before or come in
            `blobs`.
        blobs: new blobs, written in the same transaction. Those already stored cost nothing.
    """

    kind: str
    subject: str
    epoch: int
    at: datetime
    content: Mapping[str, Any]
    refs: Sequence[str] = ()
    blobs: Sequence[Blob] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that a record is durable: this id and hash go into `status.decision`."""

    seq: int
    id: str
    hash: str

    @property
    def anchor(self) -> str:
        """`SEQ:HASH`, to be kept where the ledger's keeper cannot write."""
        return f"{self.seq}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was read; `body` are the bytes that the hash covers."""

    seq: int
    id: str
    hash: str
    subject: str
    body: bytes
    fields: Mapping[str, Any] = field(repr=False)

    @property
    def kind(self) -> str:
        """What happened."""
        return str(self.fields["kind"])

    @property
    def at(self) -> str:
        """When, ISO 8601."""
        return str(self.fields["at"])

    @property
    def content(self) -> Mapping[str, Any]:
        """The facts that were handed in."""
        content: Mapping[str, Any] = self.fields["content"]
        return content

    @property
    def refs(self) -> Sequence[str]:
        """Digests of the blobs that this record stands on."""
        refs: Sequence[str] = self.fields["refs"]
        return refs

    @property
    def anchor(self) -> str:
        """`SEQ:HASH`."""
        return f"{self.seq}:{self.hash}"


def chain_entry(entry: LedgerEntry, *, seq: int, previous: str) -> Record:
    """Makes the record that follows `previous`.

    Args:
        entry: what happened.
        seq: the record's place, 1 for the first.
        previous: hash of record `seq` - 1, or `GENESIS`.

    Returns:
        The record; its id is `EPOCH-SEQ`, which no other record of this ledger has.
    """
    fields = {
        "seq": seq,
        "id": f"{entry.epoch}-{seq}",
        "previous": previous,
        "kind": entry.kind,
        "subject": entry.subject,
        "at": entry.at.isoformat(),
        "refs": list(entry.refs),
        "content": dict(entry.content),
    }
    body = canonical_json(fields)
    return record_of_row(
        seq=seq,
        record_id=str(fields["id"]),
        digest=digest_of_bytes(body),
        subject=entry.subject,
        body=body,
    )


def record_of_row(*, seq: int, record_id: str, digest: str, subject: str, body: bytes) -> Record:
    """A record from the columns of its row; nothing is checked here.

    Raises:
        ValueError: the body is not a JSON object.
    """
    fields = json.loads(body)
    if not isinstance(fields, dict):
        raise ValueError("the record is not a JSON object")  # noqa: TRY004 - a wrong value, not a wrong call
    return Record(seq, record_id, digest, subject, body, fields)
