"""Closes segments: in the writer's thread, so that no record comes between a segment and its end.

A segment is closed after 256 records, or a minute after its first one, when the ledger is closed,
and at the start when the hub's key is another one. What is not signed yet when a process is killed
belongs to the next segment.
"""

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from scheduler.control.ports.ledger import SignedHead
from scheduler.ledger.record import GENESIS, Record, chain_entry, record_of_row
from scheduler.ledger.segments import (
    LEDGER_SUBJECT,
    SEGMENT_KIND,
    HeadKey,
    head_of,
    segment_entry,
    sign_head,
)

_SEAL_AFTER_RECORDS = 256
_SEAL_AFTER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Tip:
    """The end of the chain.

    Attributes:
        seq: sequence of the newest record; 0 while there is none.
        hash: its hash.
        first: the first record that no segment covers.
        previous: hash of the newest segment's record, or `GENESIS`.
    """

    seq: int
    hash: str
    first: int
    previous: str


class Sealer:
    """Signs the chain that one connection writes; for the writer's thread alone, except `head`.

    Args:
        connection: the ledger, opened for writing.
        key: the hub's signing key.
        now: the wall clock.
        insert: writes one record, in a transaction of its own.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        key: HeadKey,
        now: Callable[[], datetime],
        insert: Callable[[sqlite3.Connection, Record], None],
    ) -> None:
        self._connection, self._key, self._now, self._insert = connection, key, now, insert
        self._due_seconds: float | None = None
        self._head: SignedHead | None = None
        segment = self._newest_segment()
        seq, digest = self._newest_record()
        covered = _head_in(segment)
        # Records of a version that did not sign are no one's claim: the first segment is after.
        first = covered.seq + 1 if covered else seq + 1
        self._tip = Tip(seq, digest, first, segment.hash if segment else GENESIS)
        if covered and covered.key != str(key.public):
            self._write_segment()  # from now on, the present key covers what the one before signed
        self.note_growth()

    def head(self) -> SignedHead | None:
        """The signed head of this moment; None while the ledger is empty. Any thread may call it.

        The same object as before while there is no newer record.
        """
        tip, head = self._tip, self._head
        if not tip.seq:
            return None
        if head is None or (head.seq, head.hash) != (tip.seq, tip.hash):
            # All records may be older than signing; then the head begins at the newest.
            self._head = head = self._sign(tip, first=min(tip.first, tip.seq))
        return head

    def note_growth(self) -> None:
        """Takes in what was written; closes the segment if it is full."""
        seq, digest = self._newest_record()
        tip = self._tip
        self._tip = Tip(seq, digest, tip.first, tip.previous)
        unsigned = self._unsigned()
        if unsigned >= _SEAL_AFTER_RECORDS:
            self.seal()
        elif unsigned and self._due_seconds is None:
            self._due_seconds = time.monotonic() + _SEAL_AFTER_SECONDS

    def seconds_left(self) -> float | None:
        """How long the writer may wait until `seal` is due; None while all is signed."""
        if self._due_seconds is None:
            return None
        return max(0.0, self._due_seconds - time.monotonic())

    def seal(self) -> None:
        """Closes the segment, if it has records; on a disk that cannot be written, later."""
        self._due_seconds = None
        if self._unsigned():
            self._write_segment()

    def _write_segment(self) -> None:
        tip = self._tip
        self._due_seconds = time.monotonic() + _SEAL_AFTER_SECONDS
        with suppress(sqlite3.Error):
            head = self._sign(tip, first=tip.first)
            entry = segment_entry(head, epoch=self._epoch(), at=self._now())
            record = chain_entry(entry, seq=tip.seq + 1, previous=tip.hash)
            self._insert(self._connection, record)
            self._tip = Tip(record.seq, record.hash, head.seq + 1, record.hash)
            self._due_seconds = None

    def _unsigned(self) -> int:
        """Records that no segment covers, beside the newest segment's own."""
        tip = self._tip
        return tip.seq - tip.first + 1 - (tip.previous != GENESIS)

    def _sign(self, tip: Tip, *, first: int) -> SignedHead:
        return sign_head(
            self._key,
            first=first,
            seq=tip.seq,
            digest=tip.hash,
            previous=tip.previous,
            at=self._now(),
        )

    def _newest_record(self) -> tuple[int, str]:
        query = "SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1"
        row = self._connection.execute(query).fetchone()
        return row or (0, GENESIS)

    def _epoch(self) -> int:
        query = "SELECT id FROM records ORDER BY seq DESC LIMIT 1"
        epoch = str(self._connection.execute(query).fetchone()[0]).partition("-")[0]
        return int(epoch) if epoch.isdecimal() else 0

    def _newest_segment(self) -> Record | None:
        row = self._connection.execute(
            "SELECT seq, id, hash, subject, body FROM records WHERE subject = ?"
            " ORDER BY seq DESC LIMIT 1",
            (LEDGER_SUBJECT,),
        ).fetchone()
        if row is None:
            return None
        seq, record_id, digest, subject, body = row
        try:
            record = record_of_row(
                seq=seq, record_id=record_id, digest=digest, subject=subject, body=body
            )
        except (TypeError, ValueError):  # edited; `kapok ledger verify` names it
            return None
        return record if record.kind == SEGMENT_KIND and _head_in(record) else None


def _head_in(segment: Record | None) -> SignedHead | None:
    return head_of(segment.content.get("segment")) if segment else None
