"""`Fleet`: what is known of all sites, as arrays that are updated site by site.

Each site has a slot, its index in all arrays. `upsert` writes one site's slot and node rows and
leaves all others as they are. Figures that a decision compares for all sites are arrays here; what
is needed less often is computed from the facts and cached (`column_cache.py`).

Arrays are as long as `Fleet.slot_capacity`, which counts empty slots too. Docstrings give the shape
of an array as `[slot_capacity]`.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
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
from scheduler.placement.fleet import changes as parts
from scheduler.placement.fleet.changes import SiteChanges, changes_of
from scheduler.placement.fleet.column_cache import ColumnCache
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.grants import GrantTable
from scheduler.placement.fleet.in_flight import (
    InFlightTotals,
    in_flight_pods,
    planned_runs,
    with_planned,
)
from scheduler.placement.fleet.labels import site_labels
from scheduler.placement.fleet.namespace_limits import NamespaceLimitIndex
from scheduler.placement.fleet.node_table import NodeTable
from scheduler.placement.fleet.nodes.in_flight_change import in_flight_change
from scheduler.placement.fleet.nodes.label_index import LabelIndex
from scheduler.placement.fleet.ragged import any_of_rows
from scheduler.placement.fleet.site_figures import (
    FIGURES,
    FIRST_COST_FIGURE,
    figures_of,
)
from scheduler.placement.kernel import loader as compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_MAX_CACHED_FIGURES = 64

CacheT = TypeVar("CacheT")
ValueT = TypeVar("ValueT")


class Fleet:
    """All sites.

    Args:
        sites: the sites to begin with.
        may_compile: whether to use the compiled kernel where one was built.

    Attributes:
        facts: the facts of each site by slot; None where a slot is empty.
        slot_of: the slot of each site, by name.
        slot_capacity: the length of the arrays: the number of slots, including empty ones.
        has_site: which slots hold a site; [slot_capacity].
        name_hashes: hashes of site names, which break ties between equal costs; [slot_capacity].
        has_yearly_intensity: whether the carbon intensity is a yearly factor; [slot_capacity].
        nodes: the node rows of all sites.
        row_version: grows when anything changes that a site's capacity depends on;
            [slot_capacity].
        in_flight_totals: sums of the requests in flight at all sites.
        namespace_limits: the ResourceQuota and LimitRange figures that sites report.
        grants: the dates of the sites' grants.
        site_labels: the labels of the sites, by slot.
        description_columns: cached answers that depend on labels, spec and grants.
        report_columns: cached answers that also depend on what reports seldom change.
        figure_version: grows when a cost may change: with figures that enter costs, with
            descriptions and with reports.
        report_version: grows with every figure, including the time of a report.
        planned_slots: the slots of sites where something is planned to start later.
        is_compiled: whether the compiled kernel is used; decisions are the same without it.
    """

    def __init__(self, sites: Iterable[SiteFacts] = (), *, may_compile: bool = True) -> None:
        self.is_compiled = may_compile and compiled.IS_COMPILED
        self._caches: dict[type, Any] = {}
        self.facts: list[SiteFacts | None] = []
        self._descriptions: list[SiteFacts | None] = []
        self._reports: list[SiteFacts | None] = []
        self.slot_of: dict[str, int] = {}
        self._free_slots: list[int] = []
        self.planned_slots: set[int] = set()
        self.slot_capacity = 0
        self.has_site: Bools = np.zeros(0, np.bool_)
        self.name_hashes: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._figures: Floats = np.zeros((len(FIGURES), 0))
        self._figure_of: dict[str, Floats] = dict(zip(FIGURES, self._figures, strict=True))
        self.has_yearly_intensity: Bools = np.zeros(0, np.bool_)
        self.row_version: Ints = np.zeros(0, np.int64)
        self.nodes = NodeTable(self.facts)
        self.in_flight_totals = InFlightTotals(self.nodes, self.facts)
        self.namespace_limits = NamespaceLimitIndex()
        self.grants = GrantTable()
        self.site_labels = LabelIndex()
        self._domain_numbers: dict[str, int] = {"": 0}
        self._vendor_set_numbers: dict[tuple[str, ...], int] = {(): 0}
        self.report_version = 0
        self._cached_figures: dict[Hashable, tuple[int, Terms, float, float, Any]] = {}
        self.figure_version = 0
        self.description_columns = ColumnCache(self._descriptions)
        self.report_columns = ColumnCache(self._reports)
        for each in sites:
            self.upsert(each)

    def __len__(self) -> int:
        return len(self.slot_of)

    def all_facts(self) -> Iterator[SiteFacts]:
        """The facts of every site, by name.

        With the demand, the time and the terms these are all inputs of a decision.
        """
        for name in sorted(self.slot_of):
            yield self.facts_of(name)

    def facts_of(self, name: str) -> SiteFacts:
        """The facts of one site.

        Raises:
            KeyError: there is no such site.
        """
        facts = self.facts[self.slot_of[name]]
        if facts is None:
            raise KeyError(name)
        return facts

    def name_at(self, slot: int) -> str:
        """The name of the site in a slot; "" for an empty slot."""
        facts = self.facts[slot]
        return facts.name if facts is not None else ""

    def upsert(self, facts: SiteFacts) -> None:
        """Adds a site, or updates what has changed of it.

        All is read before anything is written, so that what cannot be read changes nothing.

        Raises:
            NotAQuantity: an amount of a node row or of a namespace limit cannot be read; the site
                stays as it was.
        """
        slot = self.slot_of.get(facts.name)
        old = None if slot is None else self.facts[slot]
        self.nodes.drop_excess_columns()
        changes = changes_of(old, facts)
        rows = self.nodes.read(facts) if changes.nodes else None
        limits = (
            self.namespace_limits.parse(parts.NAMESPACES.of(facts)) if changes.namespaces else ()
        )
        figures = figures_of(parts.FIGURES.of(facts)) if changes.figures else ()
        if slot is None:
            slot = self._new_slot(facts.name)
        self.facts[slot] = facts
        if rows is not None:
            self.nodes.write(slot, rows)
        if changes.in_flight:
            change = in_flight_change(old.in_flight if old else (), facts.in_flight)
            if rows is None:
                self.nodes.change_in_flight(slot, change)
            self.in_flight_totals.change(slot, change)
        if changes.namespaces:
            self.namespace_limits.write(slot, facts.status.namespaces, limits)
        if changes.planned:
            self._note_planned(slot, facts)
        if changes.nodes or changes.in_flight or changes.description:
            self.row_version[slot] += 1
        self._apply_changes(slot, facts, changes, figures)

    def _apply_changes(
        self, slot: int, facts: SiteFacts, changes: SiteChanges, figures: tuple[float, ...]
    ) -> None:
        if changes.figures:
            self.report_version += 1
            if self._write_figures(slot, facts, figures):
                self.figure_version += 1
        if changes.description:
            self._descriptions[slot] = parts.DESCRIPTION.of(facts)
            self.description_columns.mark_changed(slot)
            self.grants.write(slot, facts.grants)
            self.site_labels.write(slot, site_labels(facts))
        if changes.report:
            self._reports[slot] = parts.REPORT.of(facts)
            self.report_columns.mark_changed(slot)
            self.figure_version += 1

    def remove(self, name: str) -> None:
        """Removes a site; does nothing if there is no such site."""
        slot = self.slot_of.pop(name, None)
        if slot is None:
            return
        self.facts[slot] = None
        self._descriptions[slot] = self._reports[slot] = None
        self.planned_slots.discard(slot)
        self.has_site[slot] = False
        self.figure_version += 1
        self.report_version += 1
        self.grants.expire()
        self.nodes.clear(slot)
        self.namespace_limits.write(slot, (), ())
        self.in_flight_totals.replace(slot, ())
        self.row_version[slot] += 1
        self.site_labels.clear(slot)
        self.description_columns.mark_changed(slot)
        self.report_columns.mark_changed(slot)
        self._free_slots.append(slot)

    def _note_planned(self, slot: int, facts: SiteFacts) -> None:
        if facts.planned:
            self.planned_slots.add(slot)
        else:
            self.planned_slots.discard(slot)

    def assume(self, demand: Demand, decision: Decision) -> None:
        """Counts what a decision adds: replicas in flight, until a report shows them bound.

        What it plans to start later keeps its room; what the workload had planned before is over.
        """
        self._assume_planned(demand, decision)
        before = demand.placed_replicas if demand.placed else {}
        slot_of = self.slot_of
        for each in decision.assignment:
            name = each.site
            more = each.replicas - before.get(name, 0)
            slot = slot_of.get(name) if more > 0 else None
            if slot is not None:
                self._add_in_flight(slot, in_flight_pods(demand, more, new_site=name not in before))

    def _assume_planned(self, demand: Demand, decision: Decision) -> None:
        runs = planned_runs(demand, decision.start_at, decision.planned)
        slots = {self.slot_of[site] for site in runs if site in self.slot_of}
        for slot in sorted(slots | self.planned_slots):
            facts = self.facts[slot]
            if facts is None:
                continue
            planned = with_planned(facts.planned, demand.key, runs.get(facts.name))
            if planned != facts.planned:
                facts = self.facts[slot] = msgspec.structs.replace(facts, planned=planned)
                self._note_planned(slot, facts)

    def assume_equal(self, slot: int, entry: InFlight, workloads: Sequence[str]) -> None:
        """Counts the same pods of several workloads as in flight at the site of a slot.

        As `assume` does one after the other; `entry` says what each has there.
        """
        facts = self.facts[slot]
        assert facts is not None  # noqa: S101 - a site has facts
        more = [msgspec.structs.replace(entry, workload=workload) for workload in workloads]
        in_flight = (*facts.in_flight, *more)
        self.facts[slot] = msgspec.structs.replace(facts, in_flight=in_flight)
        self.nodes.append_in_flight(slot, entry, len(workloads))
        self.in_flight_totals.add(slot, entry, len(workloads))
        self.row_version[slot] += 1

    def _add_in_flight(self, slot: int, new_in_flight: tuple[InFlight, ...]) -> None:
        facts = self.facts[slot]
        assert facts is not None  # noqa: S101 - a site has facts
        in_flight = (*facts.in_flight, *new_in_flight)
        self.facts[slot] = msgspec.structs.replace(facts, in_flight=in_flight)
        for each in new_in_flight:
            self.nodes.append_in_flight(slot, each)
            self.in_flight_totals.add(slot, each)
        self.row_version[slot] += 1

    def cache(self, cache_class: type[CacheT]) -> CacheT:
        """The fleet's one instance of a cache class, created without arguments at first use.

        A module that keeps answers between decisions defines such a class. The fleet only keeps the
        instance; whether an answer still holds is for that module to check, by the versions that
        the fleet counts (`row_version`, `figure_version`, `version_at` and others).
        """
        found: CacheT | None = self._caches.get(cache_class)
        if found is None:
            found = self._caches[cache_class] = cache_class()
        return found

    def description_column(
        self, cache_key: Hashable, value_of: Callable[[SiteFacts], Any], dtype: type[np.generic]
    ) -> NDArray[Any]:
        """A cached answer that depends only on labels, spec and grants; [slot_capacity].

        `value_of` gets facts that have these and nothing else (`changes.DESCRIPTION`), so that
        the answer cannot depend on more than what invalidates it.
        """
        return self.description_columns.get(
            cache_key, value_of, dtype=dtype, slot_capacity=self.slot_capacity
        )

    def report_column(
        self, cache_key: Hashable, value_of: Callable[[SiteFacts], Any], dtype: type[np.generic]
    ) -> NDArray[Any]:
        """A cached answer that may also depend on what reports seldom change; [slot_capacity].

        `value_of` gets facts that have these fields and nothing else (`changes.REPORT`).
        """
        return self.report_columns.get(
            cache_key, value_of, dtype=dtype, slot_capacity=self.slot_capacity
        )

    def report_at(self, slot: int) -> SiteFacts | None:
        """What `report_column` answers are computed from, of one site; None: no site is there.

        Answers that are cached by `version_at` are computed from this, not from `facts`.
        """
        return self._reports[slot]

    def cached_figure(
        self,
        cache_key: Hashable,
        context: DecisionContext,
        compute: Callable[["Fleet", DecisionContext], tuple[ValueT, float]],
        *,
        version: int | None = None,
    ) -> ValueT:
        """A value computed from the figures, cached until they change or it expires.

        Args:
            cache_key: names the value, with all that it depends on besides figures and terms.
            context: the time and the terms of the decision.
            compute: returns the value and the time it holds until, in seconds since 1970.
            version: the version of the inputs of `compute`; None: `figure_version`.
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
        """One of `FIGURES` for every site; NaN is unknown; [slot_capacity]."""
        return self._figure_of[name]

    def version_at(self, now_seconds: float) -> tuple[int, int, int]:
        """A version that grows when a rule whose answer is cached may answer differently.

        It counts changes of descriptions, of reports, and of the set of valid grants.
        """
        self.grants.valid_bits(now_seconds)  # may raise the version of the grants
        return (
            self.description_columns.version,
            self.report_columns.version,
            self.grants.valid_bits_version,
        )

    def domain_number(self, domain: str) -> int:
        """The number of a spread domain by its name; 0 is the unknown domain."""
        return self._domain_numbers.setdefault(domain, len(self._domain_numbers))

    def vendors_of(self, number: int) -> tuple[str, ...]:
        """The CPU vendors that a set permits, by its number; none: any."""
        found = (each for each, known in self._vendor_set_numbers.items() if known == number)
        return next(found, ())

    def vendor_set_number(self, vendors: tuple[str, ...]) -> int:
        """The number of a set of permitted CPU vendors; 0 permits any."""
        return self._vendor_set_numbers.setdefault(
            tuple(sorted(set(vendors))), len(self._vendor_set_numbers)
        )

    def sites_with_any(self, profiles: Bools, *, of_none: bool = False) -> Bools:
        """Which sites have nodes of any of some profiles; [slot_capacity].

        Args:
            profiles: which profiles; [profiles].
            of_none: the answer of a site without nodes.
        """
        by_site = self.nodes.profiles.by_site
        look = compiled.kernel.any_of_rows if self.is_compiled else any_of_rows
        found: Bools = look(
            profiles.view(np.uint8), by_site.matrix[:1], by_site.start, by_site.length, of_none
        ).view(np.bool_)
        found &= self.has_site
        return found

    def permitted_profiles(self) -> Bools:
        """Which node profiles each set of vendors permits; [vendor sets, profiles].

        Rows in flight have a profile too; every set permits it, so that they always count.
        """
        return self.nodes.profiles.permitted(self._vendor_set_numbers)

    def _new_slot(self, name: str) -> int:
        if self._free_slots:
            slot = self._free_slots.pop()
        else:
            slot = len(self.facts)
            for kept in (self.facts, self._descriptions, self._reports):
                kept.append(None)
            if slot >= self.slot_capacity:
                self._grow(max(16, self.slot_capacity * 2))
        self.slot_of[name] = slot
        self.has_site[slot] = True
        self.name_hashes[slot] = stable_hash(name)
        return slot

    def _grow(self, slot_capacity: int) -> None:
        more = slot_capacity - self.slot_capacity
        self.slot_capacity = slot_capacity
        self.has_site = np.concatenate([self.has_site, np.zeros(more, np.bool_)])
        self.has_yearly_intensity = np.concatenate(
            [self.has_yearly_intensity, np.zeros(more, np.bool_)]
        )
        self.name_hashes = np.concatenate([self.name_hashes, np.zeros(more, np.uint64)])
        self.row_version = np.concatenate([self.row_version, np.zeros(more, np.int64)])
        unknown = np.full((len(FIGURES), more), np.nan)
        self._figures = np.concatenate([self._figures, unknown], axis=1)
        self._figure_of = dict(zip(FIGURES, self._figures, strict=True))
        self.grants.grow_sites(slot_capacity)
        self.nodes.grow_sites(slot_capacity)
        self.in_flight_totals.grow_sites(slot_capacity)

    def _write_figures(self, slot: int, facts: SiteFacts, figures: tuple[float, ...]) -> bool:
        """Writes the figures of a site; returns whether any changed that enters costs."""
        is_yearly = facts.has_yearly_intensity
        changed = is_yearly != self.has_yearly_intensity[slot]
        self.has_yearly_intensity[slot] = is_yearly
        here = self._figures[:, slot]
        before = here.tolist()
        here[:] = figures
        changed |= any(
            new != old and not (isnan(new) and isnan(old))
            for new, old in zip(
                figures[FIRST_COST_FIGURE:], before[FIRST_COST_FIGURE:], strict=True
            )
        )
        return bool(changed)
