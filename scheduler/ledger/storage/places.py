"""Opens a ledger wherever it is, and bounds how long a read of a server may take."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as WaitTimeout
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import TypeAlias

from scheduler.ledger.errors import LedgerUnavailableError
from scheduler.ledger.storage.database import ReadableDatabase, Row, WritableDatabase
from scheduler.ledger.storage.postgres_url import PostgresUrl
from scheduler.ledger.storage.sqlite import LEDGER_FILE, SqliteReader, SqliteWriter

_log = logging.getLogger(__name__)

LedgerPlace: TypeAlias = Path | PostgresUrl
"""Where a ledger is: its file, or its database."""

_READ_SECONDS = 2.0
_PAUSE_SECONDS = 5.0
_REMEMBER_SECONDS = 30.0
"""A workload that waits for a read tries again within this time, if any does."""


def ledger_place(data_dir: Path, url: PostgresUrl | None) -> LedgerPlace:
    """The ledger of a scheduler: the database of its settings, else the file of its directory."""
    return url or data_dir / LEDGER_FILE


def open_readable(place: LedgerPlace) -> ReadableDatabase:
    """Opens a ledger read-only.

    Raises:
        LedgerMissingError: there is none.
        LedgerCorruptError: this is no ledger, or one of a newer Kapok.
        LedgerUnavailableError: the server cannot be reached, or refuses.
    """
    if isinstance(place, Path):
        return SqliteReader(place)
    database: ReadableDatabase = _postgres().PostgresReader(place)
    return database


def open_writable(place: LedgerPlace) -> WritableDatabase:
    """Opens a ledger for appending; makes it if there is none.

    Raises:
        LedgerCorruptError: this is no ledger, or one of a newer Kapok.
        LedgerUnavailableError: it cannot be written.
    """
    if isinstance(place, Path):
        return SqliteWriter(place)
    database: WritableDatabase = _postgres().PostgresWriter(place)
    return database


def _postgres() -> ModuleType:
    """The module that needs the driver, which only those have who use a server."""
    try:
        return import_module("scheduler.ledger.storage.postgres")
    except ImportError as error:
        raise LedgerUnavailableError(
            f"ledger.url: the driver of PostgreSQL is not installed ({error}); run: pip install"
            " 'kapok-scheduler[ha]'"
        ) from error


class BoundedReader:
    """Implements `ReadableDatabase` for an event loop: a server that hangs holds it for 2 s.

    After that, and after a server that was not reached, reads fail at once for 5 s.

    Args:
        place: a ledger on a server.
    """

    def __init__(
        self, place: PostgresUrl, *, open_database: Callable[[], ReadableDatabase] | None = None
    ) -> None:
        self.name = str(place)
        self._open = open_database or (lambda: open_readable(place))
        self._thread: _ReadingThread | None = None
        self._problem = ""
        self._again_at = 0.0

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        """Every row that a query selects.

        Raises:
            LedgerUnavailableError: the server does not answer in time.
        """
        if monotonic() < self._again_at:
            raise LedgerUnavailableError(self._problem)
        if self._thread is None:
            self._thread = _ReadingThread(self._open)
        try:
            found = self._thread.submit(query, values).result(_READ_SECONDS)
        except WaitTimeout:
            self.close()
            self._pause(f"{self.name}: no answer within {_READ_SECONDS:g} s")
            raise LedgerUnavailableError(self._problem) from None
        except LedgerUnavailableError as error:
            self._pause(str(error))
            raise
        if self._problem:
            _log.info("ledger: %s can be read again", self.name)
            self._problem = ""
        return found

    @property
    def problem(self) -> str:
        """Why reads fail; "" while they succeed, or when none has failed for a while."""
        return self._problem if monotonic() < self._again_at + _REMEMBER_SECONDS else ""

    def has_segments(self) -> bool:
        """Whether a version that signs has written here: always, on a server."""
        return True

    def has_shares(self) -> bool:
        """Whether there is an index of shares: the writer, which is opened first, made it."""
        return True

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Each read is of its own moment here; commands that verify open their own reader."""
        yield

    def close(self) -> None:
        """Ends the thread, and closes what it has opened, when its last read is over."""
        if self._thread is not None:
            self._thread.end()
            self._thread = None

    def _pause(self, problem: str) -> None:
        if not self._problem:
            _log.warning("ledger: %s", problem)
        self._problem, self._again_at = problem, monotonic() + _PAUSE_SECONDS


class _ReadingThread:
    """A thread with a connection of its own; one that hangs is left to its end."""

    def __init__(self, open_database: Callable[[], ReadableDatabase]) -> None:
        self._open = open_database
        self._database: ReadableDatabase | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="ledger-reader")

    def submit(self, query: str, values: Sequence[object]) -> "Future[list[Row]]":
        return self._executor.submit(self._read, query, values)

    def end(self) -> None:
        self._executor.submit(self._close)
        self._executor.shutdown(wait=False)

    def _read(self, query: str, values: Sequence[object]) -> list[Row]:
        if self._database is None:
            self._database = self._open()
        return self._database.rows(query, values)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
