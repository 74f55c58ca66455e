"""What is remembered of the state between two looks at it, so that a look costs what has changed.

A look at 1,000 sites and 10,000 workloads happens several times a second. Facts and workloads are
immutable values: one that is the same object as before is unchanged, and what was computed of it
still holds.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import compress, count
from operator import is_not
from typing import Any, Final

import msgspec

from scheduler.model.demand.facts import RESERVED_FOR_PREFIX, SiteFacts
from scheduler.model.figures import SiteFigures, site_figures
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.web.sessions import Sight
from scheduler.web.snapshot import StateSnapshot
from scheduler.web.state_text import to_metric_units
from scheduler.web.views import Row, site_row, usage_fields

SHOWN_RESOURCES: Final = ("cpu", "memory", "nvidia.com/gpu")
"""The resources by which a site's tile can be filled."""

ENDLESS: Final = datetime.max.replace(tzinfo=UTC)
"""The end of a grant that has none."""


@dataclass(frozen=True, slots=True)
class KnownSite:
    """What was computed of one site.

    Attributes:
        facts: what it was computed of.
        state: the rest of what it was computed of.
        figures: its figures.
        row: what all who may see sites see.
        usage: what those see who may see all workloads.
        is_reporting: whether it reports.
        granted_until: when the last of its grants ends; None: it has no grant.
    """

    facts: SiteFacts
    state: tuple[object, ...]
    figures: SiteFigures
    row: Row
    usage: Row
    is_reporting: bool
    granted_until: datetime | None


@dataclass(slots=True)
class FleetIndex:
    """Sites and workloads, with the counts that views show. Not for two threads at once.

    Attributes:
        sites: by name, in the order of names.
        phases: workloads by namespace and phase.
        by_site: the workloads with replicas at each site, by key.
        by_phase: the workloads in each phase, by key.
        violating: the workloads of which some replica breaks a required rule, by key.
        version: counts the looks at which some workload had changed.
        changed: the sites that were others at the last look.
    """

    sites: dict[str, KnownSite] = field(default_factory=dict)
    phases: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_site: dict[str, dict[WorkKey, Workload]] = field(default_factory=dict)
    by_phase: dict[str, dict[WorkKey, Workload]] = field(default_factory=dict)
    violating: dict[WorkKey, Workload] = field(default_factory=dict)
    version: int = 0
    changed: list[str] = field(default_factory=list)
    _last: list[Workload] = field(default_factory=list)
    _full_rows: dict[str, tuple[KnownSite, int, bytes]] = field(default_factory=dict)

    def update(self, snapshot: StateSnapshot) -> None:
        """Takes in a snapshot."""
        self._update_workloads(snapshot.workloads)
        # In the order of `facts`, as all columns of a snapshot.
        states = zip(
            snapshot.is_ready,
            snapshot.healths,
            snapshot.health_changed_at,
            *snapshot.used_by_resource.values(),
            strict=True,
        )
        known, self.sites, self.changed = self.sites, {}, []
        for index, (facts, state) in enumerate(zip(snapshot.facts, states, strict=True)):
            site = known.get(facts.name)
            if site is None or site.facts is not facts or site.state != state:
                site = _site_of(snapshot, index, state)
                self.changed.append(facts.name)
            self.sites[facts.name] = site

    def _update_workloads(self, workloads: list[Workload]) -> None:
        last, self._last = self._last, workloads
        if len(last) == len(workloads):
            # Most looks find few others, each at its place; at C speed.
            places = list(compress(count(), map(is_not, last, workloads)))
            gone, fresh = [last[one] for one in places], [workloads[one] for one in places]
        else:
            before, after = {id(one) for one in last}, {id(one) for one in workloads}
            gone = [one for one in last if id(one) not in after]
            fresh = [one for one in workloads if id(one) not in before]
        for one in gone:
            self._forget(one)
        for one in fresh:
            self._note(one)
        self.version += bool(gone or fresh)

    def _note(self, workload: Workload) -> None:
        key, phase = _key(workload), _phase(workload)
        self.phases[key[0], phase] += 1
        self.by_phase.setdefault(phase, {})[key] = workload
        if any(group.violates for group in workload.status.placement.groups):
            self.violating[key] = workload
        for site in sites_of(workload):
            self.by_site.setdefault(site, {})[key] = workload

    def _forget(self, workload: Workload) -> None:
        key, phase = _key(workload), _phase(workload)
        self.phases[key[0], phase] -= 1
        if not self.phases[key[0], phase]:
            del self.phases[key[0], phase]
        self.violating.pop(key, None)
        _drop(self.by_phase, phase, key)
        for site in sites_of(workload):
            _drop(self.by_site, site, key)

    def namespaces(self) -> set[str]:
        """The namespaces that hold workloads."""
        return {namespace for namespace, _ in self.phases}

    def phase_counts(self, sight: Sight) -> dict[str, int]:
        """The workloads that are seen, by phase."""
        counts = Counter[str]()
        for (namespace, phase), number in self.phases.items():
            if sight.sees(namespace):
                counts[phase] += number
        return dict(sorted(counts.items()))

    def site_rows(self, sight: Sight) -> dict[str, bytes]:
        """An encoded row for each site, as far as it is seen."""
        if not sight.has_sites:
            return {}
        if not sight.is_all:
            return {
                name: msgspec.json.encode(self._limited_row(name, sight)) for name in self.sites
            }
        for name, site in self.sites.items():
            workloads = len(self.by_site.get(name, ()))
            known = self._full_rows.get(name)
            if known is None or known[0] is not site or known[1] != workloads:
                row = msgspec.json.encode({**site.row, **site.usage, "workloads": workloads})
                self._full_rows[name] = (site, workloads, row)
        if len(self._full_rows) > len(self.sites):
            self._full_rows = {name: self._full_rows[name] for name in self.sites}
        return {name: self._full_rows[name][2] for name in self.sites}

    def _limited_row(self, name: str, sight: Sight) -> Row:
        return {**self.sites[name].row, "workloads": self.count_at(name, sight)}

    def count_at(self, site: str, sight: Sight) -> int:
        """How many of the workloads that are seen have replicas at a site."""
        if sight.namespaces is None:
            return len(self.by_site.get(site, ()))
        return sum(1 for _ in self.workloads_at(site, sight))

    def workloads_at(self, site: str, sight: Sight) -> Iterator[Workload]:
        """The workloads that are seen and have replicas at a site."""
        at_site = self.by_site.get(site, {})
        return (one for key, one in at_site.items() if sight.sees(key[0]))

    def in_phases(self, phases: Iterable[str], sight: Sight) -> Iterator[Workload]:
        """The workloads that are seen and are in one of some phases."""
        for phase in phases:
            for key, one in self.by_phase.get(phase, {}).items():
                if sight.sees(key[0]):
                    yield one


