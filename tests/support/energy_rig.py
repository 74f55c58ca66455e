"""A collector of energy of one site, on a clock that is advanced by hand, and pages in memory."""

from collections.abc import Mapping
from datetime import datetime

from scheduler.control.energy.collector import EnergyCollector
from scheduler.control.energy.users import TenantWatts
from scheduler.control.ports.agents import SiteReport
from scheduler.control.ports.energy import ReportedTotals
from scheduler.control.ports.hub import SITES, TENANTS, ApiResource, WatchEvent
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.usage import SiteUsage
from scheduler.energy.accounts.hours import EnergyHour, EnergyPage, SiteCounter
from scheduler.model.kinds.site import Intensity, SiteStatus
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.sites import Raw

SITE: Raw = {
    "apiVersion": "kapok.dev/v1alpha1",
    "kind": "Site",
    "metadata": {"name": "gz-core"},
    "spec": {
        "energy": {"gridZone": "CN-GD", "pue": 1.3, "pueOrigin": "assumed"},
        "prices": {"energyCnyPerKwh": 0.6},
    },
}
TENANT: Raw = {
    "apiVersion": "kapok.dev/v1alpha1",
    "kind": "Tenant",
    "metadata": {"name": "health-bureau"},
    "spec": {"namespaces": ["health"]},
}


class KeptPages:
    """Implements `scheduler.control.ports.energy.EnergyRecord`."""

    def __init__(self) -> None:
        self.pages: list[EnergyPage] = []
        self.is_full = False
        self.is_away = False

    async def append(self, *, epoch: int, at: datetime, page: EnergyPage) -> None:
        del epoch, at
        if self.is_full:
            raise NotRecorded("disk full")
        self.pages.append(page)

    async def last_counters(self) -> Mapping[str, SiteCounter]:
        if self.is_away:
            raise NotRecorded("no answer")
        found: dict[str, SiteCounter] = {}
        for page in self.pages:
            found.update(page.counters)
        return found

    async def rows_since(self, hour: int) -> list[EnergyHour]:
        if self.is_away:
            raise NotRecorded("no answer")
        return [row for page in self.pages for row in page.hours if row.hour >= hour]


class Rig:
    """A collector of one site, on a clock that is advanced by hand."""

    def __init__(
        self,
        kept: KeptPages | None = None,
        clock: FakeClock | None = None,
        tenant: Raw | None = None,
    ) -> None:
        self.clock, self.kept = clock or FakeClock(), kept or KeptPages()
        faults = make_faults(self.clock)
        self.objects = HubObjects(NullTelemetry(), lambda *_: None, faults)
        self.put(SITES, SITE)
        self.put(TENANTS, tenant or TENANT)
        self.usage = SiteUsage()
        self.collector = EnergyCollector(
            objects=self.objects,
            record=self.kept,
            clock=self.clock,
            faults=faults,
            epoch=lambda: 7,
            watts_by_user=TenantWatts(objects=self.objects, usage=self.usage).at,
        )

    def put(self, resource: ApiResource, body: Raw) -> None:
        """An object as a watch brings it."""
        self.objects.apply_event(resource, WatchEvent("ADDED", body))

    def report(
        self, joules: float | None, *, counter: str = "a", intensity: float | None = None
    ) -> None:
        figures = SiteStatus()
        if intensity is not None:
            now = self.clock.now()
            known = Intensity(gco2_per_kwh=intensity, origin="measured", observed_at=now)
            figures = SiteStatus(intensity=known)
        self.collector.on_report(
            SiteReport(
                site="gz-core",
                observed_seconds=self.clock.monotonic(),
                figures=figures,
                has_executor=True,
                energy=ReportedTotals(counter_id=counter, it_joules=joules, origin="measured"),
            )
        )

    async def run_for(self, minutes: int, *, watts: float, since: float = 0.0) -> float:
        joules = since
        for _ in range(minutes):
            await self.clock.advance(60)
            joules += watts * 60
            self.report(joules)
            await self.collector.sync()
        return joules

    @property
    def open_rows(self) -> list[EnergyHour]:
        return [row for rows in self.collector.unrecorded_rows() for row in rows]

    @property
    def rows(self) -> list[EnergyHour]:
        return [row for page in self.kept.pages for row in page.hours]
