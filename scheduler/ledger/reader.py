"""Reads the ledger: read-only and in short queries, with or without a writer at work."""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self

from scheduler.ledger.blobs import Blob, unpack
from scheduler.ledger.errors import LedgerCorruptError, LedgerError
from scheduler.ledger.record import (
    EQUAL_KIND,
    Record,
    in_effect,
    parse_id,
    record_of_row,
    share_of,
    undone_ids,
)
from scheduler.ledger.storage.database import ReadableDatabase, Row
from scheduler.ledger.storage.places import LedgerPlace, open_readable

_COLUMNS = "seq, id, hash, subject, body"
_PAGE_ROWS = 256
_NEWEST_ROWS = 8
_ABOUT = f"SELECT {_COLUMNS}, NULL AS position FROM records WHERE subject = ? AND seq "  # noqa: S608
_SHARES_ABOUT = (
    "SELECT records.seq, id, hash, records.subject, body, position FROM shares"
    " JOIN records ON records.seq = shares.seq WHERE shares.subject = ? AND shares.seq "
)


class RecordSource(Protocol):
    """What explanations, replays and lists need of a ledger, wherever it is."""

    def find(self, record_id: str) -> Record | None:
        """The record with this id, or None; `ID#INDEX` is a share of one."""
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
        place: the ledger's file or database.
        database: the same, opened already; None: it is opened here.

    Raises:
        LedgerMissingError: there is no ledger.
        LedgerCorruptError: this is not a ledger.
        LedgerUnavailableError: the server does not answer.
    """

    def __init__(self, place: LedgerPlace, *, database: ReadableDatabase | None = None) -> None:
        self._place = place
        self._database = open_readable(place) if database is None else database
        self._newest_parsed: Record | None = None

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
        """Closes the ledger."""
        self._database.close()

    def snapshot(self) -> AbstractContextManager[None]:
        """All that is read in this context is of one moment."""
        return self._database.snapshot()

    def find(self, record_id: str) -> Record | None:
        """The record with this id, or None; `ID#INDEX` is a share of one.

        The only decision of a record is its share 0 too.
        """
        whole, index = parse_id(record_id)
        found = self._read_one("WHERE id = ?", whole)
        if found is None or index is None:
            return found
        return self._share_of(found, index)

    def last(self) -> Record | None:
        """The newest record, or None while the ledger is empty."""
        return self._read_one("ORDER BY seq DESC LIMIT 1")

    def last_about(self, subject: str) -> Record | None:
        """The newest record about "namespace/name" that took effect, or None."""
        return next(in_effect(self.newest_first(subject)), None)

    def newest_first(self, subject: str, *, before: int | None = None) -> Iterator[Record]:
        """All records about "namespace/name", whether they took effect; read in small pages.

        Args:
            subject: the workload.
            before: only records before this sequence; None: all.
        """
        before = 1 << 62 if before is None else before
        while page := self._read_about(subject, "<", before, "DESC", _NEWEST_ROWS):
            yield from page
            before = page[-1].seq

    def records(
        self, after: int = 0, limit: int = 100, *, subject: str | None = None
    ) -> list[Record]:
        """Up to `limit` records that follow sequence `after`, oldest first.

        Args:
            after: the sequence to start after; 0 for the beginning.
            limit: the most records to return.
            subject: the "namespace/name" that records must be about, or a share of them, which
                then stands for the record; None for all.
        """
        if subject is None:
            return self._read_many("WHERE seq > ? ORDER BY seq LIMIT ?", after, limit)
        return self._read_about(subject, ">", after, "ASC", limit)

    def rows(self) -> Iterator[tuple[int, str, str, str, bytes]]:
        """Every row as stored, unchecked, by sequence; read in pages, so memory stays flat."""
        after = -(1 << 63)  # below any SQLite integer: a forged row may have a negative sequence
        while page := self._rows(f"WHERE seq > ? ORDER BY seq LIMIT {_PAGE_ROWS}", after):
            yield from page
            after = page[-1][0]

    def shares(self, seq: int, subjects: Sequence[str]) -> dict[str, int]:
        """Which share of a record each of these workloads has by the index, unchecked."""
        found: dict[str, int] = {}
        if not self._database.has_shares():
            return found
        for start in range(0, len(subjects), _PAGE_ROWS):
            some = subjects[start : start + _PAGE_ROWS]
            marks = ", ".join("?" * len(some))
            query = f"SELECT subject, position FROM shares WHERE subject IN ({marks}) AND seq = ?"  # noqa: S608 - question marks only
            found.update((row[0], row[1]) for row in self._rows_of(query, *some, seq))
        return found

    def count_shares(self) -> int:
        """The number of entries in the index of shares."""
        if not self._database.has_shares():
            return 0
        return int(self._rows_of("SELECT count(*) FROM shares")[0][0])

    def segments(self) -> Iterator[object]:
        """Every stored segment in order, unchecked; none in a ledger that was never signed."""
        if self._database.has_segments():
            yield from (
                row[0] for row in self._rows_of("SELECT body FROM segments ORDER BY number")
            )

    def has(self, seq: int, digest: str) -> bool:
        """Whether record `seq` is there with this hash; its content is not checked."""
        return bool(self._rows_of("SELECT 1 FROM records WHERE seq = ? AND hash = ?", seq, digest))

    def packed_blobs(self) -> Iterator[Blob]:
        """Every stored blob, unchecked, by digest; read in pages."""
        after = ""
        query = (
            f"SELECT digest, packed FROM blobs WHERE digest > ? ORDER BY digest LIMIT {_PAGE_ROWS}"  # noqa: S608
        )
        while page := self._rows_of(query, after):
            yield from (Blob(digest, packed) for digest, packed in page)
            after = page[-1][0]

    def newest_ids(self, limit: int) -> list[str]:
        """The ids of the newest records, the newest first; their content is not read."""
        query = "SELECT id FROM records ORDER BY seq DESC LIMIT ?"
        return [row[0] for row in self._rows_of(query, limit)]

    def count(self) -> int:
        """The number of records."""
        return int(self._rows_of("SELECT count(*) FROM records")[0][0])

    def packed_blob(self, digest: str) -> bytes | None:
        """The stored bytes under this digest, unchecked, or None."""
        rows = self._rows_of("SELECT packed FROM blobs WHERE digest = ?", digest)
        return rows[0][0] if rows else None

    def blob(self, digest: str) -> Any:  # noqa: ANN401 - any JSON value
        """The JSON value under this digest.

        Raises:
            LedgerCorruptError: it is missing or does not unpack.
        """
        packed = self.packed_blob(digest)
        if packed is None:
            raise LedgerCorruptError(f"{self._place}: blob {digest} is missing")
        try:
            return json.loads(unpack(packed))
        except ValueError as error:
            raise LedgerCorruptError(f"{self._place}: blob {digest}: {error}") from error

    def _read_one(self, where: str, *values: object) -> Record | None:
        return next(iter(self._read_many(where, *values)), None)

    def _read_many(self, where: str, *values: object) -> list[Record]:
        return [self._record_of(row) for row in self._rows(where, *values)]

    def _read_about(
        self, subject: str, comparison: str, seq: int, order: str, limit: int
    ) -> list[Record]:
        query, values = f"{_ABOUT}{comparison} ?", [subject, seq]
        if self._database.has_shares():
            query = f"{query} UNION ALL {_SHARES_ABOUT}{comparison} ?"
            values += [subject, seq]
        rows = self._rows_of(f"{query} ORDER BY 1 {order} LIMIT ?", *values, limit)
        return [self._record_or_share(subject, row) for row in rows]

    def _record_or_share(self, subject: str, row: Row) -> Record:
        record, position = self._record_of(row[:5]), row[5]
        if position is None:
            return record
        share = self._share_of(record, position)
        if share is None or share.subject != subject:
            raise self._damaged(record.seq, record.id, f"share {position} is not about {subject}")
        return share

    def _share_of(self, record: Record, index: int) -> Record | None:
        if record.kind != EQUAL_KIND:
            return None if index else record
        try:
            return share_of(record, index) if index < len(record.share_subjects) else None
        except ValueError as error:
            raise self._damaged(record.seq, record.id, error) from error

    def _rows(self, where: str, *values: object) -> list[tuple[int, str, str, str, bytes]]:
        return self._rows_of(f"SELECT {_COLUMNS} FROM records {where}", *values)  # noqa: S608 - constants of this file

    def _rows_of(self, query: str, *values: object) -> list[Row]:
        return self._database.rows(query, values)

    def _record_of(self, row: Row) -> Record:
        seq, record_id, digest, subject, body = row
        if self._newest_parsed is not None and self._newest_parsed.hash == digest:
            known = self._newest_parsed  # its shares are often asked for one after the other
            if (known.seq, known.id, known.body) == (seq, record_id, body):
                return known
        try:
            record = record_of_row(
                seq=seq, record_id=record_id, digest=digest, subject=subject, body=body
            )
        except (ValueError, TypeError) as error:
            raise self._damaged(seq, record_id, error) from error
        if record.fields.get("kind") == EQUAL_KIND:
            self._newest_parsed = record
        return record

    def _damaged(self, seq: int, record_id: str, why: object) -> LedgerCorruptError:
        return LedgerCorruptError(
            f"{self._place}: record {seq} ({record_id}) cannot be read: {why};"
            " `kapok ledger verify` says where the ledger was changed"
        )


def find_undoing(source: RecordSource, record: Record) -> Record | None:
    """The record which says that a decision was not carried out; None when it was."""
    after = record.seq
    while page := source.records(after, subject=record.subject):
        for one in page:
            if record.id in undone_ids([one]):
                return one
        after = page[-1].seq
    return None


def share_about(record: Record, subject: str) -> Record | None:
    """The decision about a workload that a record holds, by itself or as a share; None: none.

    Raises:
        LedgerCorruptError: the record cannot be read.
    """
    try:
        subjects = record.share_subjects
        if subject in subjects:
            return share_of(record, subjects.index(subject))
    except ValueError as error:
        raise LedgerCorruptError(f"record {record.id} cannot be read: {error}") from error
    return record if record.subject == subject else None


def decision_json(place: LedgerPlace, record_id: str) -> bytes | None:
    """A record with its sequence and hash as JSON; None when there is no such record.

    Opens the ledger for this call, so that any thread may call it.

    Raises:
        LookupError: the ledger cannot be read; the message says why.
    """
    try:
        with LedgerReader(place) as reader:
            record = reader.find(record_id)
    except LedgerError as error:
        raise LookupError(f"the ledger cannot be read: {error}") from error
    if record is None:
        return None
    facts = {"id": record.id, "seq": record.seq, "hash": record.hash, "subject": record.subject}
    return json.dumps({**facts, **record.fields}, ensure_ascii=False).encode()
