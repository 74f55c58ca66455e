"""Decides with what failover asks: sites to leave, and moves that are taken back on return.

Each attempt is an ordinary decision about an ordinary demand, so every rule holds in it, and the
one that counts is recorded with its demand.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from scheduler.control.orders.sync import OrderSync
from scheduler.control.ports.telemetry import Telemetry
from scheduler.control.state.evictions import Evictions
from scheduler.control.state.failover_rules import workload_failover
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.unready import UnreadyReplacements, UnreadyTask, content_of
from scheduler.control.status import workload as statuses
from scheduler.control.status.conditions import is_spec_changed, is_unplaced
from scheduler.control.status.failover import (
    has_failover,
    with_answers,
    with_drain_condition,
    with_failover,
    with_failover_condition,
)
from scheduler.control.status.migration import health_of
from scheduler.control.status.unready import (
    moves_of,
    with_unready_moves,
    without_settled_unready,
)
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.failover import FailoverMove
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.policy import OnReturn
from scheduler.model.kinds.workload import Workload, WorkloadStatus
from scheduler.placement.failover.fewer import leave_as_many
from scheduler.placement.failover.moving_back import (
    leaving_unready,
    moving_back,
    moving_back_unready,
    reverting,
)
from scheduler.placement.failover.unready import HeldUnready, UnreadyReturn

Choose = Callable[[Demand], Decision]

_MAX_SITES_TRIED = 8


@dataclass(slots=True, kw_only=True)
class FailoverDecisions:
    """What failover adds to decisions about single workloads.

    Attributes:
        objects: the hub's objects.
        order_sync: what sites report of the workload's orders.
        telemetry: counts evictions.
        evictions: which sites each workload is to leave.
        unready: which replicas are to be replaced because they are not ready.
    """

    objects: HubObjects
    order_sync: OrderSync
    telemetry: Telemetry
    evictions: Evictions = field(default_factory=Evictions)
    unready: UnreadyReplacements = field(default_factory=UnreadyReplacements)

    def choose(self, workload: Workload, demand: Demand, choose: Choose) -> tuple[Demand, Decision]:
        """The decision, and the demand that it answers.

        What cannot leave all its sites leaves as many as it can, in the order of their names.
        """
        task = self.unready.take((workload.metadata.namespace, workload.metadata.name))
        if task is not None and not (demand.evicted or is_spec_changed(workload)):
            carried_out = self._choose_unready(workload, demand, choose, task)
            if carried_out is not None:
                return carried_out
        moves = workload.status.failover.moved if workload.status.failover else ()
        if not moves and not demand.evicted:
            return demand, choose(demand)
        on_return = workload_failover(workload, self.objects).rules.on_return if moves else "Keep"
        found = self._choose_back(workload, demand, choose, moves, on_return)
        if found is not None:
            return found
        decision = choose(demand)
        if decision.phase != "Placed":
            demand, decision = leave_as_many(demand, decision, choose)
            return self._without_drains(workload, demand, decision, choose)
        if on_return == "PreferOriginal" and _differs(demand, decision):
            back = self._moving_back(demand, moves)
            for other in back:
                preferred = choose(other)
                if preferred.phase == "Placed":
                    return other, preferred
        return demand, decision

    def _choose_unready(
        self, workload: Workload, demand: Demand, choose: Choose, task: UnreadyTask
    ) -> tuple[Demand, Decision] | None:
        """The decision that carries out a task about replicas that are not ready; None: none can.

        What does not fit elsewhere is no decision: the replicas stay, and the next one is tried.
        """
        asked, line = None, ""
        if demand.mode == "Steady" and not demand.paused:
            if isinstance(task, UnreadyReturn):
                asked = moving_back_unready(demand, task)
            else:
                asked = leaving_unready(demand, task)
        if asked is not None:
            decision = choose(asked)
            if decision.phase == "Placed":
                return asked, decision
            line = decision.line
        site = task.move.site if isinstance(task, UnreadyReturn) else task.site
        staying = demand.placed_replicas.get(site, 0)
        replicas = task.move.replicas if isinstance(task, UnreadyReturn) else task.replicas
        held = HeldUnready(
            reason=task.reason, replicas=replicas, total=staying, why="NoRoom", detail=line
        )
        self.unready.refuse((workload.metadata.namespace, workload.metadata.name), site, held)
        return None

    def _choose_back(
        self,
        workload: Workload,
        demand: Demand,
        choose: Choose,
        moves: tuple[FailoverMove, ...],
        on_return: OnReturn,
    ) -> tuple[Demand, Decision] | None:
        """The decision that takes moves back, where that is asked for and can be done."""
        evicted = set(demand.evicted)
        lost = [one for one in moves if not evicted.isdisjoint(one.to)]
        reverted = reverting(
            demand,
            moves if on_return == "Return" else lost,
            lambda site: self._runs_at(workload, site),
        )
        attempts = [] if reverted is None else [reverted]
        is_anew = bool(evicted) or is_spec_changed(workload) or is_unplaced(workload.status)
        if on_return == "Return" or (on_return == "PreferOriginal" and is_anew):
            attempts.extend(self._moving_back(demand, moves))
        for one in attempts:
            decision = choose(one)
            if decision.phase == "Placed":
                return one, decision
        return None

    def _moving_back(self, demand: Demand, moves: tuple[FailoverMove, ...]) -> Iterator[Demand]:
        """Demands that move all back that can be, then single moves."""
        there = {one.site for one in moves if self._is_there(one.site)}
        together = moving_back(demand, moves, there) if there else None
        if together is None:
            return
        yield together
        if len(there) > 1:
            for site in sorted(there)[:_MAX_SITES_TRIED]:
                alone = moving_back(demand, moves, {site})
                if alone is not None:
                    yield alone

    def _without_drains(
        self, workload: Workload, demand: Demand, decision: Decision, choose: Choose
    ) -> tuple[Demand, Decision]:
        """The decision in which what cannot leave a drained site simply stays there.

        What runs is as good as before, so nothing waits; the drain says why, and tries again.
        """
        key = (workload.metadata.namespace, workload.metadata.name)
        stuck = self.evictions.drained_sites(key)
        if decision.phase == "Placed":
            stuck -= set(demand.evicted)
        for site in stuck:
            if site in demand.placed_replicas:
                self.evictions.stay(key, site, decision.line)
            self.evictions.end(key, site)
        if decision.phase == "Placed" or not stuck:
            return demand, decision
        left = tuple(site for site in demand.evicted if site not in stuck)
        without = msgspec.structs.replace(demand, evicted=left, evicted_keep={})
        return without, choose(without)

    def _is_there(self, site: str) -> bool:
        state = self.order_sync.sites.states.get(site)
        return state is not None and state.is_ready

    def _runs_at(self, workload: Workload, site: str) -> bool:
        share = statuses.shares_of(workload.status).get(site)
        if share is None or not self._is_there(site):
            return False
        view = self.order_sync.site_view(site, self.order_sync.order_id(workload))
        return health_of(share, view) in ("running", "finished")

    def with_decision(
        self, key: WorkKey, status: WorkloadStatus, demand: Demand, decision: Decision
    ) -> WorkloadStatus:
        """The status after a decision, with what it moved."""
        if decision.phase != "Placed":
            return status
        workload = self.objects.workloads.get(key)
        if demand.unready and workload is not None:
            status = with_unready_moves(status, demand, decision, content_of(workload))
            for _ in demand.unready_replicas:
                self.telemetry.count_eviction("unready")
        if not demand.evicted:
            return status
        evictions = self.evictions.at(key)
        after = with_failover(status, demand, decision, evictions, now=decision.decided_at)
        assigned = {one.site for one in decision.assignment}
        for site in demand.evicted:
            if site in demand.placed_replicas and site not in assigned:
                one = evictions.get(site)
                reason = "operator" if one and one.word else one.cause if one else "silent"
                self.telemetry.count_eviction(reason)
                self.evictions.leave(key, site)
        return after

    def with_outcome(self, key: WorkKey, status: WorkloadStatus, now: datetime) -> WorkloadStatus:
        """The status with answers to operators, and with the condition `Failover`."""
        evictions, held = self.evictions.at(key), self.evictions.held_at(key)
        unready, stays = self.unready.held_at(key), self.evictions.stays_at(key)
        if not (evictions or held or unready or stays or has_failover(status)):
            return status
        if evictions:
            is_decided = not self.evictions.is_undecided(key)
            status = with_answers(status, evictions, now=now, is_decided=is_decided)
        workload = self.objects.workloads.get(key)
        if moves_of(status) and workload is not None:
            status = without_settled_unready(status, content_of(workload), now)
        status = with_failover_condition(
            status,
            evictions,
            held,
            known_sites=self.objects.sites,
            now=now,
            unready=unready,
        )
        return with_drain_condition(status, stays, now)


def _differs(demand: Demand, decision: Decision) -> bool:
    assigned = {one.site: one.replicas for one in decision.assignment if one.replicas > 0}
    return assigned != demand.placed_replicas
