"""Closes segments: in the writer's thread, so that no record comes between a segment and its end.

A segment is closed after 256 records, or a minute after its first one, when the ledger is closed,
and at the start when the hub's key is another one. What is not signed yet when a process is killed
belongs to the next segment. A segment is signed for what the database holds at that moment, under
the lock that appends take: on a shared chain another replica may have closed one meanwhile.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from scheduler.control.ports.ledger import SignedHead
from scheduler.ledger.errors import LedgerError
from scheduler.ledger.record import GENESIS
from scheduler.ledger.segments import HeadKey, read_segment, segment_body, sign_head
from scheduler.ledger.storage.database import ChainHead, WritableDatabase
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
    """Signs the chain that one database holds; for the writer's thread alone, except `head`.

    A chain that replicas share is signed by the one that leads: from `begin_term` on.

    Args:
        database: the ledger, opened for writing.
        key: the hub's signing key.
        now: the wall clock.
    """

    def __init__(
        self, database: WritableDatabase, key: HeadKey, now: Callable[[], datetime]
    ) -> None:
        self._database, self._key, self._now = database, key, now
        self._due_seconds: float | None = None
        self._head: SignedHead | None = None
        self._is_leading = not database.chain_id
        database.prepare_segments()
        self._tip = Tip(0, GENESIS, 0, GENESIS)
        self.begin_term(is_leading=self._is_leading)

    def begin_term(self, *, is_leading: bool = True) -> None:
        """Reads what the database holds by now; from then on, segments are signed here.

        Raises:
            LedgerUnavailableError: the server does not answer.
        """
        covered, covered_hash = self._newest_segment()
        end = self._newest_record()
        # Records of a version that did not sign are no one's claim: the first segment is after.
        first = covered.seq + 1 if covered else self._tip.first or end.seq + 1
        self._tip = Tip(end.seq, end.hash, first, covered_hash)
        self._is_leading = is_leading
        if is_leading and covered and covered.key != str(self._key.public):
            # From now on, the present key covers what the one before signed.
            self._write_segment(may_be_empty=True)
        self.note_growth(end)

    def end_term(self) -> None:
        """Closes the segment, and signs nothing any more on a chain that others share."""
        if self._database.chain_id:
            self.seal()
            self._is_leading = False

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

    def note_growth(self, end: ChainHead) -> None:
        """Takes in what was written; closes the segment if it is full.

        Args:
            end: the end of the chain.
        """
        tip = self._tip
        self._tip = Tip(end.seq, end.hash, tip.first, tip.previous)
        unsigned = self._unsigned()
        if unsigned >= _SEAL_AFTER_RECORDS:
            self.seal()
        elif unsigned > 0 and self._due_seconds is None:
            self._due_seconds = time.monotonic() + _SEAL_AFTER_SECONDS

    def seconds_left(self) -> float | None:
        """How long the writer may wait until `seal` is due; None while all is signed."""
        if self._due_seconds is None or not self._is_leading:
            return None
        return max(0.0, self._due_seconds - time.monotonic())

    def seal(self) -> None:
        """Closes the segment, if it has records; on a disk that cannot be written, later."""
        self._due_seconds = None
        if self._is_leading and self._unsigned() > 0:
            self._write_segment()

    def _write_segment(self, *, may_be_empty: bool = False) -> None:
        self._due_seconds = time.monotonic() + _SEAL_AFTER_SECONDS
        with suppress(LedgerError):
            with self._database.transaction() as end:
                tip = self._tip = self._tip_at(end)
                if tip.first > tip.seq and not may_be_empty:
                    return  # another replica has closed it
                body = segment_body(self._sign(tip, first=tip.first))
                self._database.insert_segment(body)
            self._tip = Tip(tip.seq, tip.hash, tip.seq + 1, digest_of_bytes(body))
            self._due_seconds = None

    def _tip_at(self, end: ChainHead) -> Tip:
        """The tip when the chain ends so; with the segments of other replicas."""
        first, previous = self._tip.first, self._tip.previous
        if self._database.chain_id:
            covered, previous = self._newest_segment()
            first = covered.seq + 1 if covered else first
        return Tip(end.seq, end.hash, first, previous)

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

    def _newest_record(self) -> ChainHead:
        found = self._database.rows("SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1")
        return ChainHead(*found[0]) if found else ChainHead()

    def _newest_segment(self) -> tuple[SignedHead | None, str]:
        body = self._database.newest_segment()
        head = read_segment(body) if body else None
        # One that was edited counts as none; `kapok ledger verify` names it.
        return (head, digest_of_bytes(body)) if head and body else (None, GENESIS)
