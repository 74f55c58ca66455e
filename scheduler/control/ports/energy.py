"""The port to the record of energy: rows that are kept, and where the counters stood.

`scheduler.ledger.accounts.energy_pages` implements it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from scheduler.energy.accounts.hours import EnergyHour, EnergyPage, SiteCounter
from scheduler.model.kinds.fields import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedTotals:
    """The energy totals of a report.

    Attributes:
        counter_id: identity of the counters; totals compare only within one.
        it_joules: energy that the equipment has drawn; None: unknown.
        pv_joules: own photovoltaics that was used at the site; None: unknown.
        unmeasured_seconds: time since the counters began without a known power.
        origin: of the power that was summed up.
        pue: facility over equipment power, as the agent says; None: it does not.
        pue_origin: where the agent has it from.
    """

    counter_id: str
    it_joules: float | None = None
    pv_joules: float | None = None
    unmeasured_seconds: float = 0.0
    origin: Origin = "unknown"
    pue: float | None = None
    pue_origin: Origin = "unknown"


class EnergyRecord(Protocol):
    """Keeps rows of energy in the ledger."""

    async def append(self, *, epoch: int, at: datetime, page: EnergyPage) -> None:
        """Appends a page; returns when it is durable.

        Raises:
            NotRecorded: nothing was recorded.
        """
        ...

    async def last_counters(self) -> Mapping[str, SiteCounter]:
        """Where the counter of each site stood in the newest page that names it.

        Raises:
            NotRecorded: the ledger cannot be read now.
        """
        ...

    async def rows_since(self, hour: int) -> list[EnergyHour]:
        """The rows of hours from this one on.

        Raises:
            NotRecorded: the ledger cannot be read now.
        """
        ...