def sites_of(workload: Workload) -> set[str]:
    """The sites where a workload has replicas."""
    return {site for group in workload.status.placement.groups for site in group.sites}


def _site_of(snapshot: StateSnapshot, index: int, state: tuple[object, ...]) -> KnownSite:
    facts = snapshot.facts[index]
    figures = site_figures(facts.spec, facts.status, is_reporting=snapshot.is_ready[index])
    row = site_row(snapshot, index, figures)
    row["provider"] = facts.spec.provider
    usage = {**usage_fields(snapshot, index), **in_flight_amounts(facts)}
    return KnownSite(
        facts, state, figures, row, usage, snapshot.is_ready[index], granted_until(facts)
    )


def granted_until(facts: SiteFacts) -> datetime | None:
    """When the last of a site's grants ends; None: it has no grant."""
    ends = (one.spec.valid_until or ENDLESS for one in facts.grants)
    return max(ends, default=None)


def in_flight_amounts(facts: SiteFacts) -> dict[str, Mapping[str, float]]:
    """What is ordered and not bound at a site, and what is reserved there, by resource."""
    totals: dict[str, Counter[str]] = {"inFlight": Counter(), "reserved": Counter()}
    for one in facts.in_flight:
        name = "reserved" if one.workload.startswith(RESERVED_FOR_PREFIX) else "inFlight"
        for resource in SHOWN_RESOURCES:
            totals[name][resource] += one.requests.get(resource, 0) * one.replicas
    return {
        name: {one: to_metric_units(one, value) for one, value in amounts.items() if value}
        for name, amounts in totals.items()
    }


def _drop(index: dict[str, dict[WorkKey, Any]], name: str, key: WorkKey) -> None:
    held = index.get(name, {})
    held.pop(key, None)
    if not held:
        index.pop(name, None)


def _key(workload: Workload) -> WorkKey:
    return (workload.metadata.namespace, workload.metadata.name)


def _phase(workload: Workload) -> str:
    return workload.status.phase or "Pending"
