"""Decides with what preemption asks: what ends for a workload, and what ends of one for others.

The order of effects: the workload's decision is recorded, its status names the victims, and room is
kept for it; then each victim is decided, recorded and withdrawn; when their sites show them gone,
the workload is decided again by what is there then, and ordered. Before each victim ends it is
looked at again whether the workload still fits with it; if not, it stays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from scheduler.control.preemption.active import ActivePreemption, Preemptions, key_of
from scheduler.control.preemption.victims import VictimFinder
from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.control.state.resolve_demand import lending_book
from scheduler.control.status.migration import shares_in
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.preemption import (
    BorrowedByTenant,
    PossibleVictim,
    PreemptedReplicas,
)
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import PreemptingVictim, Workload
from scheduler.placement.choose import choose
from scheduler.placement.preemption.victim import WAITS_FOR_ROOM

GIVE_UP_AFTER_SECONDS = 600.0
"""After this time a workload whose victims are not gone preempts others."""
LOOK_AGAIN_SECONDS = 5.0
"""A workload whose victims end is looked at again after this time, whatever sites report."""

Choose = Callable[[Demand], Decision]
BorrowedOf = Callable[[Demand], BorrowedByTenant]
"""What others borrow of the guaranteed quota that a demand's tenant needs for it."""


class Considered(NamedTuple):
    """What comes of a decision when preemption is considered.

    Attributes:
        demand: the demand that is decided on.
        decision: the decision.
        is_ending: victims are ending already, so all stays as it is.
    """

    demand: Demand
    decision: Decision
    is_ending: bool = False


@dataclass(slots=True, kw_only=True)
class PreemptionDecisions:
    """What preemption adds to decisions about single workloads.

    Attributes:
        objects: the hub's objects.
        inputs: the fleet, the time and the terms.
        finder: reads possible victims.
        active: the preemptions under way.
        borrowed_of: what a workload's tenant may take back.
        may_end_work_of: the tenants whose work may end for a workload; None: all.
        redecide: has workloads decided again soon.
    """

    objects: HubObjects
    inputs: DecisionInputs
    finder: VictimFinder
    active: Preemptions
    borrowed_of: BorrowedOf
    may_end_work_of: Callable[[Demand], frozenset[str] | None]
    redecide: Callable[[list[WorkKey]], None]

    # ------------------------------------------------------------ the workload that needs room

    def consider(
        self, key: WorkKey, workload: Workload, demand: Demand, decision: Decision, choose: Choose
    ) -> Considered:
        """The decision, with what ends for the workload if it waits for room and may have it.

        Args:
            key: namespace and name.
            workload: as the hub holds it.
            demand: what was decided on.
            decision: the decision without preemption.
            choose: decides on another demand.
        """
        unchanged = Considered(demand, decision)
        active = self.active.of(key)
        if decision.phase != "Waiting":
            self.active.end_pause(key)
            return unchanged
        generation = workload.metadata.generation
        if active is not None:
            if self._still_ends(active, workload):
                self.redecide(self._not_withdrawn(active))
                return Considered(demand, decision, is_ending=True)
            self.active.pause(key, generation)
        if self.active.paused_seconds(key, generation) or not self._may_preempt(decision):
            return unchanged
        reclaim = self.borrowed_of(demand)
        if demand.preemption == "Never" and not reclaim:
            return unchanged
        asked = msgspec.structs.replace(demand, reclaim=reclaim)
        victims = self.finder.candidates(
            asked, self.may_end_work_of(asked), lacks_quota="quota" in decision.reasons
        )
        asked = msgspec.structs.replace(asked, victims=victims)
        found = choose(asked) if asked.victims else decision
        if found.preemption is None:
            self.active.look_again(key, generation)
            return unchanged
        return Considered(asked, found)

    def retry_after_seconds(self, key: WorkKey, workload: Workload) -> float | None:
        """When a waiting workload is to be looked at again for its preemption; None: it need not.

        Args:
            key: namespace and name.
            workload: with the status that is written.
        """
        if workload.status.preempting:
            return LOOK_AGAIN_SECONDS
        return self.active.seconds_to_look(key, workload.metadata.generation)

    def _may_preempt(self, decision: Decision) -> bool:
        return not WAITS_FOR_ROOM.isdisjoint(decision.reasons)

    def _still_ends(self, active: ActivePreemption, workload: Workload) -> bool:
        """Whether victims of a preemption are not gone yet, and it is still worth to wait."""
        if self.active.has_failed(active.key) or not _is_of(active, workload):
            return False
        age = (self.inputs.clock.now() - active.since).total_seconds() if active.since else 0.0
        return age < GIVE_UP_AFTER_SECONDS and bool(self._to_end(active))

    def _not_withdrawn(self, active: ActivePreemption) -> list[WorkKey]:
        """The victims of which more is ordered than is to stay."""
        found = set[WorkKey]()
        for one in active.victims:
            workload = self.objects.workloads.get(key_of(one.workload))
            shares = shares_in(workload.status.placement.groups) if workload else {}
            if one.site in shares and shares[one.site].replicas > one.keep:
                found.add(key_of(one.workload))
        return sorted(found)

    def _to_end(self, active: ActivePreemption) -> list[PossibleVictim]:
        """The victims that are not gone yet, with so many replicas as are to end."""
        named: dict[WorkKey, list[PreemptingVictim]] = {}
        for one in active.victims:
            named.setdefault(key_of(one.workload), []).append(one)
        found = (self.finder.victim(key, only) for key, only in sorted(named.items()))
        return [one for one in found if one is not None]

    # ------------------------------------------------------------ the victims

    def preempted(self, key: WorkKey, workload: Workload) -> tuple[PreemptedReplicas, ...]:
        """The replicas of a workload that end for others now, by site.

        Args:
            key: namespace and name.
            workload: as the hub holds it.
        """
        preemptions = self.active.preemptors_of(key)
        if not preemptions:
            return ()
        shares = shares_in(workload.status.placement.groups)
        replicas = {site: one.replicas for site, one in shares.items()}
        found: dict[str, PreemptedReplicas] = {}
        for active in sorted(preemptions, key=lambda one: one.key):
            due = [
                one
                for one in active.victims
                if key_of(one.workload) == key and replicas.get(one.site, 0) > one.keep
            ]
            if due and self._is_still_needed(active, key):
                for one in due:
                    found[one.site] = _narrower(found.get(one.site), _preempted_by(active, one))
        return tuple(one for _, one in sorted(found.items()))

    def _is_still_needed(self, active: ActivePreemption, victim: WorkKey) -> bool:
        """Whether the workload needs this victim to end, as decided; if not, it is decided again.

        What is decided is the same question as at first, with the victims that are not gone yet.
        """
        workload = self.objects.workloads.get(active.key)
        needed = False
        if self.finder.order_sync.sites.seconds_to_hear(active.place):
            return False  # after a start; the workload has it looked at again
        if workload is not None and _is_of(active, workload):
            demand = self.active.demand_of(workload)
            if demand is not None and not self.active.has_failed(active.key):
                needed = "/".join(victim) in self._victims_of(active, demand)
        if not needed:
            self.active.fail(active.key)
            self.redecide([active.key])
        return needed

    def _victims_of(self, active: ActivePreemption, demand: Demand) -> set[str]:
        """The victims without which the workload does not fit now."""
        left = [msgspec.structs.replace(one, whole=True) for one in self._to_end(active)]
        taken_back = {key_of(one.workload) for one in active.victims if one.reclaimed}
        asked = msgspec.structs.replace(
            demand,
            victims=tuple(left),
            reclaim=self.borrowed_of(demand) if taken_back else {},
            mode="Steady",
        )
        with self.active.released_for(active.key, active.priority):
            found = choose(asked, self.inputs.fleet, now=self.inputs.now(), terms=self.inputs.terms)
        return {one.workload for one in found.preemption.victims} if found.preemption else set()


