"""Records, chained by hashes: each names the hash of the one before it.

The hash of a record covers its canonical bytes, which hold the sequence, the id, the subject, the
digests of the blobs that it refers to, and the previous hash; the first record's previous hash is
all zeros. Chained as in Haber and Stornetta, "How to time-stamp a digital document" (1991).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scheduler.ledger.blobs import Blob
from scheduler.model.canonical import canonical_json, digest_of_bytes

GENESIS = "sha256:" + "0" * 64
"""The previous hash of the first record."""
NOT_CARRIED_OUT_KIND = "not-carried-out"
"""The kind of a record which says that a decision had no effect."""
UNDOES = "undoes"
"""The field of its content that names the decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """An entry to record.

    Attributes:
        kind: what happened: "decision", "refusal", "not-carried-out", "deletion", "batch", "loss"
            or "adoption".
        subject: what it is about, "namespace/name" of a workload for the first four.
        epoch: the leader's epoch; the record's id is made of it and the sequence.
        at: when it happened; an aware instant.
        content: the facts, of JSON values or msgspec Structs.
        refs: digests of the blobs that the content needs; each must be stored already or be in
            `blobs`.
        blobs: blobs, written in the same transaction; those already stored are skipped.
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
    """Confirms that a record is durable; its id and hash go into `status.decision`."""

    seq: int
    id: str
    hash: str

    @property
    def anchor(self) -> str:
        """`SEQ:HASH`, to be kept where those who can write the ledger cannot."""
        return f"{self.seq}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Record:
    """A record as stored; `body` holds the bytes that the hash covers."""

    seq: int
    id: str
    hash: str
    subject: str
    body: bytes
    fields: Mapping[str, Any] = field(repr=False)

    @property
    def kind(self) -> str:
        """What happened, as in `LedgerEntry.kind`."""
        return str(self.fields["kind"])

    @property
    def at(self) -> str:
        """When it happened, ISO 8601."""
        return str(self.fields["at"])

    @property
    def content(self) -> Mapping[str, Any]:
        """The facts of the entry."""
        content: Mapping[str, Any] = self.fields["content"]
        return content

    @property
    def refs(self) -> Sequence[str]:
        """Digests of the blobs that the content needs."""
        refs: Sequence[str] = self.fields["refs"]
        return refs

    @property
    def anchor(self) -> str:
        """`SEQ:HASH`."""
        return f"{self.seq}:{self.hash}"


def chain_entry(entry: LedgerEntry, *, seq: int, previous: str) -> Record:
    """Makes the record that follows `previous`.

    Args:
        entry: the entry to record.
        seq: the record's sequence number, from 1.
        previous: hash of record `seq` - 1, or `GENESIS`.

    Returns:
        The record; its id `EPOCH-SEQ` is unique in the ledger.
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
    """Makes a record of the columns of its row; the hash is not checked.

    Raises:
        ValueError: the body is not a JSON object.
    """
    fields = json.loads(body)
    if not isinstance(fields, dict):
        raise ValueError("the record is not a JSON object")  # noqa: TRY004 - a wrong value, not a wrong call
    return Record(seq, record_id, digest, subject, body, fields)


def undone_ids(records: Iterable[Record]) -> set[str]:
    """The ids of the decisions that these records say were not carried out."""
    return {str(one.content.get(UNDOES)) for one in records if one.kind == NOT_CARRIED_OUT_KIND}


def in_effect(newest_first: Iterable[Record], undone: Iterable[str] = ()) -> Iterator[Record]:
    """The records about one subject that took effect, the newest first.

    Args:
        newest_first: the records; one that a decision had no effect comes before the decision.
        undone: ids of further decisions that had none.
    """
    without_effect = set(undone)
    for one in newest_first:
        if one.kind == NOT_CARRIED_OUT_KIND:
            without_effect |= undone_ids([one])
        elif one.id not in without_effect:
            yield one
