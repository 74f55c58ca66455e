"""Counts what sites use, from the totals in their reports, and appends it to the ledger each hour.

A page holds rows and where each counter stood at its end, so a process that is killed loses
nothing: the next one goes on from the last page, and the totals say what was used meanwhile. Only a
leader appends; what was counted and is not appended when the lease is lost is counted by the next
leader from the same totals.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from scheduler.control.energy.site_meter import SiteMeter, resumed_meter
from scheduler.control.ports.agents import SiteReport
from scheduler.control.ports.energy import EnergyRecord, ReportedTotals
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.control.state.objects import HubObjects
from scheduler.energy.accounts.figures import energy_hour_of
from scheduler.energy.accounts.hours import EnergyHour, EnergyPage, SiteCounter
from scheduler.energy.accounts.meters import MeterReading
from scheduler.energy.factors.factor import EmissionFactor
from scheduler.energy.intensity.reported import reported_point, yearly_factor_of
from scheduler.energy.intensity.series import IntensitySeries
from scheduler.energy.site_supply import Figure, inspected_at
from scheduler.model.kinds.site import Site
from scheduler.model.units import SECONDS_PER_HOUR
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

COUNT_SECONDS = 60.0
"""A site is counted at most this often: its totals lose nothing."""
_LOOK_SECONDS = 10.0
_FIRST_RECORD_SECONDS, _RECORD_SECONDS = 300.0, 3600.0
"""The first page of a term comes early: it names the counters that a kill then cannot lose."""
_ROWS_PER_PAGE = 200
"""A page of so many sites takes a few milliseconds to encode."""

WattsByUser = Callable[[str], Mapping[str, float]]
"""What each tenant draws at a site by the model, in watts at the equipment."""
ZoneFactor = Callable[[str, int], EmissionFactor | None]
"""What a feed says of a zone in an hour; None: nothing."""


def no_feed(zone: str, hour: int) -> EmissionFactor | None:
    """Knows no zone: there is no feed."""
    del zone, hour
    return None


@dataclass(slots=True, kw_only=True)
class EnergyCollector:
    """Counts and appends; `on_report` is called with each report, `run` as long as the term.

    Attributes:
        objects: the hub's objects.
        record: the ledger.
        clock: for the times of readings.
        faults: handles what fails.
        epoch: gives the leader's epoch.
        watts_by_user: what tenants draw at a site by the model.
        zone_factor: what feeds say.
        pages_appended: how many pages this collector has appended.
    """

    objects: HubObjects
    record: EnergyRecord
    clock: Clock
    faults: Faults
    epoch: Callable[[], int]
    watts_by_user: WattsByUser
    zone_factor: ZoneFactor = no_feed
    pages_appended: int = field(default=0, init=False)
    _meters: dict[str, SiteMeter] = field(default_factory=dict, init=False)
    _series: dict[str, IntensitySeries] = field(default_factory=dict, init=False)
    _resume: dict[str, SiteCounter] | None = field(default=None, init=False)
    _recorded_seconds: float = field(default=0.0, init=False)
    _has_failed: bool = field(default=False, init=False)

    def on_report(self, report: SiteReport) -> None:
        """Counts a site's totals; before the last page is read nothing is counted."""
        with self.faults.barrier("energy", report.site):
            self._count(report)

    def _count(self, report: SiteReport) -> None:
        site, totals = self.objects.sites.get(report.site), report.energy
        if totals is None or site is None or self._resume is None:
            return
        reading = self._reading_of(report, totals)
        meter = self._meter_of(report.site)
        last = meter.reading
        if last is not None and reading.at_seconds - last.at_seconds < COUNT_SECONDS:
            return
        self._note_intensity(report)
        fault_before = meter.fault
        meter.count(
            reading,
            row_of=lambda hour: self._row_of(site, hour, totals),
            watts_by_user=self.watts_by_user(report.site),
        )
        if meter.fault not in (None, "first-reading", fault_before):
            _log.warning(
                "Site %s: its energy is not known for a time: %s", report.site, meter.fault
            )

    def forget(self, site: str) -> None:
        """Forgets a site that is gone, after what was counted of it is appended."""
        self._series.pop(site, None)

    async def run(self) -> None:
        """Appends what was counted once an hour; runs until cancelled."""
        while True:
            with self.faults.barrier("energy"):
                await self.sync()
            await self.clock.sleep(_LOOK_SECONDS)

    async def sync(self) -> None:
        """Reads where counters stood, once, and appends when an hour is over."""
        if self._resume is None:
            try:
                self._resume = dict(await self.record.last_counters())
            except NotRecorded as error:  # a server that is away; the totals lose nothing
                self._note_failure(error)
                return
            self._recorded_seconds = self.clock.monotonic() - (
                _RECORD_SECONDS - _FIRST_RECORD_SECONDS
            )
        if self.clock.monotonic() - self._recorded_seconds >= _RECORD_SECONDS:
            await self.append_all()

    async def append_all(self) -> None:
        """Appends all that was counted; what cannot be appended is kept."""
        self._recorded_seconds = self.clock.monotonic()
        names = sorted(self._meters)
        while names:
            await self._append_some(names)
        for name in set(self._meters) - set(self.objects.sites):
            del self._meters[name]

    def unrecorded_rows(self) -> Iterator[list[EnergyHour]]:
        """What was counted of each site and is not appended yet, site by site."""
        for name in sorted(self._meters):
            meter = self._meters.get(name)
            yield meter.peek_rows() if meter else []

    async def _append_some(self, names: list[str]) -> None:
        """Appends a page of the next sites; takes their names off the list."""
        rows: dict[str, list[EnergyHour]] = {}
        count = 0
        while names and count < _ROWS_PER_PAGE:
            name = names.pop(0)
            rows[name] = self._meters[name].take_rows()
            count += max(1, len(rows[name]))
        counters = {
            name: counter for name in rows if rows[name] and (counter := self._meters[name].counter)
        }
        if not counters:
            return
        page = EnergyPage(
            hours=tuple(row for name in rows for row in rows[name]), counters=counters
        )
        try:
            await self.record.append(epoch=self.epoch(), at=self.clock.now(), page=page)
        except NotRecorded as error:
            self._put_back(rows)
            self._note_failure(error)
            return
        except BaseException:
            self._put_back(rows)
            raise
        self._has_failed = False
        self.pages_appended += 1

    def _note_failure(self, error: NotRecorded) -> None:
        if not self._has_failed:
            _log.warning("what sites used is not recorded yet: %s", error)
        self._has_failed = True

    def _put_back(self, names: Iterable[str]) -> None:
        for name in names:
            self._meters[name].put_back()

    def _meter_of(self, site: str) -> SiteMeter:
        meter = self._meters.get(site)
        if meter is None:
            counter = (self._resume or {}).pop(site, None)
            meter = self._meters[site] = resumed_meter(counter) if counter else SiteMeter()
        return meter

    def _reading_of(self, report: SiteReport, totals: ReportedTotals) -> MeterReading:
        age_seconds = max(0.0, self.clock.monotonic() - report.observed_seconds)
        return MeterReading(
            counter_id=totals.counter_id,
            at_seconds=self.clock.now().timestamp() - age_seconds,
            it_joules=totals.it_joules,
            pv_joules=totals.pv_joules,
            unmeasured_seconds=totals.unmeasured_seconds,
            origin=totals.origin,
        )

    def _note_intensity(self, report: SiteReport) -> None:
        point = reported_point(report.site, report.figures.intensity)
        known = self._series.get(report.site)
        if point is None or not point[1].distinguishes_hours:
            return
        if known is None:
            known = IntensitySeries(report.site)
        if point[0] not in known.points:
            self._series[report.site] = known.with_points(dict([point]))

    def _row_of(self, site: Site, hour: int, totals: ReportedTotals) -> EnergyHour:
        pue = Figure(totals.pue, totals.pue_origin, f"agent of {site.metadata.name}")
        granted = (grant.spec for grant in self.objects.grants_of(site.metadata.name))
        return energy_hour_of(
            site,
            hour,
            location=self._location_of(site, hour),
            reported_pue=pue,
            inspected=inspected_at(site.metadata.name, granted),
        )

    def _location_of(self, site: Site, hour: int) -> EmissionFactor | None:
        """The factor of the agent's hourly figures, else of a feed, else the official one."""
        year = datetime.fromtimestamp(hour * SECONDS_PER_HOUR, UTC).year
        series = self._series.get(site.metadata.name)
        reported = series.factor_at(hour) if series else None
        zone = site.spec.energy.grid_zone
        return reported or self.zone_factor(zone, hour) or yearly_factor_of(site, year=year)
