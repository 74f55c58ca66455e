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

from scheduler.control.state.objects import Registry
from scheduler.control.state.quotas import Quotas
from scheduler.control.state.resolve_demand import demand_from
from scheduler.control.state.sites import Sites
from scheduler.control.state.usage import Usage
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import RESERVED_FOR, InFlight
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.fleet.context import moment_of
from scheduler.placement.fleet.fleet import Fleet, flights_of
from scheduler.placement.queue.order import lifted, window_of
from scheduler.placement.queue.reservation import where_to_reserve
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

ROOM = frozenset({"full", "fragmented"})
"""Reasons to wait for room."""
MOST = 8
"""So many workloads at most have room reserved at a time, each at sites of its own."""
MOST_WINDOWS_AT_A_SITE = 26
"""What came to nothing in so many windows moves on to other sites."""
_LOOK_SECONDS = 10.0
_MOST_DOUBLINGS = 16
_ASKED_AT_A_LOOK = 4

Chosen = tuple[Demand, dict[str, int]]
"""What a workload asks, and its replicas by site; none: nowhere."""
Where = Callable[[WorkKey, frozenset[str]], Chosen | None]
"""Told (workload, sites that do not count); None: it is not accepted."""


@dataclass(frozen=True, slots=True)
class Chooser:
    """Chooses sites to reserve at, by what is known now."""

    registry: Registry
    quotas: Quotas
    fleet: Fleet
    usage: Usage
    clock: Clock
    terms: Callable[[], Terms]

    def __call__(self, key: WorkKey, besides: frozenset[str]) -> Chosen | None:
        """Where room is reserved for a workload; `besides` do not count."""
        workload = self.registry.workloads.get(key)
        demand = demand_from(workload, self.registry, self.quotas) if workload else None
        if not isinstance(demand, Demand):
            return None
        moment = moment_of(self.clock.now(), self.terms())
        return demand, where_to_reserve(
            demand, self.fleet, moment, used=self.usage.totals, besides=besides
        )


@dataclass(slots=True)
class _Waiter:
    """Who waits for room, in which version, and since when; the clock only grows."""

    priority: int
    generation: int
    since_seconds: float
    tried: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Hold:
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

    def flights(self, site: str, windows: int) -> tuple[InFlight, ...]:
        """What counts as in flight at a site for everyone else, after so many windows."""
        times = self.replicas[site] << min(windows, _MOST_DOUBLINGS)
        name = RESERVED_FOR + self.demand.key
        flights = flights_of(self.demand, times, new_site=True)
        return tuple(msgspec.structs.replace(one, workload=name) for one in flights)


