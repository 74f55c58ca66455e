"""What the agent has to know after a restart, in one SQLite file.

The file holds the newest index accepted under each of the hub's keys, with its envelope, contents
by digest, the generation of every order that was applied completely, the objects that were created,
and the jobs that have finished. Every change is one transaction, and is on the disk
(synchronous=FULL) before the agent acts on it.

A file that SQLite cannot read is moved aside and a new one created: the hub sends the index again,
and the agent finds its objects in the member by their labels. A file that cannot be used now (disk
full, locked, read-only) is tried again at every use; until then the agent only reports.
"""

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

from agents.orders.heads import HEADS_SCHEMA, heads_of_rows, keep_head, query_heads
from agents.protocol.index import DesiredIndex, HeldHead
from agents.protocol.orders import api_group_of
from agents.runtime.journal_checks import bytes_of, check_database, usable_rows

_log = logging.getLogger(__name__)

_LOCK_SECONDS: float = 0.25
"""Only a backup or an operator locks the file; a longer wait would hold up the event loop."""

_SUFFIXES: Final = ("-wal", "-shm")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS accepted (
  kid TEXT PRIMARY KEY, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
  digest TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS accepted_of_site (
  kid TEXT NOT NULL, site TEXT NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
  digest TEXT NOT NULL, payload BLOB NOT NULL, envelope BLOB, turn INTEGER NOT NULL,
  PRIMARY KEY (kid, site));
CREATE TABLE IF NOT EXISTS content (digest TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS applied (
  order_id TEXT PRIMARY KEY, generation INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS applied_content (order_id TEXT PRIMARY KEY, digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS made (
  order_id TEXT NOT NULL, api_version TEXT NOT NULL, kind TEXT NOT NULL,
  namespace TEXT NOT NULL, name TEXT NOT NULL,
  PRIMARY KEY (order_id, api_version, kind, namespace, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS finished (
  order_id TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  outcome TEXT NOT NULL, PRIMARY KEY (order_id, kind, namespace, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS probe (id INTEGER PRIMARY KEY, problem TEXT NOT NULL);
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
    """The newest index accepted for one site under one key of the hub.

    Attributes:
        kid: id of the key.
        site: name of the site.
        epoch: epoch of the index.
        sequence: sequence of the index within its epoch.
        digest: digest of `payload`.
        payload: the index as it was received, encoded.
        envelope: the message that it came in, as received; the hub's signature is in it. None in a
            journal of a version that kept the payload alone.
    """

    kid: str
    site: str
    epoch: int
    sequence: int
    digest: str
    payload: bytes
    envelope: bytes | None = None


class JournalError(Exception):
    """The journal cannot be read or written; the agent does not act on what was not written."""


class Journal:
    """The journal file. Safe to use from the event loop and from the executor's thread."""

    def __init__(self, path: Path) -> None:
        """Takes the file's path; `open` opens it."""
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._problem: str | None = None
        self._applied_generations: dict[str, int] = {}
        self._created_objects: dict[str, frozenset[ObjectKey]] = {}
        self._finished_jobs: dict[str, dict[tuple[str, str, str], str]] = {}
        with suppress(JournalError):  # tried again by everything that needs it
            self.open()

    @property
    def problem(self) -> str | None:
        """Why the last attempt to use the file failed; None if it succeeded."""
        return self._problem

    def open(self) -> None:
        """Opens or creates the file, if it is not open; moves a corrupt one aside.

        Raises:
            JournalError: the disk is full, or the file is locked or cannot be opened.
        """
        with self._lock:
            if self._connection is not None:
                return
            try:
                database = self._open_or_move_aside()
                try:
                    self._load(database)
                except BaseException:
                    database.close()
                    raise
            except (sqlite3.Error, OSError) as error:
                raise self._failure(error) from error
            self._connection, self._problem = database, None

    def require_writable(self) -> None:
        """Proves, after a failure, that the file can be written again; else costs nothing.

        Raises:
            JournalError: it still cannot be written.
        """
        self.open()
        if self._problem is not None:
            with self._transaction() as database:
                database.execute("INSERT OR REPLACE INTO probe VALUES (1, ?)", (self._problem,))

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()

    def _open_or_move_aside(self) -> sqlite3.Connection:
        try:
            return _open_database(self._path)
        except sqlite3.OperationalError:  # locked, disk full or unreadable: not corrupt
            raise
        except sqlite3.DatabaseError as error:
            aside = self._path.with_suffix(".spoilt")
            text = "%s: %s; moved to %s; starting with an empty journal"
            _log.error(text, self._path, error, aside.name)
            self._path.replace(aside)
            for suffix in _SUFFIXES:
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            return _open_database(self._path)

    def _load(self, database: sqlite3.Connection) -> None:
        """Reads what the loops read every second, so that a failing disk stops no report."""
        rows = database.execute("SELECT order_id, generation FROM applied")
        applied = dict(usable_rows(rows, (str, int)))
        made: dict[str, set[ObjectKey]] = {}
        rows = database.execute("SELECT order_id, api_version, kind, namespace, name FROM made")
        for order_id, *key in usable_rows(rows, (str,) * 5):
            made.setdefault(order_id, set()).add(ObjectKey(*key))
        finished: dict[str, dict[tuple[str, str, str], str]] = {}
        rows = database.execute("SELECT order_id, kind, namespace, name, outcome FROM finished")
        for order_id, kind, namespace, name, outcome in usable_rows(rows, (str,) * 5):
            finished.setdefault(order_id, {})[kind, namespace, name] = outcome
        self._applied_generations, self._finished_jobs = applied, finished
        self._created_objects = {order_id: frozenset(keys) for order_id, keys in made.items()}

    def _failure(self, error: Exception) -> "JournalError":
        self._problem = str(error) or type(error).__name__
        if type(error) is sqlite3.DatabaseError:  # damaged while it was open: moved aside next
            self.close()
            self._connection = None
        return JournalError(f"{self._path}: {self._problem}")

    # ------------------------------------------------------------ index and contents

    def save_index(self, accepted: AcceptedIndex, index: DesiredIndex | None = None) -> None:
        """Saves an index as the newest of its site under its key, with the head in it."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO accepted_of_site VALUES (?, ?, ?, ?, ?, ?, ?,"
                " (SELECT coalesce(max(turn), 0) + 1 FROM accepted_of_site))",
                astuple(accepted),
            )
            if index is not None:
                keep_head(database, index)

    def ledger_heads(self, site: str) -> tuple[HeldHead, ...]:
        """The heads of the hub's ledger that came for a site, the newest first."""
        return heads_of_rows(self._rows(*query_heads(site)))

    def save_envelope(self, kid: str, site: str, envelope: bytes) -> None:
        """Saves the message of an index that a version before kept without it."""
        with self._transaction() as database:
            database.execute(
                "UPDATE accepted_of_site SET envelope = ? WHERE kid = ? AND site = ?",
                (envelope, kid, site),
            )

    def accepted_indexes(self, site: str, *, max_epoch: int = 2**63 - 1) -> list[AcceptedIndex]:
        """The newest index of a site under each key, the last accepted first, without envelopes.

        An index of an epoch above `max_epoch` is ignored: no hub can send a newer one.
        """
        rows = self._rows(
            "SELECT kid, site, epoch, sequence, digest, payload FROM accepted_of_site"
            " WHERE site = ? AND epoch <= ? ORDER BY turn DESC, epoch DESC, sequence DESC",
            (site, max_epoch),
        )
        types = (str, str, int, int, str, bytes)
        return [AcceptedIndex(*row) for row in usable_rows(rows, types)]

    def envelope_of(self, kid: str, site: str) -> bytes | None:
        """The message in which the newest index of a site under a key came; None if not kept."""
        rows = self._rows(
            "SELECT envelope FROM accepted_of_site WHERE kid = ? AND site = ?", (kid, site)
        )
        return bytes_of(rows)

    def save_content(self, digest: str, data: bytes) -> None:
        """Saves a content whose digest was verified."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO content VALUES (?, ?)", (digest, data))

    def content_of(self, digest: str) -> bytes | None:
        """The content with this digest; None if there is none."""
        rows = self._rows("SELECT data FROM content WHERE digest = ?", (digest,))
        return bytes_of(rows)

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

    def record_applied(self, order_id: str, generation: int, digest: str = "") -> None:
        """Records that this generation was applied completely, and the digest of its content."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO applied VALUES (?, ?)", (order_id, generation))
            database.execute(
                "INSERT OR REPLACE INTO applied_content VALUES (?, ?)", (order_id, digest)
            )
        self._applied_generations[order_id] = generation

    def applied_generations(self) -> dict[str, int]:
        """The newest generation that was applied completely, by order id."""
        return dict(self._applied_generations)

    def applied_digest_of(self, order_id: str) -> str:
        """The digest of the content of an order that was applied completely last; "": unknown."""
        rows = self._rows("SELECT digest FROM applied_content WHERE order_id = ?", (order_id,))
        return next((digest for (digest,) in usable_rows(rows, (str,))), "")

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
            for table in ("applied", "applied_content", "made", "finished"):
                database.execute(f"DELETE FROM {table} WHERE order_id = ?", (order_id,))  # noqa: S608 - the table names are constants
        for known in (self._applied_generations, self._created_objects, self._finished_jobs):
            known.pop(order_id, None)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self.open()
            try:
                with self._database as database:
                    yield database
            except (sqlite3.Error, OverflowError) as error:
                raise self._failure(error) from error
            self._problem = None

    def _rows(self, query: str, values: tuple[str | int, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            self.open()
            try:
                return self._database.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise self._failure(error) from error

    @property
    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the journal is not open")
        return self._connection


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
    _create_private(path)
    database = sqlite3.connect(path, check_same_thread=False, timeout=_LOCK_SECONDS)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("PRAGMA cache_size=-256")  # kB; the default of 2 MB is for servers
        database.executescript(_SCHEMA + HEADS_SCHEMA)
        check_database(database, _SCHEMA + HEADS_SCHEMA)
        _take_over_accepted(database)
    except BaseException:
        database.close()
        raise
    return database


def _take_over_accepted(database: sqlite3.Connection) -> None:
    """Takes over the indexes of a version that kept one for each key, whatever its site."""
    query = "SELECT kid, epoch, sequence, digest, payload FROM accepted"
    rows = database.execute(query).fetchall()
    if not rows:
        return
    with database:
        for kid, epoch, sequence, digest, payload in rows:
            with suppress(ValueError, TypeError, KeyError):  # unreadable: as if there were none
                database.execute(
                    "INSERT INTO accepted_of_site VALUES (?, ?, ?, ?, ?, ?, NULL, 0)"
                    " ON CONFLICT (kid, site) DO UPDATE SET epoch = excluded.epoch,"
                    " sequence = excluded.sequence, digest = excluded.digest,"
                    " payload = excluded.payload, envelope = NULL"
                    " WHERE (excluded.epoch, excluded.sequence) > (epoch, sequence)",
                    (kid, str(json.loads(payload)["site"]), epoch, sequence, digest, payload),
                )
        database.execute("DELETE FROM accepted")


def _create_private(path: Path) -> None:
    """Makes the file with mode 0600 before SQLite writes to it; its side files get that mode too.

    Side files of an earlier version may be readable by others, so their modes are tightened.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    for suffix in _SUFFIXES:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).chmod(0o600)