def _is_of(active: ActivePreemption, workload: Workload) -> bool:
    """Whether a preemption is for the present spec of a workload that is there."""
    meta = workload.metadata
    return meta.deletion_timestamp is None and active.generation == meta.generation


def _preempted_by(active: ActivePreemption, one: PreemptingVictim) -> PreemptedReplicas:
    return PreemptedReplicas(
        site=one.site,
        keep=one.keep,
        by="/".join(active.key),
        priority=active.priority,
        reclaimed=one.reclaimed,
    )


def _narrower(one: PreemptedReplicas | None, other: PreemptedReplicas) -> PreemptedReplicas:
    return other if one is None or other.keep < one.keep else one


def borrowed_from(objects: HubObjects, quotas: Quotas, demand: Demand) -> BorrowedByTenant:
    """What others borrow of the guaranteed quota that a demand's tenant needs for it.

    Args:
        objects: the hub's objects.
        quotas: what placed workloads use.
        demand: the workload that waits for room.
    """
    tenant = objects.tenant_tree.tenants.get(demand.tenant)
    if tenant is None or not tenant.spec.quota:
        return {}
    book = lending_book(objects, quotas, without=key_of(demand.key))
    return book.to_take_back(tenant, demand.quota_usage(demand.replicas, 1))


def tenants_to_end(objects: HubObjects, quotas: Quotas, demand: Demand) -> frozenset[str] | None:
    """The tenants whose work may end for a workload by its priority; None: that of all.

    Args:
        objects: the hub's objects.
        quotas: what placed workloads use.
        demand: the workload that waits for room.
    """
    tenant = objects.tenant_tree.tenants.get(demand.tenant)
    if tenant is None:
        return None
    book = lending_book(objects, quotas, without=key_of(demand.key))
    return book.may_end_work_of(tenant, demand.quota_usage(demand.replicas, 1))
