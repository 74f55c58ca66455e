"""The ledger for the control loops: appends wait until they are durable, reads return at once."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scheduler.control.ports.ledger import SignedHead
from scheduler.ledger.errors import LedgerDeposedError, LedgerError
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import LedgerEntry, Receipt, Record
from scheduler.ledger.segments import HeadKey
from scheduler.ledger.storage.places import BoundedReader, ledger_place
from scheduler.ledger.storage.postgres_url import PostgresUrl
from scheduler.ledger.writer import GroupWriter

_BEGIN_SECONDS = 5.0
_log = logging.getLogger(__name__)


class Ledger:
    """An async context manager; leaving it writes the entries that are still queued.

        async with Ledger(data_dir) as ledger:
            receipt = await ledger.append(entry)

    Args:
        data_dir: the folder of `ledger.db`; created if missing.
        key: the hub's signing key, which signs segments; None: nothing is signed.
        url: a database that takes the file's place, and that replicas can share.

    Attributes:
        place: where it is.
        is_new: there was no ledger before.
        chain_id: names a shared chain; "" for a file.
        deposed: set when an append was refused because a later leader has the ledger.

    Raises:
        LedgerCorruptError: the file is not a ledger.
        LedgerUnavailableError: it cannot be written.
    """

    def __init__(
        self, data_dir: Path, *, key: HeadKey | None = None, url: PostgresUrl | None = None
    ) -> None:
        self.place = ledger_place(data_dir, url)
        self._writer = GroupWriter(self.place, key=key)
        self.is_new = self._writer.database.is_new
        self.chain_id = self._writer.database.chain_id
        self.deposed = asyncio.Event()
        self._bounded = BoundedReader(self.place) if isinstance(self.place, PostgresUrl) else None
        self._reader = LedgerReader(self.place, database=self._bounded)

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
            LedgerDeposedError: nothing was recorded, because a later leader has the ledger.
            LedgerUnavailableError: nothing was recorded; try again later.
            TypeError: the content is not made of JSON values.
            ValueError: the entry refers to a blob that the ledger does not hold.
        """
        try:
            return await asyncio.wrap_future(self._writer.submit(entry))
        except LedgerDeposedError:
            self.deposed.set()
            raise

    async def begin_term(self, epoch: int) -> int:
        """Keeps leaders of lower epochs out of a shared chain, and signs segments from now on.

        A server that does not answer only delays this: the first append has the same effect.

        Returns:
            The lowest epoch that may append. It is higher if the Lease was lost or restored from
            a backup after a later leader; then the Lease has to be raised above it.
        """
        self.deposed.clear()
        try:
            async with asyncio.timeout(_BEGIN_SECONDS):
                lowest: int = await asyncio.wrap_future(self._writer.begin_term(epoch))
                return lowest
        except (LedgerError, TimeoutError) as error:
            _log.warning("the ledger is taken over later: %s", str(error) or "no answer yet")
            return epoch

    def end_term(self) -> None:
        """Signs nothing any more on a shared chain, because another replica may lead."""
        with suppress(LedgerError):  # it is closed
            self._writer.end_term()

    @property
    def problem(self) -> str:
        """Why decisions wait; "" while they are recorded or refused at once.

        On a server that hangs they wait for a read, before there is anything to record.
        """
        return self._writer.problem or (self._bounded.problem if self._bounded else "")

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
