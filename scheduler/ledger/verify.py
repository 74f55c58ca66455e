"""Verifies that the ledger's file still holds what was written.

It finds an edited record or column, a removed record, records in another order, a blob that was
edited, truncated or removed, a segment without a valid signature, and a removed segment. An owner
of the key can write all of that again; this is found up to the newest witnessed record: heads that
sites hold, the hashes in statuses, and anchors (`witnesses.py`).
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler.ledger.blobs import unpack
from scheduler.ledger.errors import LedgerCorruptError
from scheduler.ledger.fleet import child_digests
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import GENESIS, share_subjects_of
from scheduler.ledger.segments import SegmentChecker, SegmentError, key_id_of
from scheduler.ledger.witnesses import Anchor, parse_anchor

__all__ = ["Anchor", "Finding", "SignedPart", "VerificationResult", "parse_anchor", "verify"]
from scheduler.model.canonical import digest_of_bytes

_HUB_SUBJECT, _ADOPTION_KIND = "hub", "adoption"  # records of losses that an operator accepted


@dataclass(frozen=True, slots=True)
class Finding:
    """The first place where the file differs from what was written.

    Attributes:
        seq: sequence of the first record that fails a check.
        sentence: what is wrong with it.
        intact_to: the last record of which it is known that it is as it was written.
    """

    seq: int
    sentence: str
    intact_to: int


@dataclass(frozen=True, slots=True)
class SignedPart:
    """What of the ledger is signed.

    Attributes:
        segments: number of segments.
        unsigned_before: records before the first segment.
        signed_to: the last record that a segment covers; 0 when there is no segment.
        keys: ids of the keys, in order of their first segment.
    """

    segments: int = 0
    unsigned_before: int = 0
    signed_to: int = 0
    keys: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """The result of a verification.

    Attributes:
        records: the number of records in the file.
        first_finding: None when every check passed.
        signed: what the segments cover.
        newest_witnessed: up to this record, also the owner of the key could not rewrite the ledger
            unseen; None when there is no witness.
        notes: what could not be compared, one sentence each.
    """

    records: int
    first_finding: Finding | None
    signed: SignedPart = SignedPart()
    newest_witnessed: Anchor | None = None
    notes: Sequence[str] = ()

    @property
    def is_ok(self) -> bool:
        """Whether the file holds what was written, as far as can be checked."""
        return self.first_finding is None


def verify(
    reader: LedgerReader, anchors: Iterable[Anchor] = (), *, trusted_keys: Collection[str] = ()
) -> VerificationResult:
    """Reads the whole ledger once, in order; memory grows only by 32 bytes per distinct blob.

    Args:
        reader: the ledger.
        anchors: records whose hash must still be the same.
        trusted_keys: the hub's public keys, also those before; empty: any key may have signed.
    """
    with reader.snapshot():
        return _verify(reader, anchors, trusted_keys)


def _verify(
    reader: LedgerReader, anchors: Iterable[Anchor], trusted_keys: Collection[str]
) -> VerificationResult:
    checker = _ChainChecker(reader, anchors)
    finding: Finding | None = None
    try:
        for row in reader.rows():
            checker.check(*row)
        checker.check_end(trusted_keys)
    except _VerificationError as bad:
        finding = checker.first_mismatch() or bad.finding
    except LedgerCorruptError as error:
        at = checker.records
        unread = Finding(at + 1, f"the file cannot be read any further: {error}", at)
        finding = checker.first_mismatch() or unread
    records = checker.records if finding is None else _count_records(reader, checker.records)
    return VerificationResult(
        records,
        finding,
        signed=checker.signed_part(),
        newest_witnessed=checker.newest_witnessed(),
        notes=checker.notes,
    )


def _count_records(reader: LedgerReader, at_least: int) -> int:
    try:
        return reader.count()
    except LedgerCorruptError:
        return at_least


class _VerificationError(Exception):
    def __init__(self, seq: int, sentence: str, intact_to: int | None = None) -> None:
        super().__init__(sentence)
        self.finding = Finding(seq, sentence, seq - 1 if intact_to is None else intact_to)


class _ChainChecker:
    """Checks row after row; keeps the hash to expect next and the blobs already verified."""

    def __init__(self, reader: LedgerReader, anchors: Iterable[Anchor]) -> None:
        self._reader = reader
        self._anchors: dict[int, list[Anchor]] = {}
        for anchor in anchors:
            self._anchors.setdefault(anchor.seq, []).append(anchor)
        self._segments = SegmentChecker(reader.segments())
        self._previous = GENESIS
        self._verified_blobs: set[bytes] = set()
        self._mismatches: list[Anchor] = []
        self._matches: list[Anchor] = []
        self._accepted_at = ""
        self._shares = 0
        self.notes: list[str] = []
        self.records = 0

    def check(
        self, seq: int, record_id: object, digest: object, subject: object, body: object
    ) -> None:
        """Checks one row against its place in the chain.

        Raises:
            _VerificationError: a check fails.
        """
        expected = self.records + 1
        if seq != expected:
            raise _VerificationError(expected, f"record {expected} is missing; {seq} follows")
        if not isinstance(body, bytes) or digest_of_bytes(body) != digest:
            raise _VerificationError(seq, "its content does not match its hash: it was edited")
        fields = _read_fields(seq, body)
        if fields["previous"] != self._previous:
            raise _VerificationError(
                seq, "it does not follow the record before it: one of the two was changed"
            )
        if (fields["seq"], fields["id"], fields["subject"]) != (seq, record_id, subject):
            raise _VerificationError(
                seq, "its columns do not match its content: it was edited or moved"
            )
        for ref in fields["refs"]:
            self._check_blob(seq, ref)
        self._check_shares(seq, fields)
        try:
            self._segments.check(seq, str(digest))
        except SegmentError as error:
            raise _VerificationError(error.seq or seq, str(error)) from error
        for anchor in self._anchors.get(seq, ()):
            (self._matches if anchor.hash == digest else self._mismatches).append(anchor)
        self._note_accepted_loss(fields)
        self._previous = str(digest)
        self.records = seq

    def check_end(self, trusted_keys: Collection[str]) -> None:
        """Checks what only the whole chain shows: witnesses, and the key of the last segment.

        Raises:
            _VerificationError: a witnessed record is not there, or another key has signed.
        """
        beyond = [one for seq, some in self._anchors.items() if seq > self.records for one in some]
        before = [one for one in (*self._mismatches, *beyond) if self._is_accepted(one)]
        if before:
            self.notes.append(
                f"{len(before)} witnesses saw a ledger that is not this one; an operator accepted"
                f" its loss at {self._accepted_at}"
            )
        lost = [one for one in beyond if not self._is_accepted(one)]
        if lost and not self.first_mismatch():
            first = min(lost, key=_order)
            raise _VerificationError(
                self.records + 1,
                f"the end was cut off: record {first.seq} is anchored by {first.witness}"
                f"{_at(first)}, {self.records} remain",
                intact_to=self._matched_before(self.records + 1),
            )
        try:
            self._segments.check_end(self.records)
        except SegmentError as error:
            raise _VerificationError(error.seq, str(error)) from error
        try:
            self._segments.check_newest_key(trusted_keys)
        except SegmentError as error:
            raise _VerificationError(error.seq, str(error), intact_to=0) from error
        if mismatch := self.first_mismatch():
            raise _VerificationError(mismatch.seq, mismatch.sentence, mismatch.intact_to)
        if self._reader.count_shares() != self._shares:
            raise _VerificationError(
                self.records + 1,
                "the index names shares that no record has: the index was edited",
                intact_to=self.records,
            )
        for one in self._matches:
            if one.segment and not self._segments.has(one.segment):
                raise _VerificationError(
                    one.seq,
                    f"a segment before it is missing: {one.witness}{_at(one)} has its hash",
                )

    def first_mismatch(self) -> Finding | None:
        """The first witnessed record that another stands in place of."""
        mismatches = [one for one in self._mismatches if not self._is_accepted(one)]
        if not mismatches:
            return None
        first = min(mismatches, key=_order)
        return Finding(
            first.seq,
            f"it is not the record that was anchored: {first.witness}{_at(first)} has another hash"
            " of it, so history was rewritten",
            self._matched_before(first.seq),
        )

    def _matched_before(self, seq: int) -> int:
        """The newest record before `seq` that a witness confirms; all before it are as written."""
        return max((one.seq for one in self._matches if one.seq < seq), default=0)

    def signed_part(self) -> SignedPart:
        """What the segments cover."""
        one = self._segments
        keys = tuple(key_id_of(key) for key in one.keys)
        return SignedPart(one.count, one.unsigned_before, one.signed_to, keys)

    def newest_witnessed(self) -> Anchor | None:
        """The newest record that a witness confirms; one outside the hub before others."""
        return max(self._matches, key=lambda one: (one.seq, one.is_outside), default=None)

    def _is_accepted(self, anchor: Anchor) -> bool:
        """Whether an operator accepted, after this was seen, that the ledger is lost."""
        if not anchor.at or not self._accepted_at:
            return False
        return _instant(anchor.at) <= _instant(self._accepted_at)

    def _note_accepted_loss(self, fields: Mapping[str, Any]) -> None:
        if (fields["subject"], fields.get("kind")) != (_HUB_SUBJECT, _ADOPTION_KIND):
            return
        content = fields.get("content")
        lost = content.get("lost") if isinstance(content, Mapping) else None
        if isinstance(lost, list) and "ledger" in lost:
            self._accepted_at = str(fields.get("at", ""))

    def _check_shares(self, seq: int, fields: Mapping[str, Any]) -> None:
        """Checks that the index of shares names what the record says, and nothing else of it."""
        try:
            subjects = share_subjects_of(fields)
        except ValueError as error:
            raise _VerificationError(seq, str(error)) from error
        if not subjects:
            return
        self._shares += len(subjects)
        expected = {one: index for index, one in enumerate(subjects)}
        if self._reader.shares(seq, subjects) != expected:
            raise _VerificationError(
                seq, "the index does not find what it says of each workload: the index was edited"
            )

    def _check_blob(self, seq: int, digest: str) -> None:
        """Verifies the blobs below `digest`, except those verified before."""
        pending = [digest]
        while pending:
            pending_digest = pending.pop()
            # 32 bytes instead of the text, which a forger could make long.
            key = hashlib.sha256(pending_digest.encode()).digest()
            if key in self._verified_blobs:
                continue
            self._verified_blobs.add(key)
            pending.extend(self._children_of(seq, pending_digest))

    def _children_of(self, seq: int, digest: str) -> Iterator[str]:
        packed = self._reader.packed_blob(digest)
        if packed is None:
            raise _VerificationError(seq, f"it refers to blob {digest}, which is missing")
        try:
            plain = unpack(packed)
        except (ValueError, TypeError) as error:
            raise _VerificationError(
                seq, f"it refers to blob {digest}, which was changed: {error}"
            ) from error
        if digest_of_bytes(plain) != digest:
            raise _VerificationError(seq, f"it refers to blob {digest}, which was edited")
        return child_digests(json.loads(plain))


def _order(anchor: Anchor) -> tuple[int, bool]:
    """The first record first, and of two witnesses of it the one outside the hub."""
    return (anchor.seq, not anchor.is_outside)


def _at(anchor: Anchor) -> str:
    return f" at {anchor.at}" if anchor.at else ""


def _instant(text: str) -> float:
    """Seconds since 1970; of a text that is no instant, before any."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return float("-inf")


def _read_fields(seq: int, body: bytes) -> dict[str, Any]:
    """The record's fields; content with a correct hash may still not be a record (a forgery)."""
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise _VerificationError(seq, f"it is not JSON: {error}") from error
    if not isinstance(fields, dict) or not {"seq", "id", "previous", "subject", "refs"} <= set(
        fields
    ):
        raise _VerificationError(seq, "it is not a record")
    if not isinstance(fields["refs"], list) or not all(isinstance(r, str) for r in fields["refs"]):
        raise _VerificationError(seq, "it is not a record: refs must be a list of digests")
    return fields
