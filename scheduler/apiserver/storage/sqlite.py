"""The SQLite file of the API server, with one writer thread that groups commits.

A write is acknowledged only after its transaction is on disk (WAL, synchronous=FULL). All writes
that are queued when the writer becomes free share one transaction, so throughput does not depend on
the flush time of the disk. The file is read only at the start: objects are kept in memory.

No failure ends the writer. After one it opens the file again and reads from it whether the
transaction arrived, so that the answer to the client, the memory and the disk agree.
"""

import asyncio
import fcntl
import queue
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from scheduler.apiserver.base.errors import DamagedFile

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
  resource TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (resource, key)
);
CREATE TABLE IF NOT EXISTS owners (
  resource TEXT NOT NULL, key TEXT NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (resource, key)
);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
OBJECTS_FORMAT = 1
"""The newest format that this version reads, kept as the file's user_version; 0 is the same."""
_MAX_BATCH_WRITES = 512
"""The most writes in one transaction, which limits how long the first one waits."""


class DataDirectoryInUse(Exception):
    """Another process uses the data directory."""


class DirectoryLock:
    """The lock that lets one server at a time use a data directory; a crash releases it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Takes the lock.

        Raises:
            DataDirectoryInUse: another process holds the lock; the message names the directory.
        """
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise DataDirectoryInUse(
                f"{self._path.parent}: another API server is using this data directory; "
                "stop it, or use another directory"
            ) from None
        self._file = file

    def release(self) -> None:
        """Releases the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One row of the table of objects; `data` None deletes the row."""

    resource: str
    key: str
    revision: int
    data: bytes | None
    owner: str = ""
    """The identity for whose limits the object counts; empty: none."""


@dataclass(frozen=True, slots=True)
class _WriteJob:
    rows: tuple[ObjectRow, ...]
    done: "asyncio.Future[None]"


