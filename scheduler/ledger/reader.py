"""Reads the ledger: read-only and in short queries, with or without a writer at work."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from scheduler.ledger.blobs import unpack
from scheduler.ledger.errors import LedgerCorruptError, LedgerError
from scheduler.ledger.record import Record, in_effect, record_of_row, undone_ids
from scheduler.ledger.tables import open_for_reading

_COLUMNS = "seq, id, hash, subject, body"
_PAGE_ROWS = 256
_NEWEST_ROWS = 8
_NEWEST_BEFORE = "WHERE subject = ? AND seq < ? ORDER BY seq DESC LIMIT ?"


class RecordSource(Protocol):
    """What explanations, replays and lists need of a ledger, wherever it is."""

    def find(self, record_id: str) -> Record | None:
        """The record with this id, or None."""
        ...

    def last(self) -> Record | None:
        """The newest record, or None while the ledger is empty."""
        ...

    def last_about(self, subject: str) -> Record | None:
        """The newest record about a subject that took effect, or None."""
        ...

    def records(
        self, after: int = 0, limit: int = 100, *, subject: str | None = None
    ) -> list[Record]:
        """Up to `limit` records that follow sequence `after`, oldest first."""
        ...

    def blob(self, digest: str) -> Any:  # noqa: ANN401 - any JSON value
        """The JSON value under this digest."""
        ...


class LedgerReader:
    """Finds records and blobs. Not thread-safe.

    Args:
        path: the ledger's file.

    Raises:
        LedgerMissingError: there is no file.
        LedgerCorruptError: the file is not a ledger.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_for_reading(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def find(self, record_id: str) -> Record | None:
        """The record with this id, or None."""
        return self._read_one("WHERE id = ?", record_id)

    def last(self) -> Record | None:
        """The newest record, or None while the ledger is empty."""
        return self._read_one("ORDER BY seq DESC LIMIT 1")

    def last_about(self, subject: str) -> Record | None:
        """The newest record about "namespace/name" that took effect, or None."""
        return next(in_effect(self.newest_first(subject)), None)

    def newest_first(self, subject: str) -> Iterator[Record]:
        """All records about "namespace/name", whether they took effect; read in small pages."""
        before = 1 << 62
        while page := self._read_many(_NEWEST_BEFORE, subject, before, _NEWEST_ROWS):
            yield from page
            before = page[-1].seq

    def records(
        self, after: int = 0, limit: int = 100, *, subject: str | None = None
    ) -> list[Record]:
        """Up to `limit` records that follow sequence `after`, oldest first.

        Args:
            after: the sequence to start after; 0 for the beginning.
            limit: the most records to return.
            subject: the "namespace/name" that records must be about; None for all.
        """
        if subject is None:
            return self._read_many("WHERE seq > ? ORDER BY seq LIMIT ?", after, limit)
        return self._read_many(
            "WHERE subject = ? AND seq > ? ORDER BY seq LIMIT ?", subject, after, limit
        )

    def rows(self) -> Iterator[tuple[int, str, str, str, bytes]]:
        """Every row as stored, unchecked, by sequence; read in pages, so memory stays flat."""
        after = -(1 << 63)  # below any SQLite integer: a forged row may have a negative sequence
        while page := self._rows(f"WHERE seq > ? ORDER BY seq LIMIT {_PAGE_ROWS}", after):
            yield from page
            after = page[-1][0]

    def segments(self) -> Iterator[object]:
        """Every stored segment in order, unchecked; none in a ledger that was never signed."""
        query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'segments'"
        if self._connection.execute(query).fetchone():
            query = "SELECT body FROM segments ORDER BY number"
            yield from (row[0] for row in self._connection.execute(query))

    def has(self, seq: int, digest: str) -> bool:
        """Whether record `seq` is there with this hash; its content is not checked."""
        query = "SELECT 1 FROM records WHERE seq = ? AND hash = ?"
        return self._connection.execute(query, (seq, digest)).fetchone() is not None

    def count(self) -> int:
        """The number of records."""
        return int(self._connection.execute("SELECT count(*) FROM records").fetchone()[0])

    def packed_blob(self, digest: str) -> bytes | None:
        """The stored bytes under this digest, unchecked, or None."""
        row = self._connection.execute(
            "SELECT packed FROM blobs WHERE digest = ?", (digest,)
        ).fetchone()
        return None if row is None else row[0]

    def blob(self, digest: str) -> Any:  # noqa: ANN401 - any JSON value
        """The JSON value under this digest.

        Raises:
            LedgerCorruptError: it is missing or does not unpack.
        """
        packed = self.packed_blob(digest)
        if packed is None:
            raise LedgerCorruptError(f"{self._path}: blob {digest} is missing")
        try:
            return json.loads(unpack(packed))
        except ValueError as error:
            raise LedgerCorruptError(f"{self._path}: blob {digest}: {error}") from error

    def _read_one(self, where: str, *values: object) -> Record | None:
        return next(iter(self._read_many(where, *values)), None)

    def _read_many(self, where: str, *values: object) -> list[Record]:
        return [self._record_of(row) for row in self._rows(where, *values)]

    def _rows(self, where: str, *values: object) -> list[tuple[int, str, str, str, bytes]]:
        query = f"SELECT {_COLUMNS} FROM records {where}"  # noqa: S608 - constants of this file
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise LedgerCorruptError(f"{self._path}: {error}") from error

    def _record_of(self, row: tuple[int, str, str, str, bytes]) -> Record:
        seq, record_id, digest, subject, body = row
        try:
            return record_of_row(
                seq=seq, record_id=record_id, digest=digest, subject=subject, body=body
            )
        except (ValueError, TypeError) as error:
            raise LedgerCorruptError(
                f"{self._path}: record {seq} ({record_id}) cannot be read: {error};"
                " `kapok ledger verify` says where the ledger was changed"
            ) from error


def find_undoing(source: RecordSource, record: Record) -> Record | None:
    """The record which says that a decision was not carried out; None when it was."""
    after = record.seq
    while page := source.records(after, subject=record.subject):
        for one in page:
            if record.id in undone_ids([one]):
                return one
        after = page[-1].seq
    return None


def decision_json(path: Path, record_id: str) -> bytes | None:
    """A record with its sequence and hash as JSON; None when there is no such record.

    Opens the file for this call, so that any thread may call it.

    Raises:
        LookupError: the ledger cannot be read; the message says why.
    """
    try:
        with LedgerReader(path) as reader:
            record = reader.find(record_id)
    except (LedgerError, sqlite3.Error) as error:
        raise LookupError(f"the ledger cannot be read: {error}") from error
    if record is None:
        return None
    facts = {"id": record.id, "seq": record.seq, "hash": record.hash, "subject": record.subject}
    return json.dumps({**facts, **record.fields}, ensure_ascii=False).encode()
