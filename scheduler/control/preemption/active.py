"""The preemptions under way, as the statuses of the workloads say for which others end.

The room that such a workload gets is kept for it from the decision on until it is placed: for all
others it counts as in flight, also before its victims are gone, so that neither they nor anything
else takes it. Work of a higher priority may, unless the room is taken back from borrowers: their
priority does not give it to them again.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from scheduler.control.sites.sites import Sites
from scheduler.control.state.quotas import Quotas
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import RESERVED_FOR_PREFIX, InFlight
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import PreemptingVictim, Workload
from scheduler.placement.fleet.in_flight import in_flight_pods
from scheduler.runtime.clock import Clock

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 60.0, 3600.0
"""After a preemption that led to nothing, the next one is tried after this time, which doubles."""

FIRST_LOOK_SECONDS, MAX_LOOK_SECONDS = 10.0, 320.0
"""Where nothing could end yet, it is looked again after this time, which doubles: no event says
that others may end now, as they were placed, or are on nodes."""

DemandOf = Callable[[Workload], Demand | None]
"""The present demand of a workload; None: it is not accepted."""


@dataclass(frozen=True, slots=True)
class ActivePreemption:
    """A workload for which others end.

    Attributes:
        key: the workload.
        priority: of it.
        generation: of the spec that was decided on.
        since: when that was decided; None: not known.
        victims: what ends.
        place: its replicas by site, once it is placed.
        kept: what is kept for it, by site.
    """

    key: WorkKey
    priority: int
    generation: int
    since: datetime | None
    victims: tuple[PreemptingVictim, ...]
    place: dict[str, int]
    kept: dict[str, tuple[InFlight, ...]]

    @property
    def takes_back(self) -> bool:
        """Whether some victims use quota that the workload's tenant is guaranteed."""
        return any(one.reclaimed for one in self.victims)


@dataclass(slots=True)
class _Pause:
    """Until when a workload preempts nothing, because its last preemption led to nothing."""

    generation: int
    until_seconds: float
    seconds: float


