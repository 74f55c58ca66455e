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
from scheduler.ledger.record import GENESIS
from scheduler.ledger.segments import HeadKey, read_segment, segment_body, sign_head
from scheduler.ledger.tables import SEGMENTS_SCHEMA
from scheduler.model.canonical import digest_of_bytes

_SEAL_AFTER_RECORDS = 256
_SEAL_AFTER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Tip:
    """The end of the chain.

    Attributes:
        seq: sequence of the newest record; 0 while there is none.
        hash: its hash.
        first: the first record that no segment covers.
        previous: hash of the newest segment, or `GENESIS`.
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
        insert: writes one segment, in a transaction of its own.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        key: HeadKey,
        now: Callable[[], datetime],
        insert: Callable[[sqlite3.Connection, bytes], None],
    ) -> None:
        self._connection, self._key, self._now, self._insert = connection, key, now, insert
        self._due_seconds: float | None = None
        self._head: SignedHead | None = None
        connection.executescript(SEGMENTS_SCHEMA)  # a ledger of a version before has no such table
        covered, covered_hash = self._newest_segment()
        seq, digest = self._newest_record()
        # Records of a version that did not sign are no one's claim: the first segment is after.
        first = covered.seq + 1 if covered else seq + 1
        self._tip = Tip(seq, digest, first, covered_hash)
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
            # All may be covered, or older than signing; then the head begins at the newest.
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
            body = segment_body(head)
            self._insert(self._connection, body)
            self._tip = Tip(tip.seq, tip.hash, head.seq + 1, digest_of_bytes(body))
            self._due_seconds = None

    def _unsigned(self) -> int:
        """Records that no segment covers."""
        return self._tip.seq - self._tip.first + 1

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

    def _newest_segment(self) -> tuple[SignedHead | None, str]:
        query = "SELECT body FROM segments ORDER BY number DESC LIMIT 1"
        row = self._connection.execute(query).fetchone()
        head = read_segment(row[0]) if row else None
        # One that was edited counts as none; `kapok ledger verify` names it.
        return (head, digest_of_bytes(row[0])) if head else (None, GENESIS)
