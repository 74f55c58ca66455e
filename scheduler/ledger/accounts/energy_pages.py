"""Pages of energy in the ledger: records of kind "energy", about no single workload.

They are appended, signed and witnessed as decisions are, so that a report of a month can be proven.
A page holds at most a few hundred rows, packed as a blob, because they are much alike. `rows_of`
reads what any version has written: a field that is not known is left out, and a page that cannot be
read is named, not skipped in silence.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from scheduler.energy.accounts.hours import EnergyHour, EnergyPage, SiteCounter
from scheduler.ledger.blobs import blob_of
from scheduler.ledger.errors import LedgerCorruptError
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.reader import LedgerReader, RecordSource
from scheduler.ledger.record import LedgerEntry, Record
from scheduler.model.units import SECONDS_PER_HOUR

ENERGY_KIND = "energy"
ENERGY_SUBJECT = "energy"
_PAGE = "page"
_PAGE_RECORDS = 100
_JOULES_PER_KWH = 3_600_000
_CLOCK_MARGIN_SECONDS = 2 * 86_400
"""A clock that was set back dates a page before its hours."""
_COUNTER_RECORDS = 2_000
"""So many newest pages are read for where counters stood: a day of 10,000 sites."""


class EnergyPages:
    """Implements `scheduler.control.ports.energy.EnergyRecord`.

    Args:
        ledger: where it is recorded.
        open_reader: opens a reader of its own for a thread; None: one of the ledger's place.
    """

    def __init__(
        self, ledger: Ledger, *, open_reader: Callable[[], LedgerReader] | None = None
    ) -> None:
        self._ledger = ledger
        self._open_reader = open_reader or (lambda: LedgerReader(ledger.place))

    async def append(self, *, epoch: int, at: datetime, page: EnergyPage) -> None:
        """Appends a page; returns when it is durable.

        Raises:
            LedgerUnavailableError: nothing was recorded.
        """
        packed = blob_of(msgspec.to_builtins(page))
        entry = LedgerEntry(
            kind=ENERGY_KIND,
            subject=ENERGY_SUBJECT,
            epoch=epoch,
            at=at,
            content={"line": _line_of(page), _PAGE: packed.digest},
            refs=(packed.digest,),
            blobs=(packed,),
        )
        await self._ledger.append(entry)

    async def last_counters(self) -> Mapping[str, SiteCounter]:
        """Where the counter of each site stood in the newest page that names it."""
        return await asyncio.to_thread(self._read_counters)

    async def rows_since(self, hour: int) -> list[EnergyHour]:
        """The rows of hours from this one on."""
        return await asyncio.to_thread(self._read_rows, hour)

    def _read_counters(self) -> dict[str, SiteCounter]:
        found: dict[str, SiteCounter] = {}
        with self._open_reader() as reader:
            for count, record in enumerate(reader.newest_first(ENERGY_SUBJECT)):
                if count >= _COUNTER_RECORDS:
                    break
                for site, counter in page_of(reader, record).counters.items():
                    found.setdefault(site, counter)
        return found

    def _read_rows(self, hour: int) -> list[EnergyHour]:
        with self._open_reader() as reader:
            return list(rows_of(reader, hour, None))


def rows_of(source: RecordSource, first: int, end: int | None) -> Iterator[EnergyHour]:
    """The rows of hours from `first` until before `end`, in no order.

    Args:
        source: the ledger, wherever it is.
        first: hours since 1970 UTC.
        end: the same; None: until now.

    Raises:
        LedgerCorruptError: a page cannot be read.
    """
    for record in _records_of(source, first):
        for row in page_of(source, record).hours:
            if row.hour >= first and (end is None or row.hour < end):
                yield row


def page_of(source: RecordSource, record: Record) -> EnergyPage:
    """The page that a record refers to.

    Args:
        source: the ledger that the record is of.
        record: a record of energy.

    Raises:
        LedgerCorruptError: it cannot be read.
    """
    try:
        return msgspec.convert(source.blob(str(record.content[_PAGE])), EnergyPage)
    except (msgspec.ValidationError, KeyError, TypeError, ValueError) as error:
        raise LedgerCorruptError(f"record {record.id} is no page of energy: {error}") from error


def _line_of(page: EnergyPage) -> str:
    kwh = sum(row.it_joules for row in page.hours) / _JOULES_PER_KWH
    sites = len({row.site for row in page.hours})
    return f"{sites} {'site' if sites == 1 else 'sites'} used {kwh:.3g} kWh of IT energy"


def _records_of(source: RecordSource, first: int) -> Iterable[Record]:
    """Records that may hold rows from an hour on: a page is appended after its hours."""
    begin = first * SECONDS_PER_HOUR - _CLOCK_MARGIN_SECONDS
    if isinstance(source, LedgerReader):
        for record in source.newest_first(ENERGY_SUBJECT):
            if datetime.fromisoformat(record.at).timestamp() < begin:
                return
            yield record
        return
    after = 0
    while page := source.records(after, _PAGE_RECORDS, subject=ENERGY_SUBJECT):
        yield from page
        after = page[-1].seq
