"""`Fleet`: what is known of all sites, as arrays, kept up to date site by site.

One slot per site. `upsert` writes one site's slot and node rows; nothing else moves. Numbers that a
decision compares for all sites at once are arrays here; whatever is asked more rarely is computed
from the facts and remembered (`column_cache.py`).
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from math import isnan
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.canonical import stable_hash
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import InFlight, SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.manifests.manifests import Pods
from scheduler.placement.fleet.changes import News, news_of
from scheduler.placement.fleet.column_cache import Columns
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.in_flight import Flying
from scheduler.placement.fleet.namespace_limits import LimitIndex
from scheduler.placement.fleet.node_table import IN_FLIGHT, NodeRows
from scheduler.placement.fleet.site_figures import FIGURES, FIRST_PRICED, figures_of, seconds
from scheduler.placement.kernel import loader as compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MOST_GRANTS = 63
"""So many grants of a site count, in the order of their names: one bit of an int64 each."""
_MOST_REMEMBERED = 64


class Fleet:
    """All sites.

    Attributes:
        facts: what is known by slot; None where a slot is empty.
        slot_of: the slot of each site, by name.
        is_there: slots that hold a site; [capacity].
        name_hashes: breaks ties between sites that cost the same; [capacity].
        yearly: whether the carbon intensity is a yearly factor; [capacity].
        nodes: the node rows of all sites.
        row_version: grows with whatever the room of a site depends on; [capacity].
        flying: sums of what is in flight at all sites.
        limits: what namespaces of the sites let pods ask.
        valid_from: from when grants hold, in seconds since 1970, by place; [capacity] each.
        valid_until: until when; [capacity] each.
        has_mixed_grants: whether grants of one site have ever named different CPU vendors.
        descriptions: what is remembered of labels, spec and grants.
        reports: what is remembered of rarely changing parts of reports.
        figure_version: grows when a cost could change: by figures that have a price, by
            descriptions or by reports.
        report_version: grows with every figure, the time of a report included.
        is_compiled: whether the compiled kernel is used; the answers are the same without.
        kernel_rows: the node rows as the kernel reads them, see `kernel_fit.py`.
        room_hits: how often room was remembered; never by the kernel, which looks again.
        room_misses: how often it was not.
        sums, full, rooms, nestings, admissions, ranks, unknowns, remembered: answers of
        `summed_capacity.py`,
            `full_sites.py`, `capacity.py`, `levels.py`, `filter.py` (two), `site_costs.py` and
            `remember`, each by its question and with the version that it was given for.
    """

    def __init__(self, sites: Iterable[SiteFacts] = (), *, may_compile: bool = True) -> None:
        self.is_compiled = may_compile and compiled.IS_COMPILED
        self.kernel_rows: Any = None
        self.facts: list[SiteFacts | None] = []
        self.slot_of: dict[str, int] = {}
        self._free_slots: list[int] = []
        self._capacity = 0
        self.is_there: Bools = np.zeros(0, np.bool_)
        self.name_hashes: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._figures: Floats = np.zeros((len(FIGURES), 0))
        self._figure_of: dict[str, Floats] = dict(zip(FIGURES, self._figures, strict=True))
        self.yearly: Bools = np.zeros(0, np.bool_)
        self.row_version: Ints = np.zeros(0, np.int64)
        self.valid_from: list[Floats] = []
        self.valid_until: list[Floats] = []
        self.nodes = NodeRows()
        self.flying = Flying(self.nodes)
        self.limits = LimitIndex()
        self.sums: OrderedDict[Hashable, Any] = OrderedDict()
        self.full: OrderedDict[Hashable, Any] = OrderedDict()
        self.rooms: OrderedDict[Hashable, tuple[Ints, Ints]] = OrderedDict()
        self.room_hits = 0
        self.room_misses = 0
        self.nestings: dict[tuple[str, ...], tuple[int, bool]] = {}
        self._places: dict[str, int] = {"": 0}
        self._vendor_sets: dict[tuple[str, ...], int] = {(): 0}
        self._permitted: Bools = np.ones((1, 0), np.bool_)
        self.has_mixed_grants = False
        self._valid_version = 0
        self.admissions: dict[Hashable, Any] = {}
        self.ranks: dict[int, Any] = {}
        self.report_version = 0
        self.remembered: dict[Hashable, tuple[int, Terms, float, float, Any]] = {}
        self.figure_version = 0
        self.unknowns: dict[tuple[int, ...], tuple[Ints, bool, list[Any]]] = {}
        self._valid: tuple[Ints, float, float] | None = None
        self.descriptions = Columns(self.facts)
        self.reports = Columns(self.facts)
        for each in sites:
            self.upsert(each)

    def __len__(self) -> int:
        return len(self.slot_of)

    @property
    def capacity(self) -> int:
        """How long the arrays are: slots, empty ones included."""
        return self._capacity

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
        news = news_of(old, facts)
        rows = self.nodes.read(facts) if news.nodes else None
        limits = self.limits.read(facts) if news.namespaces else ()
        if slot is None:
            slot = self._new_slot(facts.name)
        self.facts[slot] = facts
        if rows is not None:
            self.nodes.write(slot, rows)
        elif news.in_flight and old is not None:
            self.nodes.replace_flights(slot, len(old.in_flight), facts.in_flight)
        if news.in_flight:
            self.flying.replace(slot, facts.in_flight)
        if news.namespaces:
            self.limits.write(slot, facts.status.namespaces, limits)
        if news.nodes or news.in_flight or news.descriptions:
            self.row_version[slot] += 1
        self._note_news(slot, facts, news)

    def _note_news(self, slot: int, facts: SiteFacts, news: News) -> None:
        if news.figures:
            self.report_version += 1
            if self._write_figures(slot, facts):
                self.figure_version += 1
        if news.descriptions:
            self.descriptions.changed(slot)
            self._write_grants(slot, facts)
            self._valid = None
            self.figure_version += 1
        if news.reports:
            self.reports.changed(slot)
            self.figure_version += 1

    def remove(self, name: str) -> None:
        """Forgets a site. A site that is not there is no error."""
        slot = self.slot_of.pop(name, None)
        if slot is None:
            return
        self.facts[slot] = None
        self.is_there[slot] = False
        self.figure_version += 1
        self.report_version += 1
        self._valid = None
        self.nodes.clear(slot)
        self.limits.write(slot, (), ())
        self.flying.replace(slot, ())
        self.row_version[slot] += 1
        self.descriptions.changed(slot)
        self.reports.changed(slot)
        self._free_slots.append(slot)

    def commit(self, demand: Demand, decision: Decision) -> None:
        """Counts what a decision newly ordered as in flight, until a report shows it bound."""
        before = demand.placed_replicas if demand.placed else {}
        slot_of = self.slot_of
        for each in decision.assignment:
            name = each.site
            more = each.replicas - before.get(name, 0)
            slot = slot_of.get(name) if more > 0 else None
            if slot is not None:
                self._add_in_flight(slot, flights_of(demand, more, new_site=name not in before))

    def _add_in_flight(self, slot: int, flights: tuple[InFlight, ...]) -> None:
        facts = self.facts[slot]
        assert facts is not None  # noqa: S101 - a site has facts
        in_flight = (*facts.in_flight, *flights)
        self.facts[slot] = msgspec.structs.replace(facts, in_flight=in_flight)
        for each in flights:
            self.nodes.append(slot, each)
            self.flying.add(slot, each)
        self.row_version[slot] += 1

    def described(
        self, question: Hashable, answer: Callable[[SiteFacts], Any], of: type[np.generic]
    ) -> NDArray[Any]:
        """A remembered answer that depends on labels, spec and grants only; [capacity]."""
        return self.descriptions.get(question, answer, of=of, capacity=self._capacity)

    def reported(
        self, question: Hashable, answer: Callable[[SiteFacts], Any], of: type[np.generic]
    ) -> NDArray[Any]:
        """A remembered answer that depends on rarely changing parts of reports too; [capacity]."""
        return self.reports.get(question, answer, of=of, capacity=self._capacity)

    def remember(
        self,
        question: Hashable,
        moment: Moment,
        compute: Callable[["Fleet", Moment], tuple[Any, float]],
        *,
        version: int | None = None,
    ) -> Any:  # noqa: ANN401 - whatever is computed
        """Something that follows from the figures, until they change or its time is over.

        Args:
            question: names it, with all that it depends on beside the figures and the terms.
            moment: when and by which terms it is asked.
            compute: computes it, and until when it stays true, in seconds since 1970.
            version: grows when it could be otherwise; None: with `figure_version`.
        """
        version = self.figure_version if version is None else version
        kept = self.remembered.get(question)
        if (
            kept is None
            or kept[0] != version
            or kept[1] is not moment.terms
            or not kept[2] <= moment.now_seconds < kept[3]
        ):
            value, until = compute(self, moment)
            if len(self.remembered) > _MOST_REMEMBERED:
                self.remembered.clear()
            kept = (version, moment.terms, moment.now_seconds, until, value)
            self.remembered[question] = kept
        return kept[4]

    def figure(self, name: str) -> Floats:
        """One figure of every site; NaN is unknown; [capacity]."""
        return self._figure_of[name]

    def version_at(self, now_seconds: float) -> tuple[int, int, int]:
        """Grows whenever a rule that does not depend on the moment could answer otherwise."""
        self.valid_bits(now_seconds)
        return (self.descriptions.version, self.reports.version, self._valid_version)

    def valid_bits(self, now_seconds: float) -> Ints:
        """Which grants of each site hold at a time, as bits; [capacity]."""
        if self._valid is not None and self._valid[1] <= now_seconds < self._valid[2]:
            return self._valid[0]
        bits = np.zeros(self._capacity, np.int64)
        since, until = -np.inf, np.inf
        for place, (begins, ends) in enumerate(zip(self.valid_from, self.valid_until, strict=True)):
            bits |= ((begins <= now_seconds) & (now_seconds < ends)).astype(np.int64) << place
            for edge in (begins, ends):
                since = max(since, float(np.max(edge[edge <= now_seconds], initial=-np.inf)))
                until = min(until, float(np.min(edge[edge > now_seconds], initial=np.inf)))
        self._valid = (bits, since, until)
        self._valid_version += 1
        return bits

    def place_number(self, place: str) -> int:
        """The number of a place by its name; 0 is the unknown place."""
        return self._places.setdefault(place, len(self._places))

    def vendor_set(self, vendors: tuple[str, ...]) -> int:
        """The number of a set of permitted CPU vendors; 0 permits any."""
        return self._vendor_sets.setdefault(tuple(sorted(set(vendors))), len(self._vendor_sets))

    def permitted_kinds(self) -> Bools:
        """Which kinds of node a set of vendors permits; [vendor sets, kinds]."""
        shape = (len(self._vendor_sets), len(self.nodes.kinds))
        if self._permitted.shape != shape:
            self._permitted = np.array(
                [
                    [
                        place == IN_FLIGHT or not vendors or kind.cpu_vendor in vendors
                        for place, kind in enumerate(self.nodes.kinds)
                    ]
                    for vendors in self._vendor_sets
                ],
                np.bool_,
            ).reshape(shape)
        return self._permitted

    def _new_slot(self, name: str) -> int:
        if self._free_slots:
            slot = self._free_slots.pop()
        else:
            slot = len(self.facts)
            self.facts.append(None)
            if slot >= self._capacity:
                self._grow(max(16, self._capacity * 2))
        self.slot_of[name] = slot
        self.is_there[slot] = True
        self.name_hashes[slot] = stable_hash(name)
        return slot

    def _grow(self, capacity: int) -> None:
        more = capacity - self._capacity
        self._capacity = capacity
        for name in ("is_there", "yearly", "name_hashes", "row_version"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros(more, array.dtype)]))
        unknown = np.full((len(FIGURES), more), np.nan)
        self._figures = np.concatenate([self._figures, unknown], axis=1)
        self._figure_of = dict(zip(FIGURES, self._figures, strict=True))
        for arrays in (self.valid_from, self.valid_until):
            arrays[:] = [np.concatenate([array, np.full(more, np.nan)]) for array in arrays]
        self.nodes.grow_sites(capacity)
        self.flying.grow_sites(capacity)

    def _write_figures(self, slot: int, facts: SiteFacts) -> bool:
        """Writes the figures of a site; returns whether any changed that has a price."""
        intensity = facts.status.intensity
        is_yearly = intensity is not None and intensity.origin == "yearly"
        changed = is_yearly != self.yearly[slot]
        self.yearly[slot] = is_yearly
        here, figures = self._figures[:, slot], figures_of(facts)
        before = here.tolist()
        here[:] = figures
        changed |= any(
            new != old and not (isnan(new) and isnan(old))
            for new, old in zip(figures[FIRST_PRICED:], before[FIRST_PRICED:], strict=True)
        )
        return bool(changed)

    def _write_grants(self, slot: int, facts: SiteFacts) -> None:
        grants = facts.grants[:MOST_GRANTS]
        if len({each.spec.cpu_vendors for each in grants}) > 1:
            self.has_mixed_grants = True
        while len(self.valid_from) < len(grants):
            self.valid_from.append(np.full(self._capacity, np.nan))
            self.valid_until.append(np.full(self._capacity, np.nan))
        for index, (begins, ends) in enumerate(zip(self.valid_from, self.valid_until, strict=True)):
            known = index < len(grants)
            begins[slot] = seconds(grants[index].spec.valid_from, -np.inf) if known else np.nan
            ends[slot] = seconds(grants[index].spec.valid_until, np.inf) if known else np.nan


def flights_of(demand: Demand, replicas: int, *, new_site: bool) -> tuple[InFlight, ...]:
    """The pods that an order brings to a site, before they have nodes.

    Args:
        demand: what is ordered.
        replicas: how many new replicas.
        new_site: whether the site gets the pods beside the replicas too.
    """
    key = demand.key
    flights = [_flight(key, each, replicas) for each in demand.unit if each.count * replicas > 0]
    if new_site and demand.beside:
        flights += [_flight(key, each, 1) for each in demand.beside if each.count > 0]
    return tuple(flights)


def _flight(key: str, pods: Pods, times: int) -> InFlight:
    shape = pods.shape
    return InFlight(
        workload=key,
        replicas=pods.count * times,
        requests=shape.requests,
        gpu_cards=shape.gpu_cards,
        gpu_milli=shape.gpu_milli,
        limits=pods.limits,
    )
