"""One thread writes all entries that are waiting in one transaction (group commit).

A transaction that is durable costs one flush of the disk, whether it holds one record or a hundred.
The last hash is read inside the transaction, so that even two writers could not fork the chain.
When a connection breaks at the moment at which a transaction takes effect, its entries wait until
the server says whether they are recorded: nothing is recorded twice, and nothing is lost.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler.control.ports.ledger import SignedHead
from scheduler.ledger.errors import (
    CommitInDoubt,
    LedgerDeposedError,
    LedgerError,
    LedgerUnavailableError,
)
from scheduler.ledger.record import LedgerEntry, Receipt, Record, chain_entry
from scheduler.ledger.sealer import Sealer
from scheduler.ledger.segments import HeadKey
from scheduler.ledger.storage.database import ChainHead, WritableDatabase
from scheduler.ledger.storage.places import LedgerPlace, open_writable
from scheduler.runtime.clock import SystemClock

_log = logging.getLogger(__name__)

_MAX_BATCH_ENTRIES = 256
_CLOSE_TIMEOUT_SECONDS = 30.0
_DOUBT_PAUSE_SECONDS = 0.5
_SLOW_AFTER_SECONDS = 5.0
"""After this long without an answer, `problem` says so."""
_OPERATORS_WORD = "adoption"
"""Records of this kind are an operator's: no epoch refuses them."""


@dataclass(frozen=True, slots=True)
class _Job:
    entry: LedgerEntry
    done: Future[Receipt]


@dataclass(frozen=True, slots=True)
class _Task:
    """Something else to do in the writer's thread."""

    run: Callable[[], int | None]
    done: "Future[Any]"


