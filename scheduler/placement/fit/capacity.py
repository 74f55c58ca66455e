"""How many more replicas a site really takes, node by node; sums over a cluster are too high.

For pods of one shape the answer is exact: per node `min over resources of floor(free / asked)`,
shared GPU cards counted card by card, at most one pod per node under hostname anti-affinity or host
ports, within the limits of topology spread, less what is in flight, assigned to the worst nodes
(`in_flight_loss.py`). Where a quick bound of that shows that all replicas fit, the bound is given.
`pod_sets.py` handles sets of different pods. The compiled kernel computes the answer from the nodes
each time, which is faster than a cache; without it answers are cached by shape and computed again
only for sites that changed.

Nodes on whose architecture the images do not run, or whose CPU vendor the site's grant does not
permit, do not count.
"""

from collections.abc import Mapping
from functools import partial
from operator import is_
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.lazy import lazy
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fit.capacity_cache import capacity_cache_key, capacity_cache_of
from scheduler.placement.fit.full_sites import FullSites, full_sites_of
from scheduler.placement.fit.in_flight_fit import (
    InFlightFit,
    WorstCase,
    has_in_flight,
    most_lost_at,
)
from scheduler.placement.fit.kernel_fit import kernel_rows, kernel_supports, make_kernel_fit
from scheduler.placement.fit.node_fit import NodeFit
from scheduler.placement.fit.planned_room import PlannedRoom, run_window
from scheduler.placement.fit.pod_sets import pod_sets_at
from scheduler.placement.fit.summed_capacity import (
    UNLIMITED,
    SummedCapacity,
    vendor_sets_key,
)
from scheduler.placement.fit.topology_spread import replicas_within_spread
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.namespace_limits import SiteNamespaceLimits
from scheduler.placement.fleet.nodes.columns import COUNT_COLUMN
from scheduler.placement.kernel import loader as compiled

if TYPE_CHECKING:
    from scheduler.placement.kernel.kernel import Fit, FullSiteTracker

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_MAX_BOUNDS_CHECKED = 32
_MAX_SITES_TO_SUM_AGAIN = 256
"""For so few sites the kernel adds up the nodes again, which is faster than to keep the sums."""


