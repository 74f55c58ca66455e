"""Checks what is in the journal's file, before anything relies on it.

SQLite notices a damaged page only when it reads it, and takes a value of any type in any column. A
file that is damaged anywhere, or whose tables are others, is moved aside at once, not found
unusable at each use. A row that cannot be one of ours is left out.
"""

import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Final

from agents.protocol.bounds import is_unicode

_log = logging.getLogger(__name__)

_MAX_TEXT_CHARACTERS: Final = 2_048
_MAX_INTEGER: Final = 2**53


def check_database(database: sqlite3.Connection, schema: str) -> None:
    """Reads every page, and compares the tables with those of a new file.

    Args:
        database: an open database in which `schema` was executed.
        schema: the statements that create its tables.

    Raises:
        sqlite3.DatabaseError: a page is damaged, or a table has other columns.
    """
    [[verdict], *_] = database.execute("PRAGMA quick_check(1)").fetchall()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"damaged: {str(verdict)[:200]!a}")
    with closing(sqlite3.connect(":memory:")) as new:
        new.executescript(schema)
        for name, columns in _columns_by_table(new).items():
            if _columns_by_table(database).get(name) != columns:
                raise sqlite3.DatabaseError(f"table {name} has other columns")


def usable_rows(
    rows: Iterable[tuple[Any, ...]], types: tuple[type, ...]
) -> Iterator[tuple[Any, ...]]:
    """Yields the rows whose values have these types, and are as large as ours may be."""
    left_out = 0
    for row in rows:
        if all(_is_usable(value, expected) for value, expected in zip(row, types, strict=True)):
            yield row
        else:
            left_out += 1
    if left_out:
        _log.warning("journal: %d rows cannot be used and are ignored", left_out)


def _is_usable(value: object, expected: type) -> bool:
    if not isinstance(value, expected):
        return False
    if isinstance(value, str):
        return len(value) <= _MAX_TEXT_CHARACTERS and is_unicode(value)
    return not isinstance(value, int) or 0 <= value <= _MAX_INTEGER


def _columns_by_table(database: sqlite3.Connection) -> dict[str, list[str]]:
    names = [
        row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    ]
    query = "SELECT name FROM pragma_table_info(?)"
    return {name: [row[0] for row in database.execute(query, (name,))] for name in names}


def bytes_of(rows: list[tuple[Any, ...]]) -> bytes | None:
    """The only value of the first row; None if there is none, or if it is not bytes."""
    found = rows[0][0] if rows else None
    return found if isinstance(found, bytes) else None
