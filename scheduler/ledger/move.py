"""Moves a ledger from a file into a database: every record, blob and segment as it is.

The chain is verified before and after, and its end compared. What was copied before an interruption
is gone with the transaction, so that the database holds all of it or nothing.
"""

from collections.abc import Iterator
from itertools import islice

from scheduler.ledger.errors import CommitInDoubt, LedgerError
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import Record, record_of_row
from scheduler.ledger.storage.database import WritableDatabase
from scheduler.ledger.storage.places import LedgerPlace, open_writable
from scheduler.ledger.verify import verify

_PAGE = 256


class MoveRefused(LedgerError):
    """Nothing was moved; the message says why."""


def move_ledger(source: LedgerPlace, target: LedgerPlace) -> Record:
    """Copies a ledger that no scheduler writes.

    Args:
        source: where it is; stays as it is.
        target: an empty ledger, or none yet.

    Returns:
        The newest record.

    Raises:
        MoveRefused: the source is damaged or empty, or the target has records of its own.
        LedgerError: one of the two cannot be read or written.
    """
    with LedgerReader(source) as reader:
        _refuse_bad(reader, "nothing was moved")
        last = reader.last()
        if last is None:
            raise MoveRefused(f"{source}: the ledger has no record, so there is nothing to move")
        database = open_writable(target)
        try:
            _copy(reader, database)
        except CommitInDoubt as error:
            raise MoveRefused(f"{error}; run the same command again") from error
        finally:
            database.close()
    with LedgerReader(target) as copied:
        _refuse_bad(copied, "drop the schema kapok there, and run the same command again")
        newest = copied.last()
    if newest is None or newest.anchor != last.anchor:
        raise MoveRefused(f"{target}: the end of the copy is not that of {source}; do not use it")
    return last


def _refuse_bad(reader: LedgerReader, way_out: str) -> None:
    finding = verify(reader).first_finding
    if finding is not None:
        raise MoveRefused(
            f"record {finding.seq} failed verification: {finding.sentence}; {way_out}"
        )


def _copy(reader: LedgerReader, database: WritableDatabase) -> None:
    with database.transaction() as head:
        if head.seq:
            raise MoveRefused(
                f"{database.name}: it holds {head.seq} records; name a database without a ledger"
            )
        blobs = reader.packed_blobs()
        records = (
            record_of_row(seq=seq, record_id=name, digest=digest, subject=subject, body=body)
            for seq, name, digest, subject, body in reader.rows()
        )
        while some := list(islice(blobs, _PAGE)):
            database.insert([], some, None)
        for page in _pages(records):
            epochs = [epoch for one in page if (epoch := _epoch_of(one))]  # an adoption has none
            database.insert(page, [], epochs[-1] if epochs else None)
        database.prepare_segments()
        for body in reader.segments():
            if isinstance(body, bytes):
                database.insert_segment(body)


def _pages(records: Iterator[Record]) -> Iterator[list[Record]]:
    while page := list(islice(records, _PAGE)):
        yield page


def _epoch_of(record: Record) -> int:
    text = record.id.partition("-")[0]
    return int(text) if text.isdecimal() else 0
