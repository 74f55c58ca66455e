"""Reserves capacity for workloads that have waited long, so that smaller ones cannot starve them.

Small workloads take every gap, so a workload that needs a large one could wait for ever. Capacity
is therefore reserved for the workload that has waited longest, by priority and waiting time (aged
priority), at sites that could hold it. All others see the reservation as capacity in flight, an
input of their decisions that is recorded like every other. The reservation doubles with each window
that passes: at first the rest of the site stays free for others; in the end nothing new of the same
or a lower priority is placed there until the waiting workload fits on a node. Nothing that runs is
affected.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from scheduler.control.sites.sites import Sites
from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.control.state.resolve_demand import resolve_demand
from scheduler.control.state.usage import SiteUsage
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import RESERVED_FOR_PREFIX, InFlight
from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.fleet.in_flight import in_flight_pods
from scheduler.placement.queue.order import aged_priority, aging_window_of
from scheduler.placement.queue.reservation import choose_reservation
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

CAPACITY_REASONS = frozenset({"full", "fragmented"})
"""Reasons of workloads that wait for capacity."""
MAX_RESERVATIONS = 8
"""At most this many workloads have a reservation at a time, each at sites of its own."""
MAX_WINDOWS_PER_SITE = 26
"""A reservation that did not help for this many windows moves to other sites."""
_CHECK_INTERVAL_SECONDS = 10.0
_MAX_DOUBLINGS = 16
_MAX_NEW_PER_CHECK = 4

ReservationChoice = tuple[Demand, dict[str, int]]
"""The demand of a workload, and its replicas by site; an empty dict: no site could hold it."""
ChooseSites = Callable[[WorkKey, frozenset[str]], ReservationChoice | None]
"""(workload, excluded sites) → where to reserve; None when the workload is not accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationPlanner:
    """Chooses the sites to reserve at, by the present state.

    Attributes:
        objects: the hub's objects.
        quotas: what placed workloads use of their tenants' quotas.
        usage: what placed replicas request, by site.
        inputs: the fleet, the time and the terms.
    """

    objects: HubObjects
    quotas: Quotas
    usage: SiteUsage
    inputs: DecisionInputs

    def __call__(self, key: WorkKey, excluded_sites: frozenset[str]) -> ReservationChoice | None:
        """Where to reserve for a workload; see `ChooseSites`."""
        workload = self.objects.workloads.get(key)
        demand = resolve_demand(workload, self.objects, self.quotas) if workload else None
        if not isinstance(demand, Demand):
            return None
        return demand, choose_reservation(
            demand,
            self.inputs.fleet,
            self.inputs.context(),
            used_by_site=self.usage.totals,
            excluded_sites=excluded_sites,
        )


@dataclass(slots=True)
class _Waiter:
    """A workload that waits for capacity.

    Attributes:
        priority: its priority.
        generation: of its spec.
        since_seconds: monotonic time since when it waits.
        tried_sites: sites where a reservation did not help.
    """

    priority: int
    generation: int
    since_seconds: float
    tried_sites: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Reservation:
    """Capacity that is reserved for one workload.

    Attributes:
        key: the workload.
        demand: its demand when the reservation was made.
        replicas: how many of its replicas each site is to take.
        since_seconds: monotonic time of the reservation.
    """

    key: WorkKey
    demand: Demand
    replicas: dict[str, int]
    since_seconds: float

    def in_flight_at(self, site: str, windows: int) -> tuple[InFlight, ...]:
        """What other workloads see in flight at a site after so many windows."""
        times = self.replicas[site] << min(windows, _MAX_DOUBLINGS)
        name = RESERVED_FOR_PREFIX + self.demand.key
        in_flight = in_flight_pods(self.demand, times, new_site=True)
        return tuple(msgspec.structs.replace(one, workload=name) for one in in_flight)


