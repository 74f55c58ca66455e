"""Room is kept for work that has waited for it too long, so that smaller work cannot starve it.

Small work takes every gap, and work that needs a large one would wait for ever. So whoever has
waited for room longest, by the priority that waiting lifts, has room reserved at sites that could
hold it. To everyone else what is reserved is in flight: an input of their decisions, recorded like
all others. It doubles with each window that passes: at first the rest of the site stays free for
others, and in the end nothing new of the same or a lower priority comes there until what is waited
for fits on a node. Nothing that runs is touched.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.control.state.resolve_demand import resolve_demand
from scheduler.control.state.sites import Sites
from scheduler.control.state.usage import SiteUsage
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import RESERVED_FOR_PREFIX, InFlight
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet, in_flight_pods
from scheduler.placement.queue.order import aged_priority, aging_window_of
from scheduler.placement.queue.reservation import choose_reservation
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

CAPACITY_REASONS = frozenset({"full", "fragmented"})
"""Reasons to wait for room."""
MAX_RESERVATIONS = 8
"""So many workloads at most have room reserved at a time, each at sites of its own."""
MAX_WINDOWS_PER_SITE = 26
"""What came to nothing in so many windows moves on to other sites."""
_CHECK_INTERVAL_SECONDS = 10.0
_MAX_DOUBLINGS = 16
_MAX_NEW_PER_CHECK = 4

ReservationChoice = tuple[Demand, dict[str, int]]
"""What a workload asks, and its replicas by site; none: nowhere."""
ChooseSites = Callable[[WorkKey, frozenset[str]], ReservationChoice | None]
"""Told (workload, sites that do not count); None: it is not accepted."""


@dataclass(frozen=True, slots=True)
class ReservationPlanner:
    """Chooses sites to reserve at, by what is known now."""

    objects: HubObjects
    quotas: Quotas
    fleet: Fleet
    usage: SiteUsage
    clock: Clock
    terms: Callable[[], Terms]

    def __call__(self, key: WorkKey, excluded_sites: frozenset[str]) -> ReservationChoice | None:
        """Where room is reserved for a workload; `excluded_sites` do not count."""
        workload = self.objects.workloads.get(key)
        demand = resolve_demand(workload, self.objects, self.quotas) if workload else None
        if not isinstance(demand, Demand):
            return None
        moment = decision_context(self.clock.now(), self.terms())
        return demand, choose_reservation(
            demand,
            self.fleet,
            moment,
            used_by_site=self.usage.totals,
            excluded_sites=excluded_sites,
        )


@dataclass(slots=True)
class _Waiter:
    """Who waits for room, in which version, and since when; the clock only grows."""

    priority: int
    generation: int
    since_seconds: float
    tried_sites: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Reservation:
    """Room that is reserved.

    Attributes:
        key: for whom.
        demand: what it asked then.
        replicas: how many of its replicas each site is to take.
        since_seconds: since when.
    """

    key: WorkKey
    demand: Demand
    replicas: dict[str, int]
    since_seconds: float

    def in_flight_at(self, site: str, windows: int) -> tuple[InFlight, ...]:
        """What counts as in flight at a site for everyone else, after so many windows."""
        times = self.replicas[site] << min(windows, _MAX_DOUBLINGS)
        name = RESERVED_FOR_PREFIX + self.demand.key
        flights = in_flight_pods(self.demand, times, new_site=True)
        return tuple(msgspec.structs.replace(one, workload=name) for one in flights)


@dataclass(slots=True)
class Reservations:
    """Who waits for room, and what is reserved for whom.

    Attributes:
        sites: where what is reserved counts.
        clock: how long is waited.
        after_seconds: nothing is reserved earlier; 0: never.
        choose_sites: chooses sites.
    """

    sites: Sites
    clock: Clock
    after_seconds: float
    choose_sites: ChooseSites
    _waiters: dict[WorkKey, _Waiter] = field(default_factory=dict)
    _waiter_groups: dict[tuple[int, int], dict[WorkKey, None]] = field(default_factory=dict)
    _active: dict[WorkKey, Reservation] = field(default_factory=dict)
    _released: set[WorkKey] = field(default_factory=set)
    _checked_seconds: float = float("-inf")

    def active(self) -> Mapping[WorkKey, Reservation]:
        """What is reserved now."""
        return self._active

    def set_waiting(
        self, key: WorkKey, *, is_waiting: bool, priority: int = 0, generation: int = 0
    ) -> None:
        """Whether a workload waits for room, after it was looked at."""
        known = self._waiters.get(key)
        version = (priority, generation)
        if is_waiting and known and (known.priority, known.generation) == version:
            return
        if known is not None:
            self._remove_waiter(key, known)
        if is_waiting:
            since = self.clock.monotonic() if known is None else known.since_seconds
            self._add_waiter(key, _Waiter(priority, generation, since))
        if key in self._active:
            self._release(key)

    def forget_site(self, site: str) -> None:
        """The site is another one now, or says nothing: what is reserved there is given back."""
        for key in self.reserved_at([site]):
            self._release(key)

    def update(self) -> None:
        """Reserves for those whose turn it is, and reserves more for those who waited on."""
        now = self.clock.monotonic()
        if not self.after_seconds or now - self._checked_seconds < min(
            _CHECK_INTERVAL_SECONDS, self.after_seconds
        ):
            return
        self._checked_seconds = now
        for key, hold in list(self._active.items()):
            if now - hold.since_seconds >= MAX_WINDOWS_PER_SITE * self.after_seconds:
                self._waiters[key].tried_sites |= set(hold.replicas)
                self._release(key)
            else:
                self._apply(hold)
        waiting = [key for key in self._longest_waiting(now) if key not in self._active]
        for key in waiting[:_MAX_NEW_PER_CHECK]:
            self._reserve(key, now)

    @contextmanager
    def released_for(self, key: WorkKey, priority: int) -> Iterator[None]:
        """While a workload is decided it may take what is reserved for it, or for lower ones."""
        may = [one for one in self._active if one == key or priority > self.aged_priority(one)]
        with self._temporarily_released(may):
            yield

    @contextmanager
    def _temporarily_released(self, keys: Iterable[WorkKey]) -> Iterator[None]:
        """Meanwhile what is reserved for these is free."""
        opened = [self._active[key] for key in keys]
        try:
            for hold in opened:
                self._released.add(hold.key)
                self._apply(hold)
            yield
        finally:
            for hold in opened:
                self._released.discard(hold.key)
                if self._active.get(hold.key) is hold:
                    self._apply(hold)

    def reserved_at(self, sites: Iterable[str]) -> list[WorkKey]:
        """Who has room reserved at any of these sites: what they gain is for him."""
        gained = set(sites)
        return [key for key, hold in self._active.items() if gained & hold.replicas.keys()]

    def aged_priority(self, key: WorkKey) -> int:
        """Work of a priority above this may take what is reserved for who waits."""
        waiter = self._waiters[key]
        windows = aging_window_of(self.clock.monotonic()) - aging_window_of(waiter.since_seconds)
        return aged_priority(waiter.priority, windows)

    def _add_waiter(self, key: WorkKey, waiter: _Waiter) -> None:
        self._waiters[key] = waiter
        group = (waiter.priority, aging_window_of(waiter.since_seconds))
        self._waiter_groups.setdefault(group, {})[key] = None

    def _remove_waiter(self, key: WorkKey, waiter: _Waiter) -> None:
        del self._waiters[key]
        place = (waiter.priority, aging_window_of(waiter.since_seconds))
        group = self._waiter_groups[place]
        del group[key]
        if not group:
            del self._waiter_groups[place]

    def _longest_waiting(self, now_seconds: float) -> list[WorkKey]:
        """Some of those that have waited long enough, first the highest by lifted priority."""
        here = aging_window_of(now_seconds)
        found: list[WorkKey] = []
        for group in sorted(
            self._waiter_groups, key=lambda each: (-aged_priority(each[0], here - each[1]), each[1])
        ):
            for key in self._waiter_groups[group]:
                if now_seconds - self._waiters[key].since_seconds < self.after_seconds:
                    break  # all that follow joined later
                found.append(key)
                if len(found) >= MAX_RESERVATIONS + _MAX_NEW_PER_CHECK:
                    return found
        return found

    def _reserve(self, key: WorkKey, now_seconds: float) -> None:
        waiter, level = self._waiters[key], self.aged_priority(key)
        before = [one for one in self._active if self.aged_priority(one) >= level]
        if len(before) >= MAX_RESERVATIONS:
            return
        taken = {site for one in before for site in self._active[one].replicas}
        with self._temporarily_released(self._active.keys() - before):
            chosen = self.choose_sites(key, frozenset(taken | waiter.tried_sites))
        if not chosen or not chosen[1]:
            self._keep_waiting(key, waiter, now_seconds)
            return
        demand, replicas = chosen
        for lower in self.reserved_at(replicas):
            self._release(lower)
        if len(self._active) >= MAX_RESERVATIONS:
            self._release(min(self._active, key=self.aged_priority))
        hold = self._active[key] = Reservation(key, demand, replicas, now_seconds)
        self._apply(hold)
        _log.info("%s/%s has waited long: room is reserved at %s", *key, ", ".join(replicas))

    def _keep_waiting(self, key: WorkKey, waiter: _Waiter, now_seconds: float) -> None:
        """Its sites are others' now, or were tried; if there are none at all it waits anew."""
        with self._temporarily_released(list(self._active)):
            anywhere = self.choose_sites(key, frozenset())
        waiter.tried_sites.clear()
        if not anywhere or not anywhere[1]:
            self._remove_waiter(key, waiter)
            self._add_waiter(key, _Waiter(waiter.priority, waiter.generation, now_seconds))

    def _release(self, key: WorkKey) -> None:
        for site in self._active.pop(key).replicas:
            self.sites.set_reserved(site, ())
            self.sites.freed_sites.add(site)

    def _apply(self, reservation: Reservation) -> None:
        held_seconds = self.clock.monotonic() - reservation.since_seconds
        windows = int(held_seconds // self.after_seconds)
        is_open = reservation.key in self._released
        for site in reservation.replicas:
            self.sites.set_reserved(
                site, () if is_open else reservation.in_flight_at(site, windows)
            )