@dataclass(slots=True, kw_only=True)
class Preemptions:
    """The preemptions under way, by workload.

    Attributes:
        sites: where the room that is kept counts as in flight.
        quotas: where the quota that it takes is kept.
        clock: for pauses.
        demand_of: the present demand of a workload.
    """

    sites: Sites
    quotas: Quotas
    clock: Clock
    demand_of: DemandOf
    _active: dict[WorkKey, ActivePreemption] = field(default_factory=dict)
    _preemptors: dict[WorkKey, dict[WorkKey, None]] = field(default_factory=dict)
    _released: set[WorkKey] = field(default_factory=set)
    _pauses: dict[WorkKey, _Pause] = field(default_factory=dict)
    _failed: set[WorkKey] = field(default_factory=set)
    _looks: dict[WorkKey, _Pause] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._active)

    def note(self, key: WorkKey, workload: Workload | None, demand: Demand | None = None) -> None:
        """Takes in what a workload's status says of it; called whenever that may have changed.

        Args:
            key: the workload.
            workload: with the status; None: it is gone.
            demand: its demand, if that is known already.
        """
        if workload is None or not _is_active(workload):
            if key in self._active:
                self._drop(key)
            if workload is None:
                self.end_pause(key)
            return
        known = self._active.get(key)
        if known is None or known.victims != workload.status.preempting or demand is not None:
            self._put(key, workload, demand)

    def of(self, key: WorkKey) -> ActivePreemption | None:
        """What ends for a workload; None: nothing does."""
        return self._active.get(key)

    def preemptors_of(self, victim: WorkKey) -> list[ActivePreemption]:
        """The preemptions that name a workload as a victim."""
        return [self._active[key] for key in self._preemptors.get(victim, ())]

    def waiting_at(self, sites: Iterable[str]) -> list[WorkKey]:
        """The workloads for which room is kept at one of these sites."""
        names = set(sites)
        return [key for key, one in self._active.items() if not names.isdisjoint(one.place)]

    # ------------------------------------------------------------ what led to nothing

    def fail(self, key: WorkKey) -> None:
        """Notes that a preemption leads to nothing any more: its next decision ends it."""
        self._failed.add(key)

    def has_failed(self, key: WorkKey) -> bool:
        """Whether the preemption under way leads to nothing any more."""
        return key in self._failed

    def pause(self, key: WorkKey, generation: int) -> None:
        """A preemption led to nothing, so the next one waits; longer each time."""
        self._failed.discard(key)
        known = self._pauses.get(key)
        seconds = FIRST_PAUSE_SECONDS
        if known is not None and known.generation == generation:
            seconds = min(MAX_PAUSE_SECONDS, 2 * known.seconds)
        until = self.clock.monotonic() + seconds
        self._pauses[key] = _Pause(generation, until, seconds)

    def end_pause(self, key: WorkKey) -> None:
        """The workload is placed or gone, so nothing is remembered of what failed."""
        self._pauses.pop(key, None)
        self._looks.pop(key, None)
        self._failed.discard(key)

    def paused_seconds(self, key: WorkKey, generation: int) -> float:
        """For how long a workload preempts nothing; 0: it may."""
        known = self._pauses.get(key)
        if known is None or known.generation != generation:
            return 0.0
        return max(0.0, known.until_seconds - self.clock.monotonic())

    def look_again(self, key: WorkKey, generation: int) -> None:
        """Nothing could end for a workload, which is looked at again after a time."""
        known, now = self._looks.get(key), self.clock.monotonic()
        seconds = FIRST_LOOK_SECONDS
        if known is not None and known.generation == generation:
            if now < known.until_seconds:
                return
            seconds = min(MAX_LOOK_SECONDS, 2 * known.seconds)
        self._looks[key] = _Pause(generation, now + seconds, seconds)

    def seconds_to_look(self, key: WorkKey, generation: int) -> float | None:
        """After how long a workload that waits is to be looked at again; None: it need not."""
        known = self._looks.get(key)
        looks = known is not None and known.generation == generation
        pause = self.paused_seconds(key, generation)
        if known is None or not looks:
            return pause or None
        return max(pause, known.until_seconds - self.clock.monotonic(), 0.1)

    # ------------------------------------------------------------ the room that is kept

    @contextmanager
    def released_for(self, key: WorkKey, priority: int) -> Iterator[None]:
        """Meanwhile the room is free that a workload may take: its own, and that of lower ones."""
        takeable = {
            each
            for each, one in self._active.items()
            if each == key or (one.priority < priority and not one.takes_back)
        }
        released = takeable - self._released
        self._released |= released
        self._apply(released)
        try:
            yield
        finally:
            self._released -= released
            self._apply(released)

    def _put(self, key: WorkKey, workload: Workload, demand: Demand | None) -> None:
        before = self._active.get(key)
        self._unlist(key)
        status = workload.status
        demand = demand or self.demand_of(workload)
        info = status.preemption
        place = dict(info.place) if info else {}
        self._active[key] = ActivePreemption(
            key=key,
            priority=workload.spec.priority,
            generation=info.generation if info else 0,
            since=info.since if info else None,
            victims=status.preempting,
            place=place,
            kept={} if demand is None else _kept_for(demand, place),
        )
        self.quotas.keep_for(key, {} if demand is None else _quota_for(demand, place))
        for one in status.preempting:
            self._preemptors.setdefault(key_of(one.workload), {})[key] = None
        self._apply_at({*place, *(before.place if before else ())})

    def _drop(self, key: WorkKey) -> None:
        self._unlist(key)
        gone = self._active.pop(key)
        self.quotas.keep_for(key, {})
        self._apply_at(gone.place)

    def _unlist(self, key: WorkKey) -> None:
        before = self._active.get(key)
        for one in before.victims if before else ():
            victim = key_of(one.workload)
            named = self._preemptors.get(victim, {})
            named.pop(key, None)
            if not named:
                self._preemptors.pop(victim, None)

    def _apply(self, keys: Iterable[WorkKey]) -> None:
        self._apply_at(
            {site for key in keys if key in self._active for site in self._active[key].place}
        )

    def _apply_at(self, sites: Iterable[str]) -> None:
        for site in sorted(sites):
            kept = [
                entry
                for key, one in sorted(self._active.items())
                if key not in self._released
                for entry in one.kept.get(site, ())
            ]
            self.sites.keep_for_preemptors(site, tuple(kept))


def _kept_for(demand: Demand, place: dict[str, int]) -> dict[str, tuple[InFlight, ...]]:
    """What others see in flight: the replicas that the workload gets beyond those that it has."""
    name = RESERVED_FOR_PREFIX + demand.key
    kept: dict[str, tuple[InFlight, ...]] = {}
    for site, replicas in place.items():
        has = demand.placed_replicas.get(site, 0)
        pods = in_flight_pods(demand, max(0, replicas - has), new_site=not has)
        kept[site] = tuple(msgspec.structs.replace(one, workload=name) for one in pods)
    return kept


def _quota_for(demand: Demand, place: dict[str, int]) -> dict[str, int]:
    """What the workload uses of its tenant's quota beyond what it uses now, by resource."""
    now = demand.placed_replicas
    before = demand.quota_usage(sum(now.values()), len(now)) if now else {}
    after = demand.quota_usage(sum(place.values()), len(place))
    return {
        name: amount - before.get(name, 0)
        for name, amount in after.items()
        if amount > before.get(name, 0)
    }


def _is_active(workload: Workload) -> bool:
    """Whether others end for the present spec of a workload that is there."""
    status, meta = workload.status, workload.metadata
    if not status.preempting or status.preemption is None or meta.deletion_timestamp:
        return False
    return status.preemption.generation == meta.generation


def key_of(name: str) -> WorkKey:
    """The key of `namespace/name`."""
    namespace, _, rest = name.partition("/")
    return namespace, rest