@dataclass(slots=True, kw_only=True)
class Reservations:
    """The workloads that wait for capacity, and what is reserved for them.

    Attributes:
        sites: where reservations count as in flight.
        clock: measures how long workloads wait.
        after_seconds: a workload waits this long before capacity is reserved; 0: never reserve.
        choose_sites: chooses the sites to reserve at.
    """

    sites: Sites
    clock: Clock
    after_seconds: float
    choose_sites: ChooseSites
    _waiters: dict[WorkKey, _Waiter] = field(default_factory=dict)
    # By (priority, aging window): all workloads of a group have the same aged priority at any time.
    _waiter_groups: dict[tuple[int, int], dict[WorkKey, None]] = field(default_factory=dict)
    _active: dict[WorkKey, Reservation] = field(default_factory=dict)
    _released: set[WorkKey] = field(default_factory=set)
    _taken: set[WorkKey] = field(default_factory=set)
    _checked_seconds: float = float("-inf")

    def set_waiting(
        self, key: WorkKey, *, is_waiting: bool, priority: int = 0, generation: int = 0
    ) -> None:
        """Notes after a reconciliation whether a workload waits for capacity.

        One that does not, or whose priority or spec changed, gives its reservation back; an edited
        one keeps its waiting time.
        """
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

    def set_taken(self, key: WorkKey, *, is_taken: bool) -> None:
        """Hides what is reserved for a workload while its placement counts in its stead."""
        if is_taken:
            self._taken.add(key)
        else:
            self._taken.discard(key)
        if key in self._active:
            self._apply(self._active[key])

    def forget_site(self, site: str) -> None:
        """Gives back what is reserved at a site that changed, is gone, or is silent."""
        for key in self.reserved_at([site]):
            self._release(key)

    def update(self) -> None:
        """Makes reservations that are due, and enlarges those that still wait."""
        now = self.clock.monotonic()
        if not self.after_seconds or now - self._checked_seconds < min(
            _CHECK_INTERVAL_SECONDS, self.after_seconds
        ):
            return
        self._checked_seconds = now
        for key, reservation in list(self._active.items()):
            if now - reservation.since_seconds >= MAX_WINDOWS_PER_SITE * self.after_seconds:
                self._waiters[key].tried_sites |= set(reservation.replicas)
                self._release(key)
            else:
                self._apply(reservation)
        waiting = [key for key in self._longest_waiting(now) if key not in self._active]
        for key in waiting[:_MAX_NEW_PER_CHECK]:
            self._reserve(key, now)

    @contextmanager
    def released_for(self, key: WorkKey, priority: int) -> Iterator[None]:
        """Releases, while a workload is decided, what it may take.

        These are its own reservation, and those of workloads whose aged priority is lower than its
        priority.
        """
        takeable = [one for one in self._active if one == key or priority > self.aged_priority(one)]
        with self._temporarily_released(takeable):
            yield

    @contextmanager
    def _temporarily_released(self, keys: Iterable[WorkKey]) -> Iterator[None]:
        """Meanwhile the capacity that is reserved for these workloads counts as free."""
        released = [self._active[key] for key in keys]
        try:
            for reservation in released:
                self._released.add(reservation.key)
                self._apply(reservation)
            yield
        finally:
            for reservation in released:
                self._released.discard(reservation.key)
                # Meanwhile it may have been given back, or replaced by another one.
                if self._active.get(reservation.key) is reservation:
                    self._apply(reservation)

    def reserved_at(self, sites: Iterable[str]) -> list[WorkKey]:
        """The workloads that have a reservation at one of these sites."""
        names = set(sites)
        return [key for key, one in self._active.items() if names & one.replicas.keys()]

    def is_reserved_for(self, key: WorkKey) -> bool:
        """Whether capacity is reserved for a workload."""
        return key in self._active

    def aged_priority(self, key: WorkKey) -> int:
        """Priority raised by waiting; workloads of a higher priority may take the reservation."""
        waiter = self._waiters[key]
        windows = aging_window_of(self.clock.monotonic()) - aging_window_of(waiter.since_seconds)
        return aged_priority(waiter.priority, windows)

    def _add_waiter(self, key: WorkKey, waiter: _Waiter) -> None:
        self._waiters[key] = waiter
        self._waiter_groups.setdefault(_group_of(waiter), {})[key] = None

    def _remove_waiter(self, key: WorkKey, waiter: _Waiter) -> None:
        del self._waiters[key]
        group = self._waiter_groups[_group_of(waiter)]
        del group[key]
        if not group:
            del self._waiter_groups[_group_of(waiter)]

    def _longest_waiting(self, now_seconds: float) -> list[WorkKey]:
        """Some of the workloads that have waited `after_seconds`, highest aged priority first."""
        window = aging_window_of(now_seconds)
        found: list[WorkKey] = []
        for group in sorted(
            self._waiter_groups,
            key=lambda each: (-aged_priority(each[0], window - each[1]), each[1]),
        ):
            for key in self._waiter_groups[group]:
                if now_seconds - self._waiters[key].since_seconds < self.after_seconds:
                    break  # groups are in order of arrival, so the rest joined later still
                found.append(key)
                # More than can be reserved: some of these have a reservation already.
                if len(found) >= MAX_RESERVATIONS + _MAX_NEW_PER_CHECK:
                    return found
        return found

    def _reserve(self, key: WorkKey, now_seconds: float) -> None:
        """Reserves for a workload; reservations of lower priority that are in its way end."""
        waiter, priority = self._waiters[key], self.aged_priority(key)
        before = [one for one in self._active if self.aged_priority(one) >= priority]
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
        reservation = self._active[key] = Reservation(key, demand, replicas, now_seconds)
        self._apply(reservation)
        _log.info("%s/%s has waited long: capacity is reserved at %s", *key, ", ".join(replicas))

    def _keep_waiting(self, key: WorkKey, waiter: _Waiter, now_seconds: float) -> None:
        """Handles a workload for which no site was chosen.

        Its sites are taken by others or were tried, so they may be tried again later. If no site
        at all could hold it, its waiting time starts again, so that it is not in the way.
        """
        with self._temporarily_released(list(self._active)):
            anywhere = self.choose_sites(key, frozenset())
        waiter.tried_sites.clear()
        if not anywhere or not anywhere[1]:
            self._remove_waiter(key, waiter)
            self._add_waiter(key, _Waiter(waiter.priority, waiter.generation, now_seconds))

    def _release(self, key: WorkKey) -> None:
        for site in self._active.pop(key).replicas:
            self.sites.release_reserved(site)

    def _apply(self, reservation: Reservation) -> None:
        """Shows a reservation to the sites, doubled with each window, or hides a released one."""
        held_seconds = self.clock.monotonic() - reservation.since_seconds
        windows = int(held_seconds // self.after_seconds)
        is_released = reservation.key in self._released | self._taken
        for site in reservation.replicas:
            self.sites.set_reserved(
                site, () if is_released else reservation.in_flight_at(site, windows)
            )


def _group_of(waiter: _Waiter) -> tuple[int, int]:
    """Priority and the window in which the waiting began."""
    return waiter.priority, aging_window_of(waiter.since_seconds)
