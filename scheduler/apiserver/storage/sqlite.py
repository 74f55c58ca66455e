"""The SQLite file of the API server, with one writer thread that groups commits.

A write is acknowledged only after its transaction is on disk (WAL, synchronous=FULL). All writes
that are queued when the writer becomes free share one transaction, so throughput does not depend on
the flush time of the disk. The file is read only at the start: objects are kept in memory.
"""

import asyncio
import fcntl
import queue
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
  resource TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (resource, key)
);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
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


@dataclass(frozen=True, slots=True)
class _WriteJob:
    rows: tuple[ObjectRow, ...]
    done: "asyncio.Future[None]"


class SqliteStore:
    """The database file and its writer thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[list[_WriteJob] | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pending_jobs: list[_WriteJob] = []
        """Jobs submitted in this iteration of the event loop; the writer is woken once for all."""

    def open(self) -> tuple[int, Iterator[ObjectRow]]:
        """Opens or creates the file; returns the highest revision ever used, and all objects."""
        self._path.touch(mode=0o600)
        connection = _connect(self._path)
        connection.executescript(_SCHEMA)
        connection.execute("PRAGMA incremental_vacuum").fetchall()  # shrinks the file
        found = connection.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()
        return (int(found[0]) if found else 0), self._iter_rows(connection)

    @staticmethod
    def _iter_rows(connection: sqlite3.Connection) -> Iterator[ObjectRow]:
        try:
            for row in connection.execute(
                "SELECT resource, key, revision, data FROM objects ORDER BY resource, key"
            ):
                yield ObjectRow(*row)
        finally:
            connection.close()

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
        connection = _connect(self._path)
        try:
            while True:
                batch, ended = self._take_batch()
                if batch:
                    self._commit_batch(connection, batch)
                if ended:
                    return
        finally:
            connection.close()

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

    def _commit_batch(self, connection: sqlite3.Connection, batch: list[_WriteJob]) -> None:
        rows = [row for job in batch for row in job.rows]
        failure: sqlite3.Error | None = None
        try:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                _apply_rows(connection, rows)
        except sqlite3.Error as error:
            failure = error
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_complete_jobs, batch, failure)


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
    revision = max(row.revision for row in rows)
    connection.execute(
        "INSERT INTO meta VALUES ('revision', ?) ON CONFLICT (name) DO UPDATE SET"
        " value = excluded.value",
        (str(revision),),
    )


def _complete_jobs(batch: list[_WriteJob], failure: sqlite3.Error | None) -> None:
    for job in batch:
        if job.done.done():
            continue
        if failure is None:
            job.done.set_result(None)
        else:
            job.done.set_exception(failure)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
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
