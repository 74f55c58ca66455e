"""Which replicas are to be replaced now, which wait for an operator, and which a drain cannot move.

The loops of failover and of drains fill it, and decisions read it.

Nothing of it outlives a term: silence is measured again by the next leader, an operator's word
stands on its Site, and what was moved stands in the status.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.failover.plan import Eviction, HoldReason

_NONE: Mapping[str, Eviction] = MappingProxyType({})
_NOTHING: Mapping[str, str] = MappingProxyType({})
_NOT_HELD: Mapping[str, HoldReason] = MappingProxyType({})


@dataclass(slots=True)
class Evictions:
    """Evictions in force, by workload and site."""

    _in_force: dict[WorkKey, dict[str, Eviction]] = field(default_factory=dict)
    _undecided: dict[WorkKey, float] = field(default_factory=dict)
    _held: dict[WorkKey, dict[str, HoldReason]] = field(default_factory=dict)
    _staying: dict[WorkKey, dict[str, str]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[WorkKey]:
        """The workloads with an eviction in force."""
        return iter(tuple(self._in_force))

    def __len__(self) -> int:
        return len(self._in_force)

    def undecided_count(self, since_seconds: float) -> int:
        """Workloads whose eviction came into force since then, and which are not decided yet."""
        return sum(1 for at in self._undecided.values() if at >= since_seconds)

    @property
    def held_count(self) -> int:
        """Workloads that wait for an operator's word."""
        return len(self._held)

    def at(self, key: WorkKey) -> Mapping[str, Eviction]:
        """The evictions of a workload by site, also those that are only answered."""
        return self._in_force.get(key, _NONE)

    def sites_to_leave(self, key: WorkKey) -> tuple[str, ...]:
        """The sites from which a workload is to be moved, sorted; an input of its decision."""
        evictions = self._in_force.get(key)
        if not evictions:
            return ()
        return tuple(sorted(site for site, one in evictions.items() if not one.refusal))

    def keeps(self, key: WorkKey) -> dict[str, int]:
        """Replicas that stay for now at the sites to leave, where any do; an input too."""
        evictions = self._in_force.get(key)
        if not evictions:
            return {}
        return {site: one.keep for site, one in sorted(evictions.items()) if one.keep}

    def drained_sites(self, key: WorkKey) -> frozenset[str]:
        """The sites to leave because they are drained or maintained."""
        return frozenset(site for site, one in self.at(key).items() if one.cause != "silent")

    def held_at(self, key: WorkKey) -> Mapping[str, HoldReason]:
        """The sites where an operator has to decide, with the reason."""
        return self._held.get(key, _NOT_HELD)

    def start(self, key: WorkKey, eviction: Eviction, *, now_seconds: float) -> None:
        """Has a workload decided without this site, until `end`."""
        self._in_force.setdefault(key, {})[eviction.site] = eviction
        self._undecided[key] = now_seconds
        self.release(key, eviction.site)

    def end(self, key: WorkKey, site: str) -> None:
        """The replicas are gone from the site, or stay there after all."""
        evictions = self._in_force.get(key)
        if evictions is not None and evictions.pop(site, None) is not None and not evictions:
            del self._in_force[key]
            self._undecided.pop(key, None)

    def on_decided(self, key: WorkKey) -> None:
        """A decision took the evictions of a workload into account."""
        self._undecided.pop(key, None)

    def is_undecided(self, key: WorkKey) -> bool:
        """Whether no decision took the evictions of a workload into account yet."""
        return key in self._undecided

    def hold(self, key: WorkKey, site: str, reason: HoldReason) -> bool:
        """An operator has to decide; returns whether that is new."""
        held = self._held.setdefault(key, {})
        is_new = held.get(site) != reason
        held[site] = reason
        return is_new

    def release(self, key: WorkKey, site: str) -> bool:
        """No operator has to decide any more; returns whether one had."""
        held = self._held.get(key)
        if held is None or held.pop(site, None) is None:
            return False
        if not held:
            del self._held[key]
        return True

    def held(self) -> list[tuple[WorkKey, str]]:
        """All pairs of workload and site that wait for an operator."""
        return [(key, site) for key, sites in self._held.items() for site in sites]

    def forget(self, key: WorkKey) -> None:
        """Forgets a workload that is gone."""
        self._in_force.pop(key, None)
        self._undecided.pop(key, None)
        self._held.pop(key, None)
        self._staying.pop(key, None)

    # ------------------------------------------------------------ what a drain cannot move

    def stay(self, key: WorkKey, site: str, why: str) -> bool:
        """Replicas do not leave a site that is to be emptied; returns whether that is new."""
        known = self._staying.setdefault(key, {})
        is_new = known.get(site) != why
        known[site] = why
        return is_new

    def leave(self, key: WorkKey, site: str) -> None:
        """Replicas leave a site, or need not."""
        known = self._staying.get(key)
        if known is not None and known.pop(site, None) is not None and not known:
            del self._staying[key]

    def stays_at(self, key: WorkKey) -> Mapping[str, str]:
        """Why replicas do not leave sites that are to be emptied."""
        return self._staying.get(key, _NOTHING)

    def staying(self) -> list[tuple[WorkKey, str]]:
        """All pairs of workload and site that a drain cannot move now."""
        return [(key, site) for key, sites in self._staying.items() for site in sites]
