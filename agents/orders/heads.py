"""The heads of the hub's ledger that the agent has received, in the journal's file.

A head says what the end of the ledger was when the hub made an index. Kept where the owner of the
ledger cannot write, it shows later that records before it were written again, or cut off. The last
hundred are kept, and always the one that is furthest in the ledger: heads of a shorter ledger, made
after this one was replaced, do not displace it.
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from agents.protocol.bounds import MAX_LEDGER_HEADS
from agents.protocol.codec import Codec
from agents.protocol.errors import WireError
from agents.protocol.index import DesiredIndex, HeldHead, LedgerHead
from agents.runtime.journal_checks import usable_rows

HEADS_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS heads (
  turn INTEGER PRIMARY KEY, site TEXT NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
  first INTEGER NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL, previous TEXT NOT NULL,
  at TEXT NOT NULL, key TEXT NOT NULL, signature TEXT NOT NULL,
  UNIQUE (site, seq, hash, key));
"""
_COLUMNS: Final = "epoch, sequence, first, seq, hash, previous, at, key, signature"
_COLUMN_TYPES: Final = (int, int, int, int, str, str, str, str, str)
_HELD_HEAD: Final = Codec(HeldHead)
_NEWEST: Final = f"SELECT {_COLUMNS} FROM heads WHERE site = ? ORDER BY turn DESC LIMIT ?"  # noqa: S608 - constants


def keep_head(database: sqlite3.Connection, index: DesiredIndex) -> None:
    """Keeps the head that an index carries, in the caller's transaction."""
    head = index.ledger_head
    if head is None:
        return
    database.execute(
        f"INSERT OR IGNORE INTO heads (site, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants
        (
            index.site,
            index.epoch,
            index.sequence,
            head.first,
            head.seq,
            head.hash,
            head.previous,
            head.at,
            head.key,
            head.signature,
        ),
    )
    database.execute(
        "DELETE FROM heads WHERE site = ?1"
        " AND turn NOT IN (SELECT turn FROM heads WHERE site = ?1 ORDER BY turn DESC LIMIT ?2)"
        " AND turn <> (SELECT turn FROM heads WHERE site = ?1 ORDER BY seq DESC, turn LIMIT 1)",
        (index.site, MAX_LEDGER_HEADS - 1),
    )


def heads_of_rows(rows: list[tuple[Any, ...]]) -> tuple[HeldHead, ...]:
    """Heads from rows of `_COLUMNS`; rows that are none are left out."""
    names, held = _COLUMNS.split(", "), []
    for row in usable_rows(rows, _COLUMN_TYPES):
        values = dict(zip(names, row, strict=True))
        version = {name: values.pop(name) for name in ("epoch", "sequence")}
        head = HeldHead(head=LedgerHead(**values), **version)
        with suppress(WireError):  # out of bounds: the hub would refuse the whole status
            _HELD_HEAD.decode(_HELD_HEAD.encode(head))
            held.append(head)
    return tuple(held)


def query_heads(site: str) -> tuple[str, tuple[str | int, ...]]:
    """The query for the heads of a site, the newest first, and its values."""
    return _NEWEST, (site, MAX_LEDGER_HEADS)


def load_heads(path: Path, site: str) -> tuple[HeldHead, ...]:
    """The heads in a journal that another process may have open; read-only.

    Raises:
        OSError: the journal cannot be read.
    """
    if not path.exists():
        return ()
    query, values = query_heads(site)
    try:
        address = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as database:
            has_table = "SELECT 1 FROM sqlite_master WHERE name = 'heads'"
            if database.execute(has_table).fetchone() is None:
                return ()  # of a version before
            return heads_of_rows(database.execute(query, values).fetchall())
    except sqlite3.Error as error:
        raise OSError(f"{path}: {error}") from error
