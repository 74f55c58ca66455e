"""Whether a database file can be used: its kind, its version, and whether it is whole."""

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from scheduler.apiserver.storage.sqlite import OBJECTS_FORMAT
from scheduler.ledger.storage.sqlite import LEDGER_APPLICATION_ID, LEDGER_FORMAT
from scheduler.mqtt.received_messages import RECEIVED_FORMAT

_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100
_LARGEST_PAGE = 65_536  # the header holds 1 for it
_MAX_FULL_CHECK_BYTES = 64 << 20
"""Larger files are not read as a whole at every start; SQLite checks pages that it uses."""
_LOCK_TIMEOUT_SECONDS = 2.0


def check_ledger(path: Path) -> None:
    """Checks a ledger; an empty file passes, it holds nothing yet.

    Raises:
        ValueError: what is wrong with it.
    """
    _check(path, "records", LEDGER_FORMAT, "the decision ledger")
    if has_content(path):
        with read_only(path) as database:
            application = database.execute("PRAGMA application_id").fetchone()[0]
        if application != LEDGER_APPLICATION_ID:
            raise ValueError("this SQLite file is not a Kapok ledger")


def check_objects(path: Path) -> None:
    """Checks the database of the embedded hub; an empty file passes, it holds nothing yet.

    Raises:
        ValueError: what is wrong with it.
    """
    _check(path, "objects", OBJECTS_FORMAT, "the hub's database")


def check_received(path: Path) -> None:
    """Checks what was received of agents; an empty file passes, it holds nothing yet.

    Raises:
        ValueError: what is wrong with it.
    """
    _check(path, "received", RECEIVED_FORMAT, "the record of what agents sent")


def has_content(path: Path) -> bool:
    """Whether a database holds a table. False for a file that is missing or empty."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with read_only(path) as database:
        return database.execute("SELECT 1 FROM sqlite_master").fetchone() is not None


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a database of a stopped hub for reading.

    Raises:
        ValueError: it cannot be read; the message says why.
    """
    # `rw`: what a killed process left in the write-ahead log is recovered; nothing is created.
    address = f"{path.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=_LOCK_TIMEOUT_SECONDS)) as database:
            yield database
    except sqlite3.Error as error:
        raise ValueError(f"cannot be read ({error})") from None


def _check(path: Path, table: str, newest_format: int, what: str) -> None:
    size = path.stat().st_size
    if size == 0:
        return
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if header[: len(_MAGIC)] != _MAGIC or len(header) < _HEADER_BYTES:
        raise ValueError("damaged: this is no SQLite database")
    _check_size(path, header, size)
    with read_only(path) as database:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > newest_format:
            raise ValueError(
                f"format {version}, and this Kapok reads up to {newest_format}: "
                "a newer Kapok wrote it; use that one"
            )
        names = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
        if names and table not in names:
            raise ValueError(f"this SQLite database is not {what}")
        if size <= _MAX_FULL_CHECK_BYTES:
            found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise ValueError(f"damaged ({str(found).splitlines()[-1][:200]})")


def _check_size(path: Path, header: bytes, size: int) -> None:
    """Refuses a file that was cut off. Its length counts only when no log holds newer pages."""
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        return
    page_size = struct.unpack_from(">H", header, 16)[0]
    page_size = _LARGEST_PAGE if page_size == 1 else page_size
    change_counter, page_count = struct.unpack_from(">II", header, 24)
    valid_for = struct.unpack_from(">I", header, 92)[0]
    # Only then the count of pages in the header is the present one (fileformat2, 1.3.8).
    if change_counter == valid_for and size < page_size * page_count:
        raise ValueError(f"damaged: cut off after {size} of {page_size * page_count} bytes")
