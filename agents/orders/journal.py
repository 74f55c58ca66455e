"""What the agent has to know after a restart, in one SQLite file.

The file holds the newest index accepted under each of the hub's keys, contents by digest, the
generation of every order that was applied completely, the objects that were created, and the jobs
that have finished. Every change is one transaction, and is on the disk (synchronous=FULL) before
the agent acts on it.

A file that SQLite cannot read is moved aside and a new one created: the hub sends the index again,
and the agent finds its objects in the member by their labels.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agents.protocol.orders import api_group_of

_log = logging.getLogger(__name__)

_LOCK_SECONDS: float = 5.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS accepted (
  kid TEXT PRIMARY KEY, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
  digest TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS content (digest TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS applied (
  order_id TEXT PRIMARY KEY, generation INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS made (
  order_id TEXT NOT NULL, api_version TEXT NOT NULL, kind TEXT NOT NULL,
  namespace TEXT NOT NULL, name TEXT NOT NULL,
  PRIMARY KEY (order_id, api_version, kind, namespace, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS finished (
  order_id TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  outcome TEXT NOT NULL, PRIMARY KEY (order_id, kind, namespace, name)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """Kind and name of an object; the namespace is empty for a cluster-scoped object."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @property
    def group_kind(self) -> tuple[str, str]:
        """(group, kind): an object is the same in every version of its group."""
        return (api_group_of(self.api_version), self.kind)

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {where}{self.name}"


@dataclass(frozen=True, slots=True)
class AcceptedIndex:
    """The newest index accepted under one key of the hub.

    Attributes:
        kid: id of the key.
        epoch: epoch of the index.
        sequence: sequence of the index within its epoch.
        digest: digest of `payload`.
        payload: the index as it was received, encoded.
    """

    kid: str
    epoch: int
    sequence: int
    digest: str
    payload: bytes


class JournalError(Exception):
    """The journal cannot be read or written; the agent does not act on what was not written."""


