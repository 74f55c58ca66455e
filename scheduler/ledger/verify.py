"""Verifies that the ledger's file still holds what was written.

It finds an edited record or column, a removed record, records in another order, a blob that was
edited, truncated or removed, and, with an anchor, a cut or rewritten end. It does not find an end
that was cut or rewritten after the last anchor. The `status.decision.hash` of each object is such
an anchor too.
"""

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from scheduler.ledger.blobs import unpack
from scheduler.ledger.errors import LedgerCorruptError
from scheduler.ledger.fleet import child_digests
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import GENESIS
from scheduler.model.canonical import digest_of_bytes

_ANCHOR = re.compile(r"([1-9][0-9]{0,17}):(sha256:[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Anchor:
    """Record `seq` once had this hash; kept where those who can write the ledger cannot."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Finding:
    """The first place where the file differs from what was written.

    Attributes:
        seq: sequence of the first record that fails a check.
        sentence: what is wrong with it.
    """

    seq: int
    sentence: str


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """The result of a verification.

    Attributes:
        records: the number of records in the file.
        first_finding: None when every check passed.
    """

    records: int
    first_finding: Finding | None

    @property
    def is_ok(self) -> bool:
        """Whether the file holds what was written, as far as can be checked."""
        return self.first_finding is None


def parse_anchor(text: str) -> Anchor:
    """Reads `SEQ:sha256:…`, as `kapok ledger anchor` prints it.

    Raises:
        ValueError: the text has another form.
    """
    match = _ANCHOR.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is not an anchor; write SEQ:sha256:… as `kapok ledger anchor` prints it"
        )
    return Anchor(int(match[1]), match[2])


def verify(reader: LedgerReader, anchors: Iterable[Anchor] = ()) -> VerificationResult:
    """Reads the whole ledger once, in order; memory grows only by 32 bytes per distinct blob.

    Args:
        reader: the ledger.
        anchors: records whose hash must still be the same.
    """
    checker = _ChainChecker(reader, anchors)
    try:
        for row in reader.rows():
            checker.check(*row)
    except _VerificationError as bad:
        return VerificationResult(
            _count_records(reader, checker.records), Finding(bad.seq, bad.sentence)
        )
    except (sqlite3.DatabaseError, LedgerCorruptError) as error:
        seq = checker.records + 1
        return VerificationResult(
            checker.records, Finding(seq, f"the file cannot be read any further: {error}")
        )
    return VerificationResult(checker.records, checker.find_missing_end())


def _count_records(reader: LedgerReader, at_least: int) -> int:
    try:
        return reader.count()
    except sqlite3.DatabaseError:
        return at_least


class _VerificationError(Exception):
    def __init__(self, seq: int, sentence: str) -> None:
        super().__init__(sentence)
        self.seq = seq
        self.sentence = sentence


class _ChainChecker:
    """Checks row after row; keeps the hash to expect next and the blobs already verified."""

    def __init__(self, reader: LedgerReader, anchors: Iterable[Anchor]) -> None:
        self._reader = reader
        self._anchors = {(anchor.seq, anchor.hash) for anchor in anchors}
        self._previous = GENESIS
        self._verified_blobs: set[bytes] = set()
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
        self._check_anchor(seq, str(digest))
        self._previous = str(digest)
        self.records = seq

    def find_missing_end(self) -> Finding | None:
        """Reports an anchor beyond the last record: the end was cut off."""
        lost = sorted(seq for seq, _ in self._anchors if seq > self.records)
        if not lost:
            return None
        return Finding(
            self.records + 1,
            f"the end was cut off: record {lost[0]} is anchored, {self.records} remain",
        )

    def _check_anchor(self, seq: int, digest: str) -> None:
        for anchored_seq, anchored in self._anchors:
            if anchored_seq == seq and anchored != digest:
                raise _VerificationError(
                    seq, "it is not the record that was anchored: history was rewritten"
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
