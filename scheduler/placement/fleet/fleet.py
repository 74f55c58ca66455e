"""`Fleet`: what is known of all sites, as arrays, kept up to date site by site.

One slot per site. `upsert` writes one site's slot and node rows; nothing else moves. Numbers that a
decision compares for all sites at once are arrays here; whatever is asked more rarely is computed
from the facts and remembered (`column_cache.py`).
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from math import isnan
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.canonical import stable_hash
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import InFlight, SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.manifests.manifests import Pods
from scheduler.placement.fleet.changes import SiteChanges, changes_of
from scheduler.placement.fleet.column_cache import ColumnCache
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.in_flight import InFlightTotals
from scheduler.placement.fleet.namespace_limits import NamespaceLimitIndex
from scheduler.placement.fleet.node_table import IN_FLIGHT_KIND, NodeTable
from scheduler.placement.fleet.site_figures import (
    FIGURES,
    FIRST_COST_FIGURE,
    epoch_seconds,
    figures_of,
)
from scheduler.placement.kernel import loader as compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MAX_GRANTS = 63
"""So many grants of a site count, in the order of their names: one bit of an int64 each."""
_MAX_CACHED_FIGURES = 64

CacheT = TypeVar("CacheT")
ValueT = TypeVar("ValueT")


class Fleet:
    """All sites.

    Attributes:
        facts: what is known by slot; None where a slot is empty.
        slot_of: the slot of each site, by name.
        has_site: slots that hold a site; [capacity].
        name_hashes: breaks ties between sites that cost the same; [capacity].
        has_yearly_intensity: whether the carbon intensity is a yearly factor; [capacity].
        nodes: the node rows of all sites.
        row_version: grows with whatever the room of a site depends on; [capacity].
        in_flight_totals: sums of what is in flight at all sites.
        namespace_limits: what namespaces of the sites let pods ask.
        valid_from: from when grants hold, in seconds since 1970, by place; [capacity] each.
        valid_until: until when; [capacity] each.
        has_mixed_grants: whether grants of one site have ever named different CPU vendors.
        description_columns: what is remembered of labels, spec and grants.
        report_columns: what is remembered of rarely changing parts of reports.
        figure_version: grows when a cost could change: by figures that have a price, by
            descriptions or by reports.
        report_version: grows with every figure, the time of a report included.
        is_compiled: whether the compiled kernel is used; the answers are the same without.
    """

    def __init__(self, sites: Iterable[SiteFacts] = (), *, may_compile: bool = True) -> None:
        self.is_compiled = may_compile and compiled.IS_COMPILED
        self._caches: dict[type, Any] = {}
        self.facts: list[SiteFacts | None] = []
        self.slot_of: dict[str, int] = {}
        self._free_slots: list[int] = []
        self._slot_capacity = 0
        self.has_site: Bools = np.zeros(0, np.bool_)
        self.name_hashes: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._figures: Floats = np.zeros((len(FIGURES), 0))
        self._figure_of: dict[str, Floats] = dict(zip(FIGURES, self._figures, strict=True))
        self.has_yearly_intensity: Bools = np.zeros(0, np.bool_)
        self.row_version: Ints = np.zeros(0, np.int64)
        self.valid_from: list[Floats] = []
        self.valid_until: list[Floats] = []
        self.nodes = NodeTable()
        self.in_flight_totals = InFlightTotals(self.nodes)
        self.namespace_limits = NamespaceLimitIndex()
        self._domain_numbers: dict[str, int] = {"": 0}
        self._vendor_set_numbers: dict[tuple[str, ...], int] = {(): 0}
        self._permitted_kinds: Bools = np.ones((1, 0), np.bool_)
        self.has_mixed_grants = False
        self._valid_grants_version = 0
        self.report_version = 0
        self._cached_figures: dict[Hashable, tuple[int, Terms, float, float, Any]] = {}
        self.figure_version = 0
        self._valid_grants: tuple[Ints, float, float] | None = None
        self.description_columns = ColumnCache(self.facts)
        self.report_columns = ColumnCache(self.facts)
        for each in sites:
            self.upsert(each)

    def __len__(self) -> int:
        return len(self.slot_of)

    @property
    def slot_capacity(self) -> int:
        """How long the arrays are: slots, empty ones included."""
        return self._slot_capacity

    def all_facts(self) -> Iterator[SiteFacts]:
        """What is known of every site, by name: with demand, time and terms, all the inputs."""
        for name in sorted(self.slot_of):
            yield self.facts_of(name)

    def facts_of(self, name: str) -> SiteFacts:
        """What is known of one site.

        Raises:
            KeyError: there is no such site.
        """
        facts = self.facts[self.slot_of[name]]
        if facts is None:
            raise KeyError(name)
        return facts

    def name_at(self, slot: int) -> str:
        """The name of the site in a slot."""
        facts = self.facts[slot]
        return facts.name if facts is not None else ""

    def upsert(self, facts: SiteFacts) -> None:
        """Takes over what is known of a site now.

        Raises:
            NotAQuantity: a node row cannot be read.
        """
        slot = self.slot_of.get(facts.name)
        old = None if slot is None else self.facts[slot]
        changes = changes_of(old, facts)
        rows = self.nodes.read(facts) if changes.nodes else None
        limits = self.namespace_limits.parse(facts) if changes.namespaces else ()
        if slot is None:
            slot = self._new_slot(facts.name)
        self.facts[slot] = facts
        if rows is not None:
            self.nodes.write(slot, rows)
        elif changes.in_flight and old is not None:
            self.nodes.replace_in_flight(slot, len(old.in_flight), facts.in_flight)
        if changes.in_flight:
            self.in_flight_totals.replace(slot, facts.in_flight)
        if changes.namespaces:
            self.namespace_limits.write(slot, facts.status.namespaces, limits)
        if changes.nodes or changes.in_flight or changes.descriptions:
            self.row_version[slot] += 1
        self._apply_changes(slot, facts, changes)

    def _apply_changes(self, slot: int, facts: SiteFacts, changes: SiteChanges) -> None:
        if changes.figures:
            self.report_version += 1
            if self._write_figures(slot, facts):
                self.figure_version += 1
        if changes.descriptions:
            self.description_columns.mark_changed(slot)
            self._write_grants(slot, facts)
            self._valid_grants = None
            self.figure_version += 1
        if changes.reports:
            self.report_columns.mark_changed(slot)
            self.figure_version += 1

    def remove(self, name: str) -> None:
        """Forgets a site. A site that is not there is no error."""
        slot = self.slot_of.pop(name, None)
        if slot is None:
            return
        self.facts[slot] = None
        self.has_site[slot] = False
        self.figure_version += 1
        self.report_version += 1
        self._valid_grants = None
        self.nodes.clear(slot)
        self.namespace_limits.write(slot, (), ())
        self.in_flight_totals.replace(slot, ())
        self.row_version[slot] += 1
        self.description_columns.mark_changed(slot)
        self.report_columns.mark_changed(slot)
        self._free_slots.append(slot)

    def assume(self, demand: Demand, decision: Decision) -> None:
        """Counts what a decision newly ordered as in flight, until a report shows it bound."""
        before = demand.placed_replicas if demand.placed else {}
        slot_of = self.slot_of
        for each in decision.assignment:
            name = each.site
            more = each.replicas - before.get(name, 0)
            slot = slot_of.get(name) if more > 0 else None
            if slot is not None:
                self._add_in_flight(slot, in_flight_pods(demand, more, new_site=name not in before))

    def _add_in_flight(self, slot: int, new_in_flight: tuple[InFlight, ...]) -> None:
        facts = self.facts[slot]
        assert facts is not None  # noqa: S101 - a site has facts
        in_flight = (*facts.in_flight, *new_in_flight)
        self.facts[slot] = msgspec.structs.replace(facts, in_flight=in_flight)
        for each in new_in_flight:
            self.nodes.append_in_flight(slot, each)
            self.in_flight_totals.add(slot, each)
        self.row_version[slot] += 1

    def cache(self, kind: type[CacheT]) -> CacheT:
        """The fleet's one instance of a cache class, created without arguments at first use.

        A module that keeps answers between decisions defines such a class. The fleet only keeps the
        instance; whether an answer still holds is for that module to check, by the versions that
        the fleet counts (`row_version`, `figure_version`, `version_at` and others).
        """
        found: CacheT | None = self._caches.get(kind)
        if found is None:
            found = self._caches[kind] = kind()
        return found

    def description_column(
        self, cache_key: Hashable, value_of: Callable[[SiteFacts], Any], dtype: type[np.generic]
    ) -> NDArray[Any]:
        """A remembered answer that depends on labels, spec and grants only; [capacity]."""
        return self.description_columns.get(
            cache_key, value_of, dtype=dtype, slot_capacity=self._slot_capacity
        )

    def report_column(
        self, cache_key: Hashable, value_of: Callable[[SiteFacts], Any], dtype: type[np.generic]
    ) -> NDArray[Any]:
        """A remembered answer that depends on rarely changing parts of reports too; [capacity]."""
        return self.report_columns.get(
            cache_key, value_of, dtype=dtype, slot_capacity=self._slot_capacity
        )

    def cached_figure(
        self,
        cache_key: Hashable,
        context: DecisionContext,
        compute: Callable[["Fleet", DecisionContext], tuple[ValueT, float]],
        *,
        version: int | None = None,
    ) -> ValueT:
        """Something that follows from the figures, until they change or its time is over.

        Args:
            cache_key: names it, with all that it depends on beside the figures and the terms.
            context: when and by which terms it is asked.
            compute: computes it, and until when it stays true, in seconds since 1970.
            version: grows when it could be otherwise; None: with `figure_version`.
        """
        version = self.figure_version if version is None else version
        cached = self._cached_figures.get(cache_key)
        if (
            cached is None
            or cached[0] != version
            or cached[1] is not context.terms
            or not cached[2] <= context.now_seconds < cached[3]
        ):
            value, valid_until_seconds = compute(self, context)
            if len(self._cached_figures) > _MAX_CACHED_FIGURES:
                self._cached_figures.clear()
            cached = (version, context.terms, context.now_seconds, valid_until_seconds, value)
            self._cached_figures[cache_key] = cached
        found: ValueT = cached[4]
        return found

    def figure(self, name: str) -> Floats:
        """One figure of every site; NaN is unknown; [capacity]."""
        return self._figure_of[name]

    def version_at(self, now_seconds: float) -> tuple[int, int, int]:
        """Grows whenever a rule that does not depend on the moment could answer otherwise."""
        self.valid_grant_bits(now_seconds)
        return (
            self.description_columns.version,
            self.report_columns.version,
            self._valid_grants_version,
        )

    def valid_grant_bits(self, now_seconds: float) -> Ints:
        """Which grants of each site hold at a time, as bits; [capacity]."""
        if (
            self._valid_grants is not None
            and self._valid_grants[1] <= now_seconds < self._valid_grants[2]
        ):
            return self._valid_grants[0]
        bits = np.zeros(self._slot_capacity, np.int64)
        since, until = -np.inf, np.inf
        for grant_index, (begins, ends) in enumerate(
            zip(self.valid_from, self.valid_until, strict=True)
        ):
            bits |= ((begins <= now_seconds) & (now_seconds < ends)).astype(np.int64) << grant_index
            for edge in (begins, ends):
                since = max(since, float(np.max(edge[edge <= now_seconds], initial=-np.inf)))
                until = min(until, float(np.min(edge[edge > now_seconds], initial=np.inf)))
        self._valid_grants = (bits, since, until)
        self._valid_grants_version += 1
        return bits

    def domain_number(self, domain: str) -> int:
        """The number of a place by its name; 0 is the unknown place."""
        return self._domain_numbers.setdefault(domain, len(self._domain_numbers))

    def vendor_set_number(self, vendors: tuple[str, ...]) -> int:
        """The number of a set of permitted CPU vendors; 0 permits any."""
        return self._vendor_set_numbers.setdefault(
            tuple(sorted(set(vendors))), len(self._vendor_set_numbers)
        )

    def permitted_kinds(self) -> Bools:
        """Which kinds of node a set of vendors permits; [vendor sets, kinds]."""
        shape = (len(self._vendor_set_numbers), len(self.nodes.kinds))
        if self._permitted_kinds.shape != shape:
            self._permitted_kinds = np.array(
                [
                    [
                        place == IN_FLIGHT_KIND or not vendors or kind.cpu_vendor in vendors
                        for place, kind in enumerate(self.nodes.kinds)
                    ]
                    for vendors in self._vendor_set_numbers
                ],
                np.bool_,
            ).reshape(shape)
        return self._permitted_kinds

    def _new_slot(self, name: str) -> int:
        if self._free_slots:
            slot = self._free_slots.pop()
        else:
            slot = len(self.facts)
            self.facts.append(None)
            if slot >= self._slot_capacity:
                self._grow(max(16, self._slot_capacity * 2))
        self.slot_of[name] = slot
        self.has_site[slot] = True
        self.name_hashes[slot] = stable_hash(name)
        return slot

    def _grow(self, slot_capacity: int) -> None:
        more = slot_capacity - self._slot_capacity
        self._slot_capacity = slot_capacity
        for name in ("has_site", "has_yearly_intensity", "name_hashes", "row_version"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros(more, array.dtype)]))
        unknown = np.full((len(FIGURES), more), np.nan)
        self._figures = np.concatenate([self._figures, unknown], axis=1)
        self._figure_of = dict(zip(FIGURES, self._figures, strict=True))
        for arrays in (self.valid_from, self.valid_until):
            arrays[:] = [np.concatenate([array, np.full(more, np.nan)]) for array in arrays]
        self.nodes.grow_sites(slot_capacity)
        self.in_flight_totals.grow_sites(slot_capacity)

    def _write_figures(self, slot: int, facts: SiteFacts) -> bool:
        """Writes the figures of a site; returns whether any changed that has a price."""
        intensity = facts.status.intensity
        is_yearly = intensity is not None and intensity.origin == "yearly"
        changed = is_yearly != self.has_yearly_intensity[slot]
        self.has_yearly_intensity[slot] = is_yearly
        here, figures = self._figures[:, slot], figures_of(facts)
        before = here.tolist()
        here[:] = figures
        changed |= any(
            new != old and not (isnan(new) and isnan(old))
            for new, old in zip(
                figures[FIRST_COST_FIGURE:], before[FIRST_COST_FIGURE:], strict=True
            )
        )
        return bool(changed)

    def _write_grants(self, slot: int, facts: SiteFacts) -> None:
        grants = facts.grants[:MAX_GRANTS]
        if len({each.spec.cpu_vendors for each in grants}) > 1:
            self.has_mixed_grants = True
        while len(self.valid_from) < len(grants):
            self.valid_from.append(np.full(self._slot_capacity, np.nan))
            self.valid_until.append(np.full(self._slot_capacity, np.nan))
        for index, (begins, ends) in enumerate(zip(self.valid_from, self.valid_until, strict=True)):
            known = index < len(grants)
            begins[slot] = (
                epoch_seconds(grants[index].spec.valid_from, -np.inf) if known else np.nan
            )
            ends[slot] = epoch_seconds(grants[index].spec.valid_until, np.inf) if known else np.nan


def in_flight_pods(demand: Demand, replicas: int, *, new_site: bool) -> tuple[InFlight, ...]:
    """The pods that an order brings to a site, before they have nodes.

    Args:
        demand: what is ordered.
        replicas: how many new replicas.
        new_site: whether the site gets the pods beside the replicas too.
    """
    key = demand.key
    in_flight = [
        _in_flight_of(key, each, replicas) for each in demand.unit if each.count * replicas > 0
    ]
    if new_site and demand.beside:
        in_flight += [_in_flight_of(key, each, 1) for each in demand.beside if each.count > 0]
    return tuple(in_flight)


def _in_flight_of(key: str, pods: Pods, factor: int) -> InFlight:
    shape = pods.shape
    return InFlight(
        workload=key,
        replicas=pods.count * factor,
        requests=shape.requests,
        gpu_cards=shape.gpu_cards,
        gpu_milli=shape.gpu_milli,
        limits=pods.limits,
    )