class SqliteStore:
    """The database file and its writer thread.

    Args:
        path: the file.
        lock_timeout_seconds: how long a transaction waits for another process that uses the file.
    """

    def __init__(self, path: Path, *, lock_timeout_seconds: float = 5.0) -> None:
        self._path = path
        self._lock_timeout_seconds = lock_timeout_seconds
        self._queue: queue.SimpleQueue[list[_WriteJob] | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pending_jobs: list[_WriteJob] = []
        """Jobs submitted in this iteration of the event loop; the writer is woken once for all."""
        self._connection: sqlite3.Connection | None = None
        """The connection of the writer thread; None before the first write and after a failure."""

    def open(self) -> tuple[int, Iterator[ObjectRow]]:
        """Opens or creates the file; returns the highest revision ever used, and all objects.

        Raises:
            DamagedFile: the file is no such database, or of a newer version; also while the
                objects are read.
        """
        try:
            self._path.touch(mode=0o600)
            connection = _connect(self._path, self._lock_timeout_seconds)
            _prepare(connection, self._path)
            return _read_revision(connection), self._iter_rows(connection)
        except DamagedFile:
            raise
        except (sqlite3.Error, ValueError) as error:
            raise self._damage(error) from None

    def _iter_rows(self, connection: sqlite3.Connection) -> Iterator[ObjectRow]:
        try:
            for row in connection.execute(
                "SELECT resource, key, revision, data, coalesce(owner, '') FROM objects"
                " LEFT JOIN owners USING (resource, key) ORDER BY resource, key"
            ):
                yield ObjectRow(*row)
        except sqlite3.Error as error:
            raise self._damage(error) from None
        finally:
            connection.close()

    def _damage(self, error: Exception) -> DamagedFile:
        return DamagedFile(
            f"{self._path}: the database of objects cannot be read ({error}); restore a backup "
            "with: kapok hub restore FILE"
        )

    def start(self) -> None:
        """Starts the writer thread; must be called on the event loop that submits."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run_writer, name="api-store", daemon=True)
        self._thread.start()

    def submit(self, rows: tuple[ObjectRow, ...]) -> "asyncio.Future[None]":
        """Queues rows for one transaction; the future completes when they are on disk."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        if not self._pending_jobs:
            loop.call_soon(self._flush_pending)
        self._pending_jobs.append(_WriteJob(rows, done))
        return done

    def _flush_pending(self) -> None:
        waiting, self._pending_jobs = self._pending_jobs, []
        if waiting:
            self._queue.put(waiting)

    async def close(self) -> None:
        """Writes the queued rows, then ends the thread."""
        if self._thread is not None:
            self._flush_pending()
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _run_writer(self) -> None:
        ended = False
        while not ended:
            batch, ended = self._take_batch()
            if batch:
                self._write_batch(batch)
        self._close_connection()

    def _take_batch(self) -> tuple[list[_WriteJob], bool]:
        """Waits for jobs and takes all queued ones; also returns whether the store is closing."""
        batch: list[_WriteJob] = []
        jobs = self._queue.get()
        while jobs is not None:
            batch += jobs
            if len(batch) >= _MAX_BATCH_WRITES:
                return batch, False
            try:
                jobs = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _write_batch(self, batch: list[_WriteJob]) -> None:
        failure = self._commit_batch(batch)
        if failure is None or isinstance(failure, sqlite3.OperationalError) or len(batch) == 1:
            self._complete(batch, failure)
            return
        # One write of the batch cannot be stored; the others are not to fail with it.
        for job in batch:
            self._complete([job], self._commit_batch([job]))

    def _commit_batch(self, batch: list[_WriteJob]) -> Exception | None:
        """Writes a batch in one transaction; returns why it is not on disk, if it is not."""
        rows = [row for job in batch for row in job.rows]
        try:
            if self._connection is None:
                self._connection = _connect(self._path, self._lock_timeout_seconds)
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                _apply_rows(connection, rows)
        except Exception as error:  # noqa: BLE001 - the barrier of the writer thread
            self._close_connection()
            return None if self._is_on_disk(max(row.revision for row in rows)) else error
        return None

    def _is_on_disk(self, revision: int) -> bool:
        """Whether a failed transaction arrived all the same, as after a failed flush."""
        try:
            with closing(_connect(self._path, self._lock_timeout_seconds)) as connection:
                return _read_revision(connection) == revision
        except sqlite3.Error:
            return False

    def _close_connection(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _complete(self, batch: list[_WriteJob], failure: Exception | None) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(_complete_jobs, batch, failure)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > OBJECTS_FORMAT:
        connection.close()
        raise DamagedFile(
            f"{path}: format {version}, and this Kapok reads up to {OBJECTS_FORMAT}: "
            "a newer Kapok wrote it; use that one"
        )
    connection.executescript(_SCHEMA)
    connection.execute(f"PRAGMA user_version = {OBJECTS_FORMAT}")
    connection.execute("PRAGMA incremental_vacuum").fetchall()  # shrinks the file


def _apply_rows(connection: sqlite3.Connection, rows: list[ObjectRow]) -> None:
    # Of several writes of one object in a batch only the last one matters.
    last = {(row.resource, row.key): row for row in rows}
    connection.executemany(
        "DELETE FROM objects WHERE resource = ? AND key = ?",
        [row_key for row_key, row in last.items() if row.data is None],
    )
    connection.executemany(
        "INSERT INTO objects VALUES (?, ?, ?, ?) ON CONFLICT (resource, key)"
        " DO UPDATE SET revision = excluded.revision, data = excluded.data",
        [
            (row.resource, row.key, row.revision, row.data)
            for row in last.values()
            if row.data is not None
        ],
    )
    connection.executemany(
        "DELETE FROM owners WHERE resource = ? AND key = ?",
        [row_key for row_key, row in last.items() if not row.owner],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO owners VALUES (?, ?, ?)",
        [(row.resource, row.key, row.owner) for row in last.values() if row.owner],
    )
    revision = max(row.revision for row in rows)
    connection.execute(
        "INSERT INTO meta VALUES ('revision', ?) ON CONFLICT (name) DO UPDATE SET"
        " value = excluded.value",
        (str(revision),),
    )


def _read_revision(connection: sqlite3.Connection) -> int:
    found = connection.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()
    return int(found[0]) if found else 0


def _complete_jobs(batch: list[_WriteJob], failure: Exception | None) -> None:
    for job in batch:
        if job.done.done():
            continue
        if failure is None:
            job.done.set_result(None)
        else:
            job.done.set_exception(failure)


def _connect(path: Path, lock_timeout_seconds: float) -> sqlite3.Connection:
    # Not created if it is missing: a new file would look like a hub without objects.
    address = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(
        address,
        uri=True,
        timeout=lock_timeout_seconds,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes effect only in a new file
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    return connection


def copy_database(source: Path, target: Path) -> None:
    """Copies a database as of one instant, even while it is in use (SQLite's online backup)."""
    reader = sqlite3.connect(source)
    target.touch(mode=0o600)
    writer = sqlite3.connect(target)
    try:
        reader.backup(writer)
    finally:
        reader.close()
        writer.close()