class SiteCapacity:
    """How many more replicas of a demand each site takes, computed on request.

    The free capacity does not include what the workload's running replicas use, so a site may have
    these and as many more.

    Args:
        fleet: the fleet.
        demand: the workload.
        vendor_sets: the number of the set of permitted CPU vendors of each site, [slot_capacity];
            None: any vendor everywhere.
        context: the time and terms, by which planned starts take room from the run of the demand;
            None: they take none.

    Attributes:
        is_single_pod: whether a replica is one pod, and no other pods come with it.
        is_exhaustive: for sets of pods: whether every answer so far is exact.
        quota_bound_slots: slots whose last answer was capped by a quota of the namespace.
        planned_slots: slots where planned starts take room from the run of the demand.
    """

    def __init__(
        self,
        fleet: Fleet,
        demand: Demand,
        vendor_sets: Ints | None = None,
        context: DecisionContext | None = None,
    ) -> None:
        self._fleet = fleet
        self._demand = demand
        self._vendor_sets = vendor_sets
        self._node_fit = NodeFit(fleet, demand, vendor_sets)
        unit = demand.unit
        simple = len(unit) == 1 and unit[0].count == 1
        self._pod_shape = unit[0].shape if simple else None
        self.is_single_pod = simple and not demand.beside and not demand.per_node
        self.is_exhaustive = True
        self.quota_bound_slots: set[int] = set()
        self._namespace_limits = fleet.namespace_limits.by_slot(demand.namespace)
        self._needs_no_node = not unit and not demand.beside and not demand.per_node
        self._kernel_fit: Fit | None = None
        self._planned: PlannedRoom | None = None
        if context is not None and fleet.planned_slots:
            window = run_window(demand, context)
            self._planned = PlannedRoom(fleet, demand, window, context, self._room_in)
        self.planned_slots = self._planned.slots if self._planned else frozenset[int]()

    def _room_in(self, alone: Fleet, slot: int) -> "SiteCapacity":
        """The room of the demand in a fleet of one site, which is that of a slot."""
        chosen = 0 if self._vendor_sets is None else int(self._vendor_sets[slot])
        if not chosen:
            return SiteCapacity(alone, self._demand)
        number = alone.vendor_set_number(self._fleet.vendors_of(chosen))
        return SiteCapacity(alone, self._demand, np.full(alone.slot_capacity, number))

    def without_plans(self) -> "SiteCapacity":
        """The same without what planned starts take."""
        if not self.planned_slots:
            return self
        return SiteCapacity(self._fleet, self._demand, self._vendor_sets)

    def during(self, context: DecisionContext) -> "SiteCapacity":
        """The same for a run from the start that a context is for."""
        if not self._fleet.planned_slots:
            return self
        return SiteCapacity(self._fleet, self._demand, self._vendor_sets, context)

    @property
    def has_no_caveats(self) -> bool:
        """Whether `caveats.py` has no note for this demand; a quick check."""
        shape = self._pod_shape
        if shape is None or not self.is_single_pod or self._namespace_limits is not None:
            return False
        is_plain = not (shape.skews or shape.one_per or shape.not_modelled)
        return is_plain and not self._demand.unknown_scope

    @property
    def kernel_fit(self) -> "Fit | None":
        """The compiled fit of the demand; None if the kernel does not support it or is not used."""
        found = self._kernel_fit
        if found is None:
            shape, fleet = self._pod_shape, self._fleet
            if shape is not None and self.is_single_pod and kernel_supports(fleet, shape):
                chosen, all_are = self._node_fit.suitable_profiles(shape)
                found = make_kernel_fit(
                    fleet,
                    shape,
                    None if all_are else chosen,
                    self._vendor_sets,
                    worst_case=self._worst_case_at,
                    wanted=self._demand.replicas,
                    lost_at=self._lost_at if shape.skews or shape.one_per else None,
                )
                self._kernel_fit = found
        return found

    def _worst_case_at(self, slot: int) -> WorstCase:
        """The worst case of what is in flight at a site, for the pods of the demand."""
        assert self._pod_shape is not None  # noqa: S101 - called for single shapes only
        return self._in_flight_fit(self._pod_shape).at(slot)

    @property
    def unbounded_kernel_fit(self) -> "Fit | None":
        """`kernel_fit` if only nodes limit what a site takes, neither quotas nor own replicas."""
        shape = self._pod_shape
        if (
            shape is None
            or self.planned_slots
            or self._namespace_limits is not None
            or ((shape.one_per_node or shape.one_per or shape.skews) and self._placed_by_slot)
        ):
            return None
        return self.kernel_fit

    def _lost_at(self, slot: int) -> float:
        """The most replicas that what is in flight at a site may cost."""
        shape = self._pod_shape
        assert shape is not None  # noqa: S101 - called for single shapes only
        slots = np.array([slot])
        index = self._fleet.nodes.rows.row_indices(slots)
        per_row = self._node_fit.replicas_per_node(index, slots, shape)
        return float(most_lost_at(self._fleet, slots, index, per_row, shape)[0])

    @lazy
    def _placed_by_slot(self) -> dict[int, int]:
        slot_of = self._fleet.slot_of
        return {
            slot_of[site]: replicas
            for site, replicas in self._demand.placed_replicas.items()
            if site in slot_of  # a site may have left the fleet
        }

    def is_lower_bound_at_any(self, slots: Ints) -> bool:
        """Whether what some site takes beside what is in flight is less than may really fit.

        Only the first `_MAX_BOUNDS_CHECKED` sites with anything in flight are looked at.
        """
        shape = self._pod_shape
        if shape is None or not self.is_single_pod or shape.skews or shape.one_per:
            return False
        quick = self.kernel_fit
        if quick:
            return not quick.is_exact_at_all(slots, _MAX_BOUNDS_CHECKED)
        worst = self._in_flight_fit(shape)
        some = slots[has_in_flight(self._fleet, slots)][:_MAX_BOUNDS_CHECKED]
        return not all(worst.at(slot).is_exact for slot in some.tolist())

    @property
    def has_namespace_limits(self) -> bool:
        """Whether any site reports limits of the demand's namespace."""
        return self._namespace_limits is not None

    def replicas_at(self, slots: Ints) -> Ints:
        """How many more replicas fit at several sites; [len(slots)]."""
        if self._needs_no_node:
            return np.full(len(slots), UNLIMITED)
        found = self._replicas_before_quota(slots)
        if self._namespace_limits is not None:
            self._cap_by_namespace_limits(slots, found, self._namespace_limits)
        if self._planned is not None:
            self._planned.limit(slots, found)
        return found

    def _replicas_before_quota(self, slots: Ints) -> Ints:
        if not self.is_single_pod or self._pod_shape is None:
            return np.array([self._pod_sets_at_slot(int(slot)) for slot in slots], np.int64)
        quick = self.kernel_fit
        found = quick.replicas_at(slots) if quick else self._cached_replicas(slots, self._pod_shape)
        if quick is None:  # the kernel counts the worst case itself
            self._use_worst_case(slots, found, self._pod_shape)
        self._subtract_own_nodes(slots, found, self._pod_shape)
        return found

    def _in_flight_fit(self, shape: PodShape) -> InFlightFit:
        key_of = partial(capacity_cache_key, self._demand, shape, self._vendor_sets)
        return InFlightFit(self._fleet, shape, self._node_fit, key_of)

    def _use_worst_case(self, slots: Ints, found: Ints, shape: PodShape) -> None:
        """Replaces quick answers that are less than is wanted by the exact worst case."""
        if shape.skews or shape.one_per:
            return  # `_replicas_of_shape` has counted it
        few = (found < self._demand.replicas) & has_in_flight(self._fleet, slots)
        worst = self._in_flight_fit(shape) if few.any() else None
        for position in few.nonzero()[0].tolist():
            if worst is not None:
                found[position] = worst.replicas_at(int(slots[position]))

    def _cached_replicas(self, slots: Ints, shape: PodShape) -> Ints:
        cached_replicas, computed_at_versions = capacity_cache_of(
            self._fleet, capacity_cache_key(self._demand, shape, self._vendor_sets)
        )
        versions = self._fleet.row_version.take(slots)
        # Every change of a site's rows gives it a new version.
        is_old = computed_at_versions.take(slots) != versions
        if is_old.any():
            old = slots[is_old]
            cached_replicas[old] = self._replicas_of_shape(old, shape)
            computed_at_versions[old] = versions[is_old]
        found: Ints = cached_replicas.take(slots)
        return found

    def _cap_by_namespace_limits(
        self, slots: Ints, replicas: Ints, limits_by_slot: Mapping[int, SiteNamespaceLimits]
    ) -> None:
        """Caps `replicas` by what the quotas of the namespace leave, at sites that report them.

        Where a LimitRange adds requests to the pods, the larger pods are fitted.
        """
        for position, slot in enumerate(slots.tolist()):
            here, facts = limits_by_slot.get(slot), self._fleet.facts[slot]
            if here is None or facts is None:
                continue
            if self.is_single_pod:
                shape = here.with_defaults(self._demand.unit[0]).shape
                if shape is not self._demand.unit[0].shape:
                    # Slices of one item: the functions take arrays, and the second changes its own.
                    one, one_slot = (
                        replicas[position : position + 1],
                        slots[position : position + 1],
                    )
                    one[:] = self._replicas_of_shape(one_slot, shape)
                    self._use_worst_case(one_slot, one, shape)
                    self._subtract_own_nodes(one_slot, one, shape)
            most = here.replicas_left(
                self._demand, facts.in_flight, is_new=slot not in self._placed_by_slot
            )
            if most is not None and most < replicas[position]:
                replicas[position] = most
                self.quota_bound_slots.add(slot)

    @lazy
    def kernel_full_sites(self) -> "FullSiteTracker | None":
        """The kernel's cache of full sites; worth its cost only where there are many sites."""
        full = self._full_sites
        if full is None:
            return None
        return compiled.kernel.FullSiteTracker(
            full.full_at_versions,
            self._fleet.row_version,
            partial(self._kernel_fit_of_smallest, full),
        )

    def _kernel_fit_of_smallest(self, full: FullSites) -> "Fit":
        """The fit of the smallest shape of a cell, kept until it would read other arrays."""
        smallest, fleet = full.smallest, self._fleet
        chosen, all_are = self._node_fit.suitable_profiles(smallest)
        vendor_sets = self._vendor_sets
        permitted = None if vendor_sets is None else fleet.permitted_profiles()
        # The demand's own fit was made before, so no column is named in between.
        inputs = (
            kernel_rows(fleet),
            fleet.nodes.columns.version,
            None if all_are else chosen,
            vendor_sets,
            permitted,
        )
        kept = full.smallest_fit
        if kept is not None and all(map(is_, kept[0], inputs)):
            return kept[1]
        found = make_kernel_fit(
            fleet,
            smallest,
            None if all_are else chosen,
            vendor_sets,
            worst_case=lambda slot: self._in_flight_fit(smallest).at(slot),
        )
        full.smallest_fit = (inputs, found)
        return found

    def exclude_known_full(self, slots: Ints) -> Ints:
        """The slots without those that are known to be full."""
        full = self._full_sites
        if full is None:
            return slots
        left: Ints = slots[full.full_at_versions.take(slots) != self._fleet.row_version.take(slots)]
        return left

    def mark_full(self, candidates: Ints) -> None:
        """Records candidates that are full for all shapes of the demand's cell.

        A site is recorded if it takes nothing of the smallest shape, whatever is in flight does:
        see `full_sites.py`.
        """
        full = self._full_sites
        if full is None or not len(candidates):
            return
        rows = self._fleet.nodes.rows
        index = rows.row_indices(candidates)
        most = self._node_fit.replicas_per_node(index, candidates, full.smallest)
        most *= self._fleet.nodes.node_counts(index)
        on_nodes = rows.sum_by_site(candidates, most)
        worst = self._in_flight_fit(full.smallest)
        is_full = [
            total <= 0 or worst.is_surely_full(slot)
            for slot, total in zip(candidates.tolist(), on_nodes.tolist(), strict=True)
        ]
        candidates = candidates[np.array(is_full, np.bool_)]
        full.full_at_versions[candidates] = self._fleet.row_version.take(candidates)

    @lazy
    def _full_sites(self) -> FullSites | None:
        shape, demand = self._pod_shape, self._demand
        plain = shape is not None and not shape.skews and not shape.one_per
        if shape is None or not plain or not self.is_single_pod or self.has_namespace_limits:
            return None
        other_inputs = (
            shape.node_selection_key,
            demand.architectures,
            demand.cpu_vendors,
            vendor_sets_key(self._vendor_sets),
            shape.one_per_node,
        )
        return full_sites_of(self._fleet, shape, other_inputs)

    def replicas_at_slot(self, slot: int) -> int:
        """How many more replicas fit at one site."""
        return int(self.replicas_at(np.array([slot]))[0])

    def replicas_by_sums(self, slots: Ints) -> Ints:
        """The replicas that sums of free capacity would take; [len(slots)].

        Where nothing is in flight it is never less than really fits: what is in flight counts in
        full, though it may run on nodes that the demand cannot use. 0 for sets of pods. Sites
        where only the sums suffice count as `fragmented`.
        """
        if self._pod_shape is None:
            return np.zeros(len(slots), np.int64)
        found = self._summed_capacity.replicas_at(slots)
        if self._planned is not None:
            self._planned.limit_sums(slots, found)
        return found

    def held_by_in_flight(self, slots: Ints) -> list[int]:
        """Those of some slots whose sites would take more if nothing were in flight there.

        By the sums, so what is in flight counts even if it may run on other nodes. For sets of pods
        it is every site where something is in flight.
        """
        if self._pod_shape is None:
            facts = self._fleet.facts
            return [slot for slot in slots.tolist() if (one := facts[slot]) and one.in_flight]
        quick = self.kernel_fit if len(slots) <= _MAX_SITES_TO_SUM_AGAIN else None
        if quick:
            return quick.held_by_in_flight(slots, self._fleet.in_flight_totals.totals)
        held: list[int] = slots[self._summed_capacity.are_held_by_in_flight(slots)].tolist()
        return held

    @lazy
    def _summed_capacity(self) -> SummedCapacity:
        shape = self._pod_shape
        assert shape is not None  # noqa: S101 - called for single shapes only
        return SummedCapacity(
            self._fleet,
            shape,
            self._node_fit.suitable_profiles(shape)[0],
            self._vendor_sets,
            self._node_fit.selection_of(shape),
        )

    def _replicas_of_shape(self, slots: Ints, shape: PodShape) -> Ints:
        rows = self._fleet.nodes.rows
        index = rows.row_indices(slots)
        per_row = self._node_fit.replicas_per_node(index, slots, shape)
        if shape.skews or shape.one_per:
            lost_to_in_flight = most_lost_at(self._fleet, slots, index, per_row, shape)
            total = replicas_within_spread(
                self._fleet, slots, index, per_row, shape, lost_to_in_flight=lost_to_in_flight
            )
        else:
            per_row *= rows.matrix[COUNT_COLUMN].take(index)
            total = rows.sum_by_site(slots, per_row)
        np.maximum(total, 0.0, out=total)  # more may be in flight than the nodes take
        np.minimum(total, UNLIMITED, out=total)
        return total.astype(np.int64)

    def _subtract_own_nodes(self, slots: Ints, found: Ints, shape: PodShape) -> None:
        """Subtracts nodes that own running replicas may occupy, under per-node and spread limits.

        Reports do not say on which nodes these run, so the worst case counts.
        """
        if not (shape.one_per_node or shape.one_per or shape.skews):
            return
        for position, slot in enumerate(slots.tolist()):
            facts = self._fleet.facts[slot]
            if slot in self._placed_by_slot and facts is not None:
                own_in_flight = sum(
                    each.replicas for each in facts.in_flight if each.workload == self._demand.key
                )
                # The rest of the placed replicas runs on nodes, and is not among what is in flight.
                own_bound = max(0, self._placed_by_slot[slot] - own_in_flight)
                if shape.skews:  # first: it replaces the answer, the next step only lowers it
                    found[position] = self._replicas_beside_own(
                        slot, shape, own_bound, own_in_flight
                    )
                if shape.one_per_node or shape.one_per:
                    found[position] = max(0, int(found[position]) - own_bound)

    def _replicas_beside_own(
        self, slot: int, shape: PodShape, own_bound: int, own_in_flight: int
    ) -> int:
        """Replicas that fit within the spread limits beside the workload's own.

        Own replicas in flight obey these limits too: they take capacity, but cost no more than
        that.
        """
        slots = np.array([slot])
        index = self._fleet.nodes.rows.row_indices(slots)
        free = self._node_fit.replicas_per_node(index, slots, shape)
        own = np.array([float(own_bound)])
        # Own replicas in flight are subtracted at the end instead, one for one.
        lost = most_lost_at(
            self._fleet, slots, index, free, shape, except_workload=self._demand.key
        )
        total = replicas_within_spread(
            self._fleet, slots, index, free, shape, lost_to_in_flight=lost, own_replicas=own
        )
        return int(np.clip(total[0] - own_in_flight, 0, UNLIMITED))

    def _pod_sets_at_slot(self, slot: int) -> int:
        found = pod_sets_at(
            self._fleet,
            slot,
            self._demand,
            permitted=self._permitted_profiles_at(slot),
            is_new=slot not in self._placed_by_slot,
        )
        self.is_exhaustive &= found.is_exact
        return found.sets

    def _permitted_profiles_at(self, slot: int) -> Bools:
        profiles = len(self._fleet.nodes.profiles)
        # Set 0 permits every vendor.
        chosen = 0 if self._vendor_sets is None else int(self._vendor_sets[slot])
        return self._fleet.permitted_profiles()[chosen] if chosen else np.ones(profiles, np.bool_)