class GroupWriter:
    """The writing thread. Any thread may `submit`; the future is set when the record is durable.

    Args:
        place: the ledger; created if missing.
        key: signs the segments; without one, nothing is signed.
        now: the wall clock; None: the system's.

    Attributes:
        database: the ledger, for the thread alone, except what never changes of it.

    Raises:
        LedgerCorruptError: this is not a ledger.
        LedgerUnavailableError: it cannot be written.
    """

    def __init__(
        self,
        place: LedgerPlace,
        *,
        key: HeadKey | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._jobs: queue.SimpleQueue[_Job | _Task | None] = queue.SimpleQueue()
        self._is_closed = False
        self._close_lock = threading.Lock()
        self._closing = threading.Event()
        self._is_term_begun = True
        self._doubt = ""
        self._busy_since: float | None = None
        # Here, so that the caller gets the error.
        self.database: WritableDatabase = open_writable(place)
        try:
            self._sealer = Sealer(self.database, key, now or SystemClock().now) if key else None
        except LedgerError:
            self.database.close()
            raise
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why entries wait; "" while they do not. Any thread may ask.

        A disk or a server that hangs fails nothing, so it is known by the time that it takes.
        """
        since, doubt = self._busy_since, self._doubt
        if doubt or since is None:
            return doubt
        seconds = time.monotonic() - since
        if seconds < _SLOW_AFTER_SECONDS:
            return ""
        return f"the ledger {self.database.name} has not answered for {seconds:.0f} s"

    def submit(self, entry: LedgerEntry) -> Future[Receipt]:
        """Hands an entry to the thread.

        Returns:
            A future: the receipt when the record is durable, or why it was not recorded.

        Raises:
            LedgerUnavailableError: the ledger is closed.
        """
        done: Future[Receipt] = Future()
        done.set_running_or_notify_cancel()  # cancelling the wait must not undo the record
        self._put(_Job(entry, done))
        return done

    def check(self) -> "Future[None]":
        """Has the thread find out whether the ledger can be written; the future says why not.

        Raises:
            LedgerUnavailableError: the ledger is closed.
        """
        return self._submit_task(self.database.check_writable)

    def begin_term(self, epoch: int) -> "Future[int]":
        """Has the thread keep leaders of lower epochs out, and take up what they have written.

        Returns:
            A future: the lowest epoch that may append; it is higher when a later leader has it.

        Raises:
            LedgerUnavailableError: the ledger is closed.
        """
        self._is_term_begun = False
        return self._submit_task(lambda: self._begin_term(epoch))

    def _begin_term(self, epoch: int) -> int:
        lowest = self.database.fence(epoch)
        if self._sealer and lowest == epoch:
            self._sealer.begin_term()
        self._is_term_begun = lowest == epoch
        return lowest

    def end_term(self) -> "Future[None]":
        """Has the thread sign no segments any more, because another replica leads.

        Raises:
            LedgerUnavailableError: the ledger is closed.
        """
        return self._submit_task(self._sealer.end_term if self._sealer else lambda: None)

    def head(self) -> SignedHead | None:
        """The signed head of this moment; None while the ledger is empty, or has no key."""
        return self._sealer.head() if self._sealer else None

    def _put(self, job: _Job | _Task) -> None:
        with self._close_lock:
            if self._is_closed:
                raise LedgerUnavailableError(f"{self.database.name}: the ledger is closed")
            self._jobs.put(job)

    def _submit_task(self, run: Callable[[], int | None]) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_running_or_notify_cancel()
        self._put(_Task(run, done))
        return done

    def close(self) -> None:
        """Writes the waiting entries, then ends the thread; may be called twice."""
        with self._close_lock:
            if not self._is_closed:
                self._is_closed = True
                self._jobs.put(None)
        self._closing.set()
        self._thread.join(_CLOSE_TIMEOUT_SECONDS)

    def _run(self) -> None:
        try:
            while (job := self._next_job()) is not None:
                self._busy_since = time.monotonic()
                if isinstance(job, _Task):
                    _do(job)
                else:
                    self._write_batch(self._batch_from(job))
                self._busy_since = None
            if self._sealer:
                self._sealer.seal()
        finally:
            self.database.close()
            self._fail_remaining_jobs()

    def _next_job(self) -> "_Job | _Task | None":
        """The next job; closes the segment when that is due before one comes."""
        while True:
            try:
                return self._jobs.get(timeout=self._sealer.seconds_left() if self._sealer else None)
            except queue.Empty:
                if self._sealer:
                    self._sealer.seal()

    def _fail_remaining_jobs(self) -> None:
        """Fails the waiting jobs: the thread has ended, for whatever reason, and none may hang."""
        with self._close_lock:
            self._is_closed = True
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is not None:
                job.done.set_exception(
                    LedgerUnavailableError(f"{self.database.name}: the ledger is closed")
                )

    def _batch_from(self, first: _Job) -> list[_Job]:
        """A job and those that are queued after it."""
        batch = [first]
        while len(batch) < _MAX_BATCH_ENTRIES:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if not isinstance(job, _Job):
                self._jobs.put(job)  # found again after this batch is written
                break
            batch.append(job)
        return batch

    def _write_batch(self, batch: Sequence[_Job]) -> None:
        """Writes the batch in one transaction, all of it or nothing."""
        records: list[Record] = []
        try:
            with self.database.transaction() as head:
                records = _chain(self.database, batch, head)
                # Entries of one batch were prepared before any was stored, and share most blobs.
                blobs = {blob.digest: blob for job in batch for blob in job.entry.blobs}
                epoch = _epoch_after(batch, head)
                self.database.insert(records, list(blobs.values()), epoch)
        except CommitInDoubt as doubt:
            if not self._has_taken_effect(records[-1], doubt):
                for job in batch:
                    job.done.set_exception(LedgerUnavailableError(str(doubt)))
                return
        except Exception as error:  # noqa: BLE001 - the thread goes on, and each entry learns why
            self._fail_batch(batch, error)
            return
        if self._sealer:  # first, so that the head of the moment covers what a caller knows of
            with suppress(LedgerError):  # a disk that was gone: the next record says so
                self._sealer.note_growth(ChainHead(records[-1].seq, records[-1].hash))
                if not self._is_term_begun:  # the server was away when this replica took over
                    self._begin_term(batch[-1].entry.epoch)
        for job, one in zip(batch, records, strict=True):
            job.done.set_result(Receipt(one.seq, one.id, one.hash))

    def _has_taken_effect(self, last: Record, doubt: CommitInDoubt) -> bool:
        """Asks until the server knows whether a transaction took effect; its entries wait.

        When the ledger is closed meanwhile, they count as not recorded.
        """
        self._doubt = f"{doubt}; whether the last records are written is not known yet"
        _log.warning("ledger: %s", self._doubt)
        while True:
            try:
                found = self.database.is_recorded(last.seq, last.hash)
            except LedgerError:
                if self._closing.wait(_DOUBT_PAUSE_SECONDS):
                    _log.error("ledger: closed before the server said whether the end is written")
                    return False
            else:
                self._doubt = ""
                _log.info("ledger: the last records are %swritten", "" if found else "not ")
                return found

    def _fail_batch(self, batch: Sequence[_Job], error: Exception) -> None:
        """Writes the entries one by one, so that one bad entry does not fail the others."""
        is_server_away = isinstance(error, LedgerUnavailableError) and self.database.chain_id
        if len(batch) == 1 or is_server_away:
            for job in batch:
                job.done.set_exception(error)
            return
        for job in batch:
            self._write_batch([job])


def _do(task: _Task) -> None:
    try:
        result = task.run()
    except Exception as error:  # noqa: BLE001 - the thread goes on, and the caller learns why
        task.done.set_exception(error)
    else:
        task.done.set_result(result)


def _chain(database: WritableDatabase, batch: Sequence[_Job], head: ChainHead) -> list[Record]:
    """The records that follow the head.

    Raises:
        LedgerDeposedError: a later leader has appended, or taken the ledger over.
        ValueError: an entry refers to a blob that is missing: it could never be replayed.
    """
    new_digests = {blob.digest for job in batch for blob in job.entry.blobs}
    refs = {ref for job in batch for ref in job.entry.refs}
    missing = database.missing_blobs(refs - new_digests)
    seq, previous = head.seq, head.hash
    records: list[Record] = []
    for job in batch:
        entry = job.entry
        if entry.epoch < head.epoch and entry.kind != _OPERATORS_WORD:
            raise LedgerDeposedError(
                f"{database.name}: epoch {entry.epoch} is over, a leader of epoch {head.epoch} has"
                " the ledger"
            )
        known = {blob.digest for blob in entry.blobs}
        for digest in entry.refs:
            # In the batch's other entries it may be, but these may fail.
            if digest in missing or (digest in new_digests and digest not in known):
                _require_blob(database, entry, digest)
        seq += 1
        records.append(chain_entry(entry, seq=seq, previous=previous))
        previous = records[-1].hash
    return records


def _require_blob(database: WritableDatabase, entry: LedgerEntry, digest: str) -> None:
    if database.missing_blobs({digest}):
        raise ValueError(f"{entry.kind} of {entry.subject}: blob {digest} is not in the ledger")


def _epoch_after(batch: Sequence[_Job], head: ChainHead) -> int | None:
    """The lowest epoch that may append after these entries; None: as before.

    An operator may also lower it (`kapok hub adopt --epoch`).
    """
    epoch = head.epoch
    for job in batch:
        is_operators = job.entry.kind == _OPERATORS_WORD and job.entry.epoch > 0
        epoch = job.entry.epoch if is_operators else max(epoch, job.entry.epoch)
    return epoch if epoch != head.epoch else None
