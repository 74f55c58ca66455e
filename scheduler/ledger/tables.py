"""The ledger's file: two tables in SQLite, and how to open it for writing and for reading."""

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from scheduler.ledger.errors import LedgerCorruptError, LedgerMissingError, LedgerUnavailableError

LEDGER_FILE = "ledger.db"
"""The ledger's name inside a data directory."""

# "Kapk"; `file ledger.db` shows it, and `_check_format` compares it
LEDGER_APPLICATION_ID = 0x4B61706B
LEDGER_FORMAT = 1
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

SEGMENTS_SCHEMA = """
CREATE TABLE IF NOT EXISTS segments (
  number INTEGER PRIMARY KEY,
  body   BLOB NOT NULL
);
"""
"""Written by those that sign; a version before does not read it."""


def open_for_writing(path: Path) -> sqlite3.Connection:
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
            f"PRAGMA application_id={LEDGER_APPLICATION_ID}; PRAGMA user_version={LEDGER_FORMAT}; "
            "COMMIT;"
            "PRAGMA wal_checkpoint(TRUNCATE);"
        )


def open_for_reading(path: Path) -> sqlite3.Connection:
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