class Journal:
    """The journal file. Safe to use from the event loop and from the executor's thread."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the file; moves a corrupt one aside.

        Raises:
            JournalError: the disk is full, or the file is locked or cannot be opened.
        """
        self._lock = threading.Lock()
        try:
            self._database = _open_database(path)
        except sqlite3.OperationalError as error:  # locked, disk full or unreadable: not corrupt
            raise JournalError(f"{path}: {error}") from error
        except sqlite3.DatabaseError as error:
            aside = path.with_suffix(".spoilt")
            _log.error(
                "%s: %s; moved to %s; starting with an empty journal",
                path,
                error,
                aside.name,
            )
            path.replace(aside)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._database = _open_database(path)
        # What the loops read every second is in memory too, so that a failing disk stops no report.
        self._applied_generations: dict[str, int] = dict(
            self._rows("SELECT order_id, generation FROM applied")
        )
        self._created_objects = self._load_created_objects()
        self._finished_jobs = self._load_finished_jobs()

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    # ------------------------------------------------------------ index and contents

    def save_index(self, index: AcceptedIndex) -> None:
        """Saves an index as the newest under its key."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO accepted VALUES (?, ?, ?, ?, ?)",
                (index.kid, index.epoch, index.sequence, index.digest, index.payload),
            )

    def newest_index(self, trusted_key_ids: Iterable[str]) -> AcceptedIndex | None:
        """The newest index under any of the trusted keys; None if there is none.

        Indexes under a key that was removed from the settings are ignored: a hub that is installed
        again has a new key, and its epochs start again from the beginning.
        """
        rows = self._rows(
            "SELECT kid, epoch, sequence, digest, payload FROM accepted"
            " ORDER BY epoch DESC, sequence DESC"
        )
        keys = frozenset(trusted_key_ids)
        return next((AcceptedIndex(*row) for row in rows if row[0] in keys), None)

    def save_content(self, digest: str, data: bytes) -> None:
        """Saves a content whose digest was verified."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO content VALUES (?, ?)", (digest, data))

    def content_of(self, digest: str) -> bytes | None:
        """The content with this digest; None if there is none."""
        rows = self._rows("SELECT data FROM content WHERE digest = ?", (digest,))
        return bytes(rows[0][0]) if rows else None

    def content_digests(self) -> frozenset[str]:
        """The digests of all saved contents."""
        return frozenset(row[0] for row in self._rows("SELECT digest FROM content"))

    def delete_contents_except(self, kept_digests: frozenset[str]) -> None:
        """Deletes all other contents."""
        gone = [(digest,) for digest in self.content_digests() - kept_digests]
        if gone:
            with self._transaction() as database:
                database.executemany("DELETE FROM content WHERE digest = ?", gone)

    # ------------------------------------------------------------ what was done

    def record_applied(self, order_id: str, generation: int) -> None:
        """Records that this generation was applied completely."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO applied VALUES (?, ?)", (order_id, generation))
        self._applied_generations[order_id] = generation

    def applied_generations(self) -> dict[str, int]:
        """The newest generation that was applied completely, by order id."""
        return dict(self._applied_generations)

    def record_created(self, order_id: str, objects: Iterable[ObjectKey]) -> None:
        """Records objects before they are created, so that none is forgotten in a crash."""
        known = self._created_objects.get(order_id, frozenset())
        new = frozenset(objects) - known
        if not new:
            return
        with self._transaction() as database:
            database.executemany(
                "INSERT OR IGNORE INTO made VALUES (?, ?, ?, ?, ?)",
                [(order_id, k.api_version, k.kind, k.namespace, k.name) for k in new],
            )
        self._created_objects[order_id] = known | new

    def created_objects(self) -> dict[str, frozenset[ObjectKey]]:
        """The objects that were created, by order id."""
        return dict(self._created_objects)

    def record_finished(self, order_id: str, key: ObjectKey, outcome: str) -> None:
        """Records that a job has finished, so that it never runs again; keeps the first outcome."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR IGNORE INTO finished VALUES (?, ?, ?, ?, ?)",
                (order_id, key.kind, key.namespace, key.name, outcome),
            )
        known = self._finished_jobs.get(order_id, {})
        self._finished_jobs[order_id] = {(key.kind, key.namespace, key.name): outcome} | known

    def finished_jobs_of(self, order_id: str) -> dict[tuple[str, str, str], str]:
        """The outcomes of an order's finished jobs, by (kind, namespace, name)."""
        return self._finished_jobs.get(order_id, {})

    def forget_order(self, order_id: str) -> None:
        """Deletes the records of an order of which nothing is left at the member."""
        with self._transaction() as database:
            for table in ("applied", "made", "finished"):
                database.execute(f"DELETE FROM {table} WHERE order_id = ?", (order_id,))  # noqa: S608 - the table names are constants
        for known in (self._applied_generations, self._created_objects, self._finished_jobs):
            known.pop(order_id, None)

    def _load_created_objects(self) -> dict[str, frozenset[ObjectKey]]:
        found: dict[str, frozenset[ObjectKey]] = {}
        for order_id, *key in self._rows("SELECT * FROM made"):
            found[order_id] = found.get(order_id, frozenset()) | {ObjectKey(*key)}
        return found

    def _load_finished_jobs(self) -> dict[str, dict[tuple[str, str, str], str]]:
        found: dict[str, dict[tuple[str, str, str], str]] = {}
        for order_id, *name, outcome in self._rows("SELECT * FROM finished"):
            found.setdefault(order_id, {})[name[0], name[1], name[2]] = outcome
        return found

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock, self._database:
                yield self._database
        except sqlite3.Error as error:
            raise JournalError(f"journal: {error}") from error

    def _rows(self, query: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"journal: {error}") from error


def load_applied_generations(path: Path) -> dict[str, int]:
    """`Journal.applied_generations` of a journal that another process may have open; read-only."""
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return {}
    try:
        return dict(database.execute("SELECT order_id, generation FROM applied").fetchall())
    except sqlite3.Error:
        return {}
    finally:
        database.close()


def _open_database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False, timeout=_LOCK_SECONDS)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("PRAGMA cache_size=-256")  # kB; the default of 2 MB is for servers
        database.executescript(_SCHEMA)
        database.execute("SELECT count(*) FROM accepted").fetchone()
    except sqlite3.DatabaseError:
        database.close()
        raise
    path.chmod(0o600)
    return database