@dataclass(slots=True)
class Reservations:
    """Who waits for room, and what is reserved for whom.

    Attributes:
        sites: where what is reserved counts.
        clock: how long is waited.
        after_seconds: nothing is reserved earlier; 0: never.
        where: chooses sites.
    """

    sites: Sites
    clock: Clock
    after_seconds: float
    where: Where
    _waiters: dict[WorkKey, _Waiter] = field(default_factory=dict)
    _groups: dict[tuple[int, int], dict[WorkKey, None]] = field(default_factory=dict)
    _holds: dict[WorkKey, Hold] = field(default_factory=dict)
    _open: set[WorkKey] = field(default_factory=set)
    _looked_seconds: float = float("-inf")

    def holds(self) -> Mapping[WorkKey, Hold]:
        """What is reserved now."""
        return self._holds

    def note(
        self, key: WorkKey, *, is_waiting: bool, priority: int = 0, generation: int = 0
    ) -> None:
        """Whether a workload waits for room, after it was looked at."""
        known = self._waiters.get(key)
        version = (priority, generation)
        if is_waiting and known and (known.priority, known.generation) == version:
            return
        if known is not None:
            self._leave(key, known)
        if is_waiting:
            since = self.clock.monotonic() if known is None else known.since_seconds
            self._join(key, _Waiter(priority, generation, since))
        if key in self._holds:
            self._release(key)

    def forget_site(self, site: str) -> None:
        """The site is another one now, or says nothing: what is reserved there is given back."""
        for key in self.concerned([site]):
            self._release(key)

    def look(self) -> None:
        """Reserves for those whose turn it is, and reserves more for those who waited on."""
        now = self.clock.monotonic()
        if not self.after_seconds or now - self._looked_seconds < min(
            _LOOK_SECONDS, self.after_seconds
        ):
            return
        self._looked_seconds = now
        for key, hold in list(self._holds.items()):
            if now - hold.since_seconds >= MOST_WINDOWS_AT_A_SITE * self.after_seconds:
                self._waiters[key].tried |= set(hold.replicas)
                self._release(key)
            else:
                self._tell(hold)
        waiting = [key for key in self._longest(now) if key not in self._holds]
        for key in waiting[:_ASKED_AT_A_LOOK]:
            self._reserve(key, now)

    @contextmanager
    def opened(self, key: WorkKey, priority: int) -> Iterator[None]:
        """While a workload is decided it may take what is reserved for it, or for lower ones."""
        may = [one for one in self._holds if one == key or priority > self.level(one)]
        with self._without(may):
            yield

    @contextmanager
    def _without(self, keys: Iterable[WorkKey]) -> Iterator[None]:
        """Meanwhile what is reserved for these is free."""
        opened = [self._holds[key] for key in keys]
        try:
            for hold in opened:
                self._open.add(hold.key)
                self._tell(hold)
            yield
        finally:
            for hold in opened:
                self._open.discard(hold.key)
                if self._holds.get(hold.key) is hold:
                    self._tell(hold)

    def concerned(self, sites: Iterable[str]) -> list[WorkKey]:
        """Who has room reserved at any of these sites: what they gain is for him."""
        gained = set(sites)
        return [key for key, hold in self._holds.items() if gained & hold.replicas.keys()]

    def level(self, key: WorkKey) -> int:
        """Work of a priority above this may take what is reserved for who waits."""
        waiter = self._waiters[key]
        windows = window_of(self.clock.monotonic()) - window_of(waiter.since_seconds)
        return lifted(waiter.priority, windows)

    def _join(self, key: WorkKey, waiter: _Waiter) -> None:
        self._waiters[key] = waiter
        group = (waiter.priority, window_of(waiter.since_seconds))
        self._groups.setdefault(group, {})[key] = None

    def _leave(self, key: WorkKey, waiter: _Waiter) -> None:
        del self._waiters[key]
        place = (waiter.priority, window_of(waiter.since_seconds))
        group = self._groups[place]
        del group[key]
        if not group:
            del self._groups[place]

    def _longest(self, now_seconds: float) -> list[WorkKey]:
        """Some of those that have waited long enough, first the highest by lifted priority."""
        here = window_of(now_seconds)
        found: list[WorkKey] = []
        for group in sorted(
            self._groups, key=lambda each: (-lifted(each[0], here - each[1]), each[1])
        ):
            for key in self._groups[group]:
                if now_seconds - self._waiters[key].since_seconds < self.after_seconds:
                    break  # all that follow joined later
                found.append(key)
                if len(found) >= MOST + _ASKED_AT_A_LOOK:
                    return found
        return found

    def _reserve(self, key: WorkKey, now_seconds: float) -> None:
        waiter, level = self._waiters[key], self.level(key)
        before = [one for one in self._holds if self.level(one) >= level]
        if len(before) >= MOST:
            return
        taken = {site for one in before for site in self._holds[one].replicas}
        with self._without(self._holds.keys() - before):
            chosen = self.where(key, frozenset(taken | waiter.tried))
        if not chosen or not chosen[1]:
            self._wait_on(key, waiter, now_seconds)
            return
        demand, replicas = chosen
        for lower in self.concerned(replicas):
            self._release(lower)
        if len(self._holds) >= MOST:
            self._release(min(self._holds, key=self.level))
        hold = self._holds[key] = Hold(key, demand, replicas, now_seconds)
        self._tell(hold)
        _log.info("%s/%s has waited long: room is reserved at %s", *key, ", ".join(replicas))

    def _wait_on(self, key: WorkKey, waiter: _Waiter, now_seconds: float) -> None:
        """Its sites are others' now, or were tried; if there are none at all it waits anew."""
        with self._without(list(self._holds)):
            anywhere = self.where(key, frozenset())
        waiter.tried.clear()
        if not anywhere or not anywhere[1]:
            self._leave(key, waiter)
            self._join(key, _Waiter(waiter.priority, waiter.generation, now_seconds))

    def _release(self, key: WorkKey) -> None:
        for site in self._holds.pop(key).replicas:
            self.sites.reserve(site, ())
            self.sites.freed.add(site)

    def _tell(self, hold: Hold) -> None:
        held_seconds = self.clock.monotonic() - hold.since_seconds
        windows = int(held_seconds // self.after_seconds)
        is_open = hold.key in self._open
        for site in hold.replicas:
            self.sites.reserve(site, () if is_open else hold.flights(site, windows))
