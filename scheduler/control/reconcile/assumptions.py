"""What decisions hold that are made and not carried out yet, as kube-scheduler's "assume" step.

Between the choice and the written status lie two waits, for the ledger and for the hub, and other
workloads are decided meanwhile. So a decision counts from the moment at which it is made: the room
that it takes at sites, the quota and the budget, its objects' names, and where it is for those that
want to be near it or apart from it. What it gives up counts too until it is carried out. If it
turns out that its status was not written, all of this is undone. If that is not known for certain,
because the write may still arrive, its room is kept until it cannot.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from scheduler.control.orders.build import ordered_of
from scheduler.control.queue.planned_starts import PlannedStarts
from scheduler.control.queue.reservations import Reservations
from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.ownership import ObjectOwnership
from scheduler.control.state.quotas import Quotas, QuotaUse
from scheduler.control.status import workload as statuses
from scheduler.control.status.migration import SiteShare
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import OrderGeneration
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload, WorkloadStatus


@dataclass(frozen=True, slots=True)
class _Assumed:
    """What is held for one workload.

    Attributes:
        order_id: the id of its orders.
        generations: (site, generation) of what counts in flight only by this decision.
        quota_before: what it used of its quota before.
    """

    order_id: str
    generations: tuple[tuple[str, int], ...]
    quota_before: QuotaUse


@dataclass(frozen=True, slots=True)
class Doubt:
    """Until when the write of a decision that is undone may arrive.

    Attributes:
        version: the resourceVersion that it names; the hub refuses it once the object has another.
        until_seconds: monotonic time at which no request is on its way any longer.
    """

    version: str
    until_seconds: float


@dataclass(frozen=True, slots=True)
class _Doubtful:
    """The room of a decision that is undone and may still arrive: (site, id, what)."""

    doubt: Doubt
    orders: tuple[tuple[str, str, OrderGeneration], ...]


@dataclass(slots=True, kw_only=True)
class Assumptions:
    """The decisions that are in flight, one per workload.

    Attributes:
        objects: shows workloads with the placements that are decided.
        sites: counts ordered pods as in flight.
        quotas: counts what workloads use of their quotas and budgets.
        ownership: which workload owns which Kubernetes object.
        reservations: what is reserved for a workload is not held twice.
        planned: the room that planned starts keep.
    """

    objects: HubObjects
    sites: Sites
    quotas: Quotas
    ownership: ObjectOwnership
    reservations: Reservations
    planned: PlannedStarts
    _assumed: dict[WorkKey, _Assumed] = field(default_factory=dict)
    _doubtful: dict[WorkKey, list[_Doubtful]] = field(default_factory=dict)
    _attempts: int = 0

    def keys(self) -> frozenset[WorkKey]:
        """The workloads whose decisions are on their way."""
        return frozenset(self._assumed)

    def assume(
        self,
        key: WorkKey,
        workload: Workload,
        status: WorkloadStatus,
        demand: Demand,
        order_id: str,
    ) -> None:
        """Has all later decisions count with this one; it must not wait after the choice.

        Args:
            key: namespace and name.
            workload: as it was decided.
            status: after the decision.
            demand: what was decided on.
            order_id: the id of its orders.
        """
        before, after = statuses.shares_of(workload.status), statuses.shares_of(status)
        added: list[tuple[str, int]] = []
        for site, share in after.items():
            is_known = site in before and before[site].generation == share.generation
            if not is_known and not self.sites.has_ordered(site, order_id, share.generation):
                self.sites.set_order(site, order_id, ordered_of(demand, share))
                added.append((site, share.generation))
        usage = {site: one.replicas for site, one in after.items() if not one.is_parked}
        quota_before = self.quotas.assume_usage(key, demand, usage)
        self._assumed[key] = _Assumed(order_id, tuple(added), quota_before)
        decided = msgspec.structs.replace(workload, status=status)
        self.objects.assume(key, decided)
        self.planned.note(key, decided, demand)
        if status.phase == "Placed":
            self.reservations.set_taken(key, is_taken=True)

    def settle(self, key: WorkKey, shares: Mapping[str, SiteShare]) -> bool:
        """The decision is carried out, and what it uses is accounted for.

        Args:
            key: the workload.
            shares: what is ordered by site. What was assumed beyond it is given back.

        Returns:
            Whether another workload may have a name now that it was refused.
        """
        if held := self._end(key):
            for site, generation in held.generations:
                if site not in shares or shares[site].generation != generation:
                    self.sites.drop_generation(site, held.order_id, generation)
        return self.ownership.settle(key)

    def undo(self, key: WorkKey, doubt: Doubt | None = None) -> bool:
        """The decision is not carried out.

        Args:
            key: the workload.
            doubt: its write may still arrive, so its room is kept; None: it cannot.

        Returns:
            Whether another workload may have a name now that it was refused.
        """
        if held := self._end(key):
            kept = self._orders_of(held) if doubt else ()
            for site, generation in held.generations:
                self.sites.drop_generation(site, held.order_id, generation)
            if doubt and kept:
                self._doubtful.setdefault(key, []).append(_Doubtful(doubt, kept))
                self._keep(kept)
            self.quotas.restore(key, held.quota_before)
            self.planned.note(key, self.objects.workloads.get(key))
        return self.ownership.undo(key)

    def _orders_of(self, held: _Assumed) -> tuple[tuple[str, str, OrderGeneration], ...]:
        """What counts only by a decision, with an id for each attempt: they may differ."""
        self._attempts += 1
        order_id = f"{held.order_id}?{self._attempts}"
        found = []
        for site, generation in held.generations:
            state = self.sites.states.get(site)
            known = state.ordered.get(held.order_id, ()) if state else ()
            found += [(site, order_id, one) for one in known if one.generation == generation]
        return tuple(found)

    def _keep(self, orders: tuple[tuple[str, str, OrderGeneration], ...]) -> None:
        for site, order_id, one in orders:
            self.sites.set_order(site, order_id, one)

    @contextmanager
    def without_doubts(self, key: WorkKey, version: str, now_seconds: float) -> Iterator[None]:
        """Meanwhile the room that a workload's late writes would take is free for itself.

        Args:
            key: the workload.
            version: the resourceVersion of its object; writes that name another one are refused.
            now_seconds: monotonic time.
        """
        doubtful = self._doubtful.get(key, ())
        if not doubtful:
            yield
            return
        self.end_doubts(key)
        try:
            yield
        finally:
            kept = [
                one
                for one in doubtful
                if one.doubt.version == version and now_seconds < one.doubt.until_seconds
            ]
            if kept:
                self._doubtful[key] = kept
            for one in kept:
                self._keep(one.orders)

    def doubted_until_seconds(self, key: WorkKey) -> float | None:
        """Until when room is kept for writes of a workload that may arrive; None: for none."""
        doubtful = self._doubtful.get(key, ())
        return max((one.doubt.until_seconds for one in doubtful), default=None)

    def end_doubts(self, key: WorkKey) -> None:
        """No earlier write of a workload can arrive: its object has another version, or is gone."""
        for one in self._doubtful.pop(key, ()):
            for site, order_id, _ in one.orders:
                self.sites.set_order(site, order_id, None)

    def _end(self, key: WorkKey) -> _Assumed | None:
        self.objects.end_assumption(key)
        self.reservations.set_taken(key, is_taken=False)
        return self._assumed.pop(key, None)
