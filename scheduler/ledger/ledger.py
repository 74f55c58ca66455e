"""The ledger for the control loops: appends wait until they are durable, reads return at once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scheduler.control.ports.ledger import SignedHead
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import LedgerEntry, Receipt, Record
from scheduler.ledger.segments import HeadKey
from scheduler.ledger.tables import LEDGER_FILE
from scheduler.ledger.writer import GroupWriter


class Ledger:
    """An async context manager; leaving it writes the entries that are still queued.

        async with Ledger(data_dir) as ledger:
            receipt = await ledger.append(entry)

    Args:
        data_dir: the folder of `ledger.db`; created if missing.
        key: the hub's signing key, which signs segments; None: nothing is signed.

    Attributes:
        is_new: there was no file before.

    Raises:
        LedgerCorruptError: the file is not a ledger.
        LedgerUnavailableError: the file cannot be written.
    """

    def __init__(self, data_dir: Path, *, key: HeadKey | None = None) -> None:
        self.path = data_dir / LEDGER_FILE
        self.is_new = not self.path.exists()
        self._writer = GroupWriter(self.path, key=key)
        self._reader = LedgerReader(self.path)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The last connection to close folds the write-ahead log into the file; a read-only
        # one cannot, so it is closed first.
        self._reader.close()
        await asyncio.to_thread(self._writer.close)

    async def append(self, entry: LedgerEntry) -> Receipt:
        """Records `entry`; returns when it is durable.

        Cancelling the wait does not undo the record.

        Raises:
            LedgerUnavailableError: nothing was recorded; try again later.
            TypeError: the content is not made of JSON values.
            ValueError: the entry refers to a blob that the ledger does not hold.
        """
        return await asyncio.wrap_future(self._writer.submit(entry))

    def head(self) -> SignedHead | None:
        """The signed head of this moment, to be kept elsewhere; None while there is nothing."""
        return self._writer.head()

    async def check_writable(self) -> None:
        """Writes nothing new, and returns when that is durable.

        Raises:
            LedgerUnavailableError: the file cannot be written.
        """
        await asyncio.wrap_future(self._writer.check())

    def records(
        self, after: int = 0, limit: int = 100, *, subject: str | None = None
    ) -> list[Record]:
        """Up to `limit` records that follow sequence `after`, oldest first."""
        return self._reader.records(after, limit, subject=subject)

    def last_about(self, subject: str) -> Record | None:
        """The newest record about a subject that took effect; None when there is none."""
        return self._reader.last_about(subject)

    def newest_first(self, subject: str) -> Iterator[Record]:
        """All records about a subject, whether they took effect, the newest first."""
        return self._reader.newest_first(subject)

    def has(self, seq: int, digest: str) -> bool:
        """Whether record `seq` is there with this hash."""
        return self._reader.has(seq, digest)

    def blob(self, digest: str) -> Any:  # noqa: ANN401 - any JSON value
        """The JSON value stored under this digest.

        Raises:
            LedgerCorruptError: it is missing or does not unpack.
        """
        return self._reader.blob(digest)
