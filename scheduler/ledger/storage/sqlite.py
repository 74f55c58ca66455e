"""The ledger as a file: its tables in SQLite, and how to open it for writing and for reading."""

import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from scheduler.ledger.blobs import Blob
from scheduler.ledger.errors import LedgerCorruptError, LedgerMissingError, LedgerUnavailableError
from scheduler.ledger.record import Record
from scheduler.ledger.storage.database import ChainHead, Row, shares_in

LEDGER_FILE = "ledger.db"
"""The ledger's name inside a data directory."""

# "Kapk"; `file ledger.db` shows it, and `_check_format` compares it
LEDGER_APPLICATION_ID = 0x4B61706B
LEDGER_FORMAT = 2
"""The newest format that is read. A file has format 1 until it holds the first shares."""
_FIRST_FORMAT = 1
_BUSY_TIMEOUT_SECONDS = 10.0
_WRITE_TIMEOUT_SECONDS = 2.0  # then the decision is not made, and made again later

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
  seq     INTEGER PRIMARY KEY,
  id      TEXT NOT NULL UNIQUE,
  hash    TEXT NOT NULL,
  subject TEXT NOT NULL,
  body    BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS records_by_subject ON records (subject, seq);
CREATE TABLE IF NOT EXISTS blobs (
  digest TEXT PRIMARY KEY,
  packed BLOB NOT NULL
) WITHOUT ROWID;
"""

_SEGMENTS_SCHEMA = """
CREATE TABLE IF NOT EXISTS segments (
  number INTEGER PRIMARY KEY,
  body   BLOB NOT NULL
);
"""
"""Written by those that sign; a version before does not read it."""

_SHARES_SCHEMA = """
CREATE TABLE IF NOT EXISTS shares (
  subject  TEXT NOT NULL,
  seq      INTEGER NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (subject, seq)
) WITHOUT ROWID;
"""
"""The index of the shares of records: which workload has which share of which record."""
_HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"


class SqliteReader:
    """Implements `ReadableDatabase`.

    Args:
        path: the file.

    Raises:
        LedgerMissingError: there is no file.
        LedgerCorruptError: the file is not a ledger.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._has_shares = False
        self.connection = _open_for_reading(path)

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        """Every row that a query selects."""
        try:
            return self.connection.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise LedgerCorruptError(f"{self.name}: {error}") from error

    def has_segments(self) -> bool:
        """Whether a version that signs has written here."""
        return bool(self.rows(_HAS_TABLE, ("segments",)))

    def has_shares(self) -> bool:
        """Whether there is an index of shares."""
        self._has_shares = self._has_shares or bool(self.rows(_HAS_TABLE, ("shares",)))
        return self._has_shares

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read in this context is of one moment."""
        self.rows("BEGIN")
        try:
            yield
        finally:
            with suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")

    def close(self) -> None:
        """Closes the file."""
        self.connection.close()


class SqliteWriter:
    """Implements `WritableDatabase`; creates the file if it is missing.

    The lock of the data directory keeps other processes away, so that no epoch is compared.

    Args:
        path: the file.

    Raises:
        LedgerCorruptError: the file is not a ledger.
        LedgerUnavailableError: the file cannot be written.
    """

    chain_id = ""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.is_new = not path.exists()
        self.connection = _open_for_writing(path)

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        """Every row that a query selects."""
        try:
            return self.connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def has_segments(self) -> bool:
        """Whether a version that signs has written here."""
        return bool(self.rows(_HAS_TABLE, ("segments",)))

    def has_shares(self) -> bool:
        """Whether there is an index of shares: opening made it."""
        return True

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """The writer's own reads are of one moment inside a transaction."""
        yield

    @contextmanager
    def transaction(self) -> Iterator[ChainHead]:
        """One transaction: the body takes effect as a whole, or not at all if anything fails."""
        connection = self.connection
        try:
            if connection.in_transaction:  # the last rollback failed, as on a disk that was gone
                connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            try:
                query = "SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1"
                yield ChainHead(*(connection.execute(query).fetchone() or ()))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def missing_blobs(self, digests: Collection[str]) -> set[str]:
        """Those of the digests under which nothing is stored."""
        query = "SELECT 1 FROM blobs WHERE digest = ?"
        return {one for one in digests if not self.connection.execute(query, (one,)).fetchone()}

    def insert(self, records: Sequence[Record], blobs: Sequence[Blob], epoch: int | None) -> None:  # noqa: ARG002 - of the port
        """Adds records and blobs."""
        self.connection.executemany(
            "INSERT OR IGNORE INTO blobs (digest, packed) VALUES (?, ?)",
            [(blob.digest, blob.packed) for blob in blobs],
        )
        self.connection.executemany(
            "INSERT INTO records (seq, id, hash, subject, body) VALUES (?, ?, ?, ?, ?)",
            [(r.seq, r.id, r.hash, r.subject, r.body) for r in records],
        )
        if shares := shares_in(records):
            self.connection.executemany(
                "INSERT INTO shares (subject, seq, position) VALUES (?, ?, ?)", shares
            )
            self.connection.execute(f"PRAGMA user_version={LEDGER_FORMAT}")

    def newest_segment(self) -> bytes | None:
        """The newest stored segment, unchecked."""
        found = self.rows("SELECT body FROM segments ORDER BY number DESC LIMIT 1")
        return found[0][0] if found else None

    def insert_segment(self, body: bytes) -> None:
        """Adds a segment."""
        self.connection.execute("INSERT INTO segments (body) VALUES (?)", (body,))

    def prepare_segments(self) -> None:
        """Makes the table of segments: a ledger of a version before has none."""
        try:
            self.connection.executescript(_SEGMENTS_SCHEMA)
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def is_recorded(self, seq: int, digest: str) -> bool:
        """Whether record `seq` has this hash."""
        return bool(self.rows("SELECT 1 FROM records WHERE seq = ? AND hash = ?", (seq, digest)))

    def check_writable(self) -> None:
        """Writes the file's version again, as it is: a real write that changes nothing."""
        version = self.rows("PRAGMA user_version")[0][0]
        with self.transaction():
            self.connection.execute(f"PRAGMA user_version={int(version)}")

    def fence(self, epoch: int) -> int:
        """Does nothing: no other process can append."""
        return epoch

    def close(self) -> None:
        """Closes the file."""
        self.connection.close()

    def _unavailable(self, error: sqlite3.Error) -> LedgerUnavailableError:
        return LedgerUnavailableError(f"the ledger cannot be written: {error}")


