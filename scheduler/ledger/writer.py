"""One thread writes all entries that are waiting in one transaction (group commit).

A transaction with synchronous=FULL costs one flush of the disk, whether it holds one record or a
hundred. The last hash is read inside the transaction, so that even two writers could not fork the
chain.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from scheduler.control.ports.ledger import SignedHead
from scheduler.ledger.errors import LedgerUnavailableError
from scheduler.ledger.record import GENESIS, LedgerEntry, Receipt, Record, chain_entry
from scheduler.ledger.sealer import Sealer
from scheduler.ledger.segments import HeadKey
from scheduler.ledger.tables import open_for_writing
from scheduler.runtime.clock import SystemClock

_MAX_BATCH_ENTRIES = 256
_CLOSE_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Job:
    entry: LedgerEntry
    done: Future[Receipt]


@dataclass(frozen=True, slots=True)
class _Check:
    done: "Future[None]"


class GroupWriter:
    """The writing thread. Any thread may `submit`; the future is set when the record is durable.

    Args:
        path: the ledger's file; created if missing.
        key: signs the segments; without one, nothing is signed.
        now: the wall clock; None: the system's.

    Raises:
        LedgerCorruptError: the file is not a ledger.
        LedgerUnavailableError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        key: HeadKey | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | _Check | None] = queue.SimpleQueue()
        self._is_closed = False
        self._close_lock = threading.Lock()
        self._connection = open_for_writing(path)  # here, so that the caller gets the error
        try:
            self._sealer = (
                Sealer(self._connection, key, now or SystemClock().now, _insert_segment)
                if key
                else None
            )
        except sqlite3.Error as error:
            self._connection.close()
            raise LedgerUnavailableError(f"{path}: {error}") from error
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

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
        """Has the thread find out whether the file can be written; the future says why not.

        Raises:
            LedgerUnavailableError: the ledger is closed.
        """
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()
        self._put(_Check(done))
        return done

    def head(self) -> SignedHead | None:
        """The signed head of this moment; None while the ledger is empty, or has no key."""
        return self._sealer.head() if self._sealer else None

    def _put(self, job: _Job | _Check) -> None:
        with self._close_lock:
            if self._is_closed:
                raise LedgerUnavailableError(f"{self._path}: the ledger is closed")
            self._jobs.put(job)

    def close(self) -> None:
        """Writes the waiting entries, then ends the thread; may be called twice."""
        with self._close_lock:
            if not self._is_closed:
                self._is_closed = True
                self._jobs.put(None)
        self._thread.join(_CLOSE_TIMEOUT_SECONDS)

    def _run(self) -> None:
        try:
            while (job := self._next_job()) is not None:
                if isinstance(job, _Check):
                    _check_writable(self._connection, job.done)
                else:
                    _write_batch(self._connection, self._batch_from(job), self._note_growth)
            if self._sealer:
                self._sealer.seal()
        finally:
            self._connection.close()
            self._fail_remaining_jobs()

    def _next_job(self) -> "_Job | _Check | None":
        """The next job; closes the segment when that is due before one comes."""
        while True:
            try:
                return self._jobs.get(timeout=self._sealer.seconds_left() if self._sealer else None)
            except queue.Empty:
                if self._sealer:
                    self._sealer.seal()

    def _note_growth(self) -> None:
        with suppress(sqlite3.Error):  # a disk that was gone: the next record says so
            if self._sealer:
                self._sealer.note_growth()

    def _fail_remaining_jobs(self) -> None:
        """Fails the waiting jobs: the thread has ended, for whatever reason, and none may hang."""
        with self._close_lock:
            self._is_closed = True
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is not None:
                job.done.set_exception(
                    LedgerUnavailableError(f"{self._path}: the ledger is closed")
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


def _write_batch(
    connection: sqlite3.Connection, batch: Sequence[_Job], on_written: Callable[[], None]
) -> None:
    """Writes the batch in one transaction, all of it or nothing."""
    try:
        with _transaction(connection):
            receipts = _insert_batch(connection, batch)
    except Exception as error:  # noqa: BLE001 - the thread goes on, and each entry learns why
        _fail_batch(connection, batch, error, on_written)
        return
    on_written()  # first, so that the head of the moment covers what a caller knows is recorded
    for job, receipt in zip(batch, receipts, strict=True):
        job.done.set_result(receipt)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction: the body takes effect as a whole, or not at all if anything fails."""
    if connection.in_transaction:  # the last rollback failed, as on a disk that was gone
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def _check_writable(connection: sqlite3.Connection, done: "Future[None]") -> None:
    """Writes the file's version again, as it is: a real write that changes nothing."""
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        with _transaction(connection):
            connection.execute(f"PRAGMA user_version={int(version)}")
    except Exception as error:  # noqa: BLE001 - as in `_write_batch`
        done.set_exception(LedgerUnavailableError(f"the ledger cannot be written: {error}"))
    else:
        done.set_result(None)


def _fail_batch(
    connection: sqlite3.Connection,
    batch: Sequence[_Job],
    error: Exception,
    on_written: Callable[[], None],
) -> None:
    """Writes the entries one by one, so that one bad entry does not fail the others."""
    if len(batch) == 1:
        reason: Exception = error
        if isinstance(error, sqlite3.Error):
            reason = LedgerUnavailableError(f"the ledger cannot be written: {error}")
        batch[0].done.set_exception(reason)
        return
    for job in batch:
        _write_batch(connection, [job], on_written)


def _insert_batch(connection: sqlite3.Connection, batch: Sequence[_Job]) -> list[Receipt]:
    for job in batch:
        _check_refs(connection, job.entry)
    row = connection.execute("SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1").fetchone()
    seq, previous = row or (0, GENESIS)
    records: list[Record] = []
    for job in batch:
        seq += 1
        records.append(chain_entry(job.entry, seq=seq, previous=previous))
        previous = records[-1].hash
    # Entries of one batch were prepared before any of them was stored, so they share most blobs.
    blobs = {blob.digest: blob.packed for job in batch for blob in job.entry.blobs}
    connection.executemany(
        "INSERT OR IGNORE INTO blobs (digest, packed) VALUES (?, ?)", blobs.items()
    )
    _insert_records(connection, records)
    return [Receipt(r.seq, r.id, r.hash) for r in records]


def _insert_records(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    connection.executemany(
        "INSERT INTO records (seq, id, hash, subject, body) VALUES (?, ?, ?, ?, ?)",
        [(r.seq, r.id, r.hash, r.subject, r.body) for r in records],
    )


def _insert_segment(connection: sqlite3.Connection, body: bytes) -> None:
    with _transaction(connection):
        connection.execute("INSERT INTO segments (body) VALUES (?)", (body,))


def _check_refs(connection: sqlite3.Connection, entry: LedgerEntry) -> None:
    """Refuses a record whose blobs are missing: it could never be replayed."""
    new_digests = {blob.digest for blob in entry.blobs}
    for digest in entry.refs:
        if digest in new_digests:
            continue
        if connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone() is None:
            raise ValueError(f"{entry.kind} of {entry.subject}: blob {digest} is not in the ledger")
