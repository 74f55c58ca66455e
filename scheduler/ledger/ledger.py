"""The ledger as the loops see it: append and wait until it is durable; read at once."""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import LedgerEntry, Receipt, Record
from scheduler.ledger.tables import LEDGER_FILE
from scheduler.ledger.writer import GroupWriter


class Ledger:
    """Opened as an async context manager; leaving it writes what waits.

        async with Ledger(data_dir) as ledger:
            receipt = await ledger.append(entry)

    Args:
        data_dir: the folder that holds `ledger.db`; made where there is none.

    Raises:
        LedgerCorruptError: the file there is something else.
        LedgerUnavailableError: the disk refuses.
    """

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / LEDGER_FILE
        self._writer = GroupWriter(self.path)
        self._reader = LedgerReader(self.path)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()  # first: the last to leave folds the log in, and a reader cannot
        await asyncio.to_thread(self._writer.close)

    async def append(self, entry: LedgerEntry) -> Receipt:
        """Records `entry`; returns only when it is on the disk.

        Cancelling the wait does not take the record back.

        Raises:
            LedgerUnavailableError: nothing was recorded; try again later.
            TypeError: the content is not made of JSON values.
            ValueError: the entry refers to a blob that the ledger does not hold.
        """
        return await asyncio.wrap_future(self._writer.submit(entry))

    def find(self, record_id: str) -> Record | None:
        """The record with this id, or None."""
        return self._reader.find(record_id)

    def records(
        self, after: int = 0, limit: int = 100, *, subject: str | None = None
    ) -> list[Record]:
        """Up to `limit` records that follow sequence `after`, oldest first."""
        return self._reader.records(after, limit, subject=subject)

    def last(self) -> Record | None:
        """The newest record, or None while the ledger is empty."""
        return self._reader.last()

    def last_about(self, subject: str) -> Record | None:
        """The newest record about "namespace/name", or None."""
        return self._reader.last_about(subject)

    def blob(self, digest: str) -> Any:  # noqa: ANN401 - any JSON value
        """The JSON value stored under this digest.

        Raises:
            LedgerCorruptError: it is missing or does not unpack.
        """
        return self._reader.blob(digest)