def _open_for_writing(path: Path) -> sqlite3.Connection:
    """Opens the ledger; creates it with mode 0600 if the file does not exist.

    Raises:
        LedgerCorruptError: the file is not a ledger, or of a newer Kapok.
        LedgerUnavailableError: the folder or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(
            path, timeout=_WRITE_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
        )
    except (OSError, sqlite3.OperationalError) as error:
        raise LedgerUnavailableError(f"{path}: cannot be opened for writing: {error}") from error
    try:
        _prepare(connection, path)
    except sqlite3.OperationalError as error:
        connection.close()
        raise LedgerUnavailableError(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise LedgerCorruptError(f"{path}: not a ledger: {error}") from error
    except LedgerCorruptError:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    has_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0
    if has_tables:
        _check_format(connection, path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    if not has_tables:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA}"
            f"PRAGMA application_id={LEDGER_APPLICATION_ID}; PRAGMA user_version={_FIRST_FORMAT}; "
            "COMMIT;"
            "PRAGMA wal_checkpoint(TRUNCATE);"
        )
    if not connection.execute(_HAS_TABLE, ("shares",)).fetchone():
        connection.executescript(_SHARES_SCHEMA)


def _open_for_reading(path: Path) -> sqlite3.Connection:
    """Opens the ledger read-only; another process may be writing to it.

    Raises:
        LedgerMissingError: there is no file.
        LedgerCorruptError: the file is not a ledger, or of a newer Kapok.
    """
    if not path.is_file():
        raise LedgerMissingError(
            f"{path}: there is no ledger; name the data directory of `kapok up` or `kapok demo`"
            " with --data-dir, or set KAPOK_DATA_HOME"
        )
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?{_read_only_options(path)}",
            uri=True,
            timeout=_BUSY_TIMEOUT_SECONDS,
            isolation_level=None,
        )
        try:
            _check_format(connection, path)
        except (sqlite3.Error, LedgerCorruptError):
            connection.close()
            raise
    except sqlite3.Error as error:
        raise LedgerCorruptError(f"{path}: cannot be read as a ledger: {error}") from error
    return connection


def _read_only_options(path: Path) -> str:
    """SQLite's options for reading.

    A copy on a read-only disk has no write-ahead log, and SQLite cannot create one there: it must
    open the file as immutable.
    """
    has_log = path.with_name(path.name + "-wal").exists()
    return "mode=ro" if has_log or os.access(path.parent, os.W_OK) else "immutable=1"


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != LEDGER_APPLICATION_ID:
        raise LedgerCorruptError(f"{path}: this SQLite file is not a Kapok ledger")
    if version > LEDGER_FORMAT:
        raise LedgerCorruptError(
            f"{path}: format {version}, and this Kapok reads up to {LEDGER_FORMAT};"
            " use a newer Kapok"
        )
