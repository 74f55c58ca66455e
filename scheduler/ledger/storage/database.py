"""The seam between the ledger and what stores it: a file of SQLite, or a database of PostgreSQL.

`sqlite.py` and `postgres.py` implement it; `tests/contract/test_ledger_storage.py` holds both to
the same behaviour. Everything above it (chains, segments, group commit, verification) is the same
code. Queries use SQL that both have, with `?` for values.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from scheduler.ledger.blobs import Blob
from scheduler.ledger.record import GENESIS, MAX_SHARES, Record

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The end of the chain.

    Attributes:
        seq: sequence of the newest record; 0 while there is none.
        hash: its hash.
        epoch: the lowest epoch that may append; 0 where only one process can.
    """

    seq: int = 0
    hash: str = GENESIS
    epoch: int = 0


class ReadableDatabase(Protocol):
    """A ledger, opened read-only; another process may be writing. Not thread-safe."""

    @property
    def name(self) -> str:
        """The file, or the address without its secrets, for messages."""
        ...

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        """Every row that a query selects.

        Raises:
            LedgerCorruptError: the tables cannot be read.
            LedgerUnavailableError: the server does not answer.
        """
        ...

    def has_segments(self) -> bool:
        """Whether a version that signs has written here."""
        ...

    def has_shares(self) -> bool:
        """Whether there is an index of the shares of records; a version before made none."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """All that is read in this context is of one moment."""
        ...

    def close(self) -> None:
        """Closes it; may be called twice."""
        ...


class WritableDatabase(ReadableDatabase, Protocol):
    """A ledger, opened for writing; for one thread."""

    @property
    def is_new(self) -> bool:
        """The tables were made by this opening."""
        ...

    @property
    def chain_id(self) -> str:
        """Names a shared chain; "" for a file, which is not shared."""
        ...

    def transaction(self) -> AbstractContextManager[ChainHead]:
        """A transaction that no other process can append beside.

        It takes effect as a whole when the context ends, or not at all if anything fails.

        Yields:
            The end of the chain, which stays the end until the transaction is over.

        Raises:
            CommitInDoubt: the connection broke when it was to take effect; `is_recorded` knows.
            LedgerUnavailableError: nothing was written; try again later.
        """
        ...

    def missing_blobs(self, digests: Collection[str]) -> set[str]:
        """Those of the digests under which nothing is stored; inside a transaction."""
        ...

    def insert(self, records: Sequence[Record], blobs: Sequence[Blob], epoch: int | None) -> None:
        """Adds records after the head, and blobs that are not stored yet; inside a transaction.

        Shares of records are entered into the index, and the first one raises the format, so that
        a version that would not find them refuses the ledger.

        Args:
            records: in order.
            blobs: to store.
            epoch: the lowest epoch that may append from now on; None: as before.
        """
        ...

    def newest_segment(self) -> bytes | None:
        """The newest stored segment, unchecked."""
        ...

    def insert_segment(self, body: bytes) -> None:
        """Adds a segment; inside a transaction."""
        ...

    def prepare_segments(self) -> None:
        """Makes the table of segments if there is none."""
        ...

    def is_recorded(self, seq: int, digest: str) -> bool:
        """Whether record `seq` has this hash, when no transaction is under way any more.

        Raises:
            LedgerUnavailableError: the server cannot say yet.
        """
        ...

    def check_writable(self) -> None:
        """Writes something that changes nothing; returns when it is durable.

        Raises:
            LedgerUnavailableError: it cannot be written.
        """
        ...

    def fence(self, epoch: int) -> int:
        """Refuses appends of lower epochs from now on, where other processes can append.

        Returns:
            The lowest epoch that may append: this one, or a higher one of before.

        Raises:
            LedgerUnavailableError: the server does not answer.
        """
        ...


def shares_in(records: Sequence[Record]) -> list[tuple[str, int, int]]:
    """What the index holds of the shares of records: workload, sequence, index in the record.

    Raises:
        ValueError: a record is damaged, or has too many shares.
    """
    found: list[tuple[str, int, int]] = []
    for one in records:
        subjects = one.share_subjects
        if len(subjects) > MAX_SHARES:
            raise ValueError(f"record {one.id} has {len(subjects)} shares, more than {MAX_SHARES}")
        found += [(subject, one.seq, index) for index, subject in enumerate(subjects)]
    return found
