"""Records, chained by hashes: each names the hash of the one before it.

The hash of a record covers its canonical bytes, which hold the sequence, the id, the subject, the
digests of the blobs that it refers to, and the previous hash; the first record's previous hash is
all zeros. Chained as in Haber and Stornetta, "How to time-stamp a digital document" (1991).

A record of kind "equal-decisions" holds decisions about several workloads, each its share of the
record. `share_of` shows one of them as the record of that decision alone: its id is that of the
record, `#`, and its index.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
UNDOES_INDEX = "index"
"""The field of its content that says which share of that record; absent: the only one."""
DECISION_KIND = "decision"
EQUAL_KIND = "equal-decisions"
"""The kind of a record of several equal decisions; its subject is `NAMESPACE/*`."""
EVICTIONS_KIND = "evictions"
"""The kind of a record which says what holds evictions back from its time on."""
EVICTIONS_SUBJECT = "evictions"
"""Its subject: it is about no single workload."""
FORGOTTEN_KIND = "site-forgotten"
"""The kind of a record which says that an operator forgets a site, and what is left there."""
FORGOTTEN_SUBJECT = "sites"
"""Its subject; the content names the site."""
DRILL_KIND = "drill"
"""The kind of a record which says that a drill begins, or what it showed."""
DRILL_SUBJECT = "drills"
"""Its subject; the content names the site."""
VICTIMS = "victims"
"""The field of a decision's content with the digest of what could end for it: work of all tenants,
which is a blob so that readers of one namespace get it without names; absent: nothing could."""
REFERENCES = "references"
"""The field of a decision's content that names what goes along with the orders; often absent. In a
share it is the index of an entry of `REFERENCE_SETS`."""
REFERENCE_SETS = "referenceSets"
"""The field of a record of equal decisions with the different `REFERENCES` of its shares."""
SHARES = "shares"
"""The field of its content with what differs between the workloads, one entry for each."""
MAX_SHARES = 1024
"""The most shares of one record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """An entry to record.

    Attributes:
        kind: what happened: "decision", "refusal", "not-carried-out", "deletion",
            "equal-decisions", "batch", "evictions", "site-forgotten", "drill", "loss" or
            "adoption".
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
    """A record as stored; `body` holds the bytes that the hash covers.

    Attributes:
        index: of a share of a record: which one; `id`, `subject` and `fields` are then those of
            the share, all else is of the whole record. None: it is a whole record.
    """

    seq: int
    id: str
    hash: str
    subject: str
    body: bytes
    fields: Mapping[str, Any] = field(repr=False)
    index: int | None = None

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

    @property
    def share_subjects(self) -> list[str]:
        """The workload of each share, in order; empty for a record of another kind.

        Raises:
            ValueError: the record is damaged.
        """
        return [] if self.index is not None else share_subjects_of(self.fields)


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


def record_of_row(
    *, seq: int, record_id: str, digest: str, subject: str, body: bytes, index: int | None = None
) -> Record:
    """Makes a record of the columns of its row; the hash is not checked.

    Args:
        seq: its sequence.
        record_id: its id.
        digest: its hash.
        subject: what it is about.
        body: its bytes.
        index: which share of it is wanted; None: the whole record.

    Raises:
        ValueError: the body is not a JSON object, or has no such share.
    """
    fields = json.loads(body)
    if not isinstance(fields, dict):
        raise ValueError("the record is not a JSON object")  # noqa: TRY004 - a wrong value, not a wrong call
    record = Record(seq, record_id, digest, subject, body, fields)
    return record if index is None else share_of(record, index)


def share_subjects_of(fields: Mapping[str, Any]) -> list[str]:
    """The workload of each share of a record, in order; empty for a record of another kind.

    Raises:
        ValueError: the record is damaged.
    """
    if fields.get("kind") != EQUAL_KIND:
        return []
    try:
        subjects = [one["workload"] for one in fields["content"]["decisions"]["subjects"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"the record does not name its workloads: {error!r}") from error
    if not all(isinstance(one, str) for one in subjects):
        raise ValueError("the record does not name its workloads")
    return subjects


def share_of(record: Record, index: int) -> Record:
    """One share of a record of equal decisions, as the record of that decision alone.

    Raises:
        ValueError: it has no such share, or is damaged.
    """
    subjects = share_subjects_of(record.fields)
    if not 0 <= index < len(subjects):
        raise ValueError(f"the record has {len(subjects)} shares, and no share {index}")
    try:
        content = _share_content(record.content, index)
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"share {index} is damaged: {error!r}") from error
    fields = {
        **record.fields,
        "id": share_id(record.id, index),
        "kind": DECISION_KIND,
        "subject": subjects[index],
        "index": index,
        "content": content,
    }
    return replace(record, id=fields["id"], subject=subjects[index], fields=fields, index=index)


_OF_EQUAL = {"decisions", "specs", SHARES, REFERENCE_SETS, "line"}


def _share_content(content: Mapping[str, Any], index: int) -> dict[str, Any]:
    """The content that the decision of a share would have in a record of its own."""
    decisions, specs = content["decisions"], content["specs"]
    subject, share = decisions["subjects"][index], content[SHARES][index]
    names = {"workload": subject["workload"]}
    key = {"key": subject["workload"]}
    uid = {"uid": subject["uid"]} if subject.get("uid") else {}
    expanded = {name: content[name] for name in content.keys() - _OF_EQUAL}
    incarnation = {"incarnation": share["incarnation"]} if share.get("incarnation") else {}
    sets = content.get(REFERENCE_SETS, ())
    references = {REFERENCES: sets[share[REFERENCES]]} if REFERENCES in share else {}
    return (
        expanded
        | incarnation
        | references
        | {
            "demand": {**content["demand"], **key, **uid},
            "decision": {**_outcome_at(decisions, index), **names, **uid},
            "spec": specs[share.get("spec", 0)],
        }
    )


def _outcome_at(decisions: Mapping[str, Any], index: int) -> Mapping[str, Any]:
    before = 0
    for run in decisions["runs"]:
        before += run["count"]
        if index < before:
            outcome: Mapping[str, Any] = decisions["outcomes"][run["outcome"]]
            return outcome
    raise IndexError(f"no outcome of share {index}")


def share_id(record_id: str, index: int) -> str:
    """The id of a share of a record."""
    return f"{record_id}#{index}"


def parse_id(text: str) -> tuple[str, int | None]:
    """The id of a record, and which share of it is meant; None: the whole record."""
    record_id, mark, index = text.partition("#")
    if not mark:
        return text, None
    is_number = index.isascii() and index.isdecimal() and len(index) <= _MAX_INDEX_DIGITS
    return (record_id, int(index)) if is_number else (text, None)


_MAX_INDEX_DIGITS = 6


def undone_ids(records: Iterable[Record | LedgerEntry]) -> set[str]:
    """The ids of the decisions that these records say were not carried out.

    A record that names no share means the only one.
    """
    found: set[str] = set()
    for one in records:
        if one.kind == NOT_CARRIED_OUT_KIND:
            name, index = str(one.content.get(UNDOES)), one.content.get(UNDOES_INDEX)
            found |= {share_id(name, index)} if type(index) is int else {name, share_id(name, 0)}
    return found


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
