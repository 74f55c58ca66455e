"""Asks each feed by itself, and keeps one series for each grid zone.

A feed that is down, never answers, repeats yesterday or says nonsense costs the others nothing:
what is wrong is said once, and the series stands in by its own rules until the feed is right again.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from scheduler.energy.factors.factor import EmissionFactor
from scheduler.energy.intensity.series import IntensitySeries, ParsedSeries
from scheduler.energy.zone_outlook import ZoneOutlook, outlook_of
from scheduler.feed_settings import EnergySettings, FeedSettings
from scheduler.feeds.feed_client import CsvFeed, FeedError, HttpFeed
from scheduler.model.units import SECONDS_PER_HOUR
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
_RETRY_SECONDS = 60.0


class Feed(Protocol):
    """A source that can be asked for a zone."""

    async def fetch(self, zone: str) -> ParsedSeries:
        """What it says of a zone now.

        Raises:
            FeedError: it cannot be asked.
        """
        ...


@dataclass(slots=True)
class _Asked:
    """One zone of one feed, and when it is asked next."""

    feed: Feed
    grid_zone: str
    feed_zone: str
    interval_seconds: float
    due_seconds: float = 0.0
    problem: str = ""


def _nothing(grid_zone: str) -> None:
    """Says it to none."""
    del grid_zone


@dataclass(slots=True, kw_only=True)
class IntensityFeeds:
    """All feeds; `run` asks them, `factor_at` answers from what they said.

    Attributes:
        asked: what is asked, in order of preference.
        clock: for the intervals, and for what is past.
        faults: handles what fails.
        on_outlook: called with a grid zone when `outlook` says something else of it.
    """

    asked: Sequence[_Asked]
    clock: Clock
    faults: Faults
    on_outlook: Callable[[str], None] = _nothing
    _series: dict[tuple[str, int], IntensitySeries] = field(default_factory=dict, init=False)
    _ahead: dict[tuple[str, int], tuple[int, Mapping[int, EmissionFactor]]] = field(
        default_factory=dict, init=False
    )
    _outlooks: dict[str, ZoneOutlook] = field(default_factory=dict, init=False)

    async def run(self) -> None:
        """Asks each feed at its interval, whatever the others do; runs until cancelled."""
        by_feed: dict[int, list[tuple[int, _Asked]]] = {}
        for index, one in enumerate(self.asked):
            by_feed.setdefault(id(one.feed), []).append((index, one))
        async with asyncio.TaskGroup() as group:
            for its_zones in by_feed.values():
                group.create_task(self._ask_at_intervals(its_zones), name="intensity-feed")

    async def _ask_at_intervals(self, its_zones: Sequence[tuple[int, _Asked]]) -> None:
        """Asks the zones of one feed, one after the other."""
        while True:
            for index, one in its_zones:
                if self.clock.monotonic() >= one.due_seconds:
                    one.due_seconds = self.clock.monotonic() + _RETRY_SECONDS
                    with self.faults.barrier("energy", one.grid_zone):
                        await self._ask(index, one)
            await self.clock.sleep(_LOOK_SECONDS)

    async def ask_all(self) -> None:
        """Asks every feed once."""
        for index, one in enumerate(self.asked):
            await self._ask(index, one)

    def factor_at(self, grid_zone: str, hour: int) -> EmissionFactor | None:
        """What the first feed that knows a zone says of an hour, or what stands in for it.

        Args:
            grid_zone: as in `energy.gridZone` of sites.
            hour: hours since 1970 UTC.
        """
        for index, one in enumerate(self.asked):
            series = self._series.get((one.grid_zone, index))
            if one.grid_zone == grid_zone and series is not None:
                found = series.factor_at(hour)
                if found is not None:
                    return found
        return None

    def outlook(self, grid_zone: str) -> ZoneOutlook | None:
        """What the first feed that knows a zone says of it now and expects; None: nothing.

        It has no figure that stands in for another: how old it is says its date.
        """
        return self._outlooks.get(grid_zone)

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong with the feed of a grid zone now; empty: nothing is."""
        return {one.grid_zone: one.problem for one in self.asked if one.problem}

    async def _ask(self, index: int, one: _Asked) -> None:
        try:
            found = await one.feed.fetch(one.feed_zone)
        except FeedError as error:
            self._note(one, str(error))
            return
        one.due_seconds = self.clock.monotonic() + one.interval_seconds
        key = (one.grid_zone, index)
        known = self._series.get(key) or IntensitySeries(one.grid_zone)
        now_hour = int(self.clock.now().timestamp() // SECONDS_PER_HOUR)
        # A forecast is no figure of its hour: it would hide that the feed has fallen silent.
        past = {hour: factor for hour, factor in found.points.items() if hour <= now_hour}
        series = known.with_points(past)
        self._series[key] = series
        ahead = {hour: factor for hour, factor in found.points.items() if hour > now_hour}
        self._ahead[key] = (now_hour, ahead)
        self._note_outlook(one.grid_zone, now_hour)
        self._note(one, series.problem or next(iter(found.problems), ""))

    def _note_outlook(self, grid_zone: str, now_hour: int) -> None:
        for index, one in enumerate(self.asked):
            key = (grid_zone, index)
            if one.grid_zone != grid_zone or key not in self._series:
                continue
            ahead_hour, ahead = self._ahead.get(key, (now_hour, {}))
            found = outlook_of(self._series[key], now_hour, ahead=ahead, ahead_hour=ahead_hour)
            if found is not None:
                if found != self._outlooks.get(grid_zone):
                    self._outlooks[grid_zone] = found
                    self.on_outlook(grid_zone)
                return

    def _note(self, one: _Asked, problem: str) -> None:
        if problem == one.problem:
            return
        one.problem = problem
        if problem:
            _log.warning("grid zone %s: %s", one.grid_zone, problem)
        else:
            _log.info("grid zone %s: its feed is right again", one.grid_zone)


def feeds_of(settings: EnergySettings, *, clock: Clock, faults: Faults) -> IntensityFeeds:
    """The feeds of the settings."""
    asked = [
        _Asked(feed, grid_zone, feed_zone, one.interval_seconds)
        for one in settings.feeds
        for feed in (_feed_of(one),)
        for grid_zone, feed_zone in one.zones.items()
    ]
    return IntensityFeeds(asked=asked, clock=clock, faults=faults)


def _feed_of(one: FeedSettings) -> Feed:
    if one.form == "csv":
        return CsvFeed(one.file, one.boundary)
    return HttpFeed(one.form, one.url, one.token_file)
