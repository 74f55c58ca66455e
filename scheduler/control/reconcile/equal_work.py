"""Decides equal workloads together: in one step that never waits, and with one record.

Either nothing of them runs yet, or all that runs of them is to leave its sites.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from scheduler.control.orders.sync import OrderSync
from scheduler.control.queue.requeue import RequeueReasons
from scheduler.control.queue.reservations import Reservations
from scheduler.control.reconcile.assumptions import Assumptions
from scheduler.control.reconcile.decide import Decider
from scheduler.control.reconcile.draft import Draft, EqualMember
from scheduler.control.reconcile.equal_moves import EqualMoves, is_same_but_manifests
from scheduler.control.reconcile.progress import Begun, Flight, Step
from scheduler.control.reconcile.triggers import demand_to_decide
from scheduler.control.reconcile.unmarked import UnmarkedDecisions
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.resolve_demand import depends_on_other_placements
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.placement.equal_work import is_whole_move
from scheduler.runtime.clock import Clock

_FEW_TOGETHER = 8
_MAX_READ_SECONDS = 0.015
"""So long the demands of equal workloads are read before they are decided, if they are more than a
few; what else the step does takes up to twice as long for each of them again."""


@dataclass(slots=True, kw_only=True)
class EqualWork:
    """Finds workloads that are equal, and decides them together.

    Attributes:
        objects: the hub's objects.
        decider: makes decisions.
        order_sync: finds the incarnation of workloads.
        assumptions: holds what decisions use until they are carried out.
        requeue_reasons: why placed workloads are decided again.
        reservations: released for a workload while it is decided.
        unmarked: finds decisions that a killed scheduler has recorded and not carried out.
        clock: bounds the time of a step.
        prepare: has ready what a decision about a workload reads elsewhere.
        resolve_demand: gives the demand of a workload, or why it is not accepted.
        seconds_to_hear: gives how long a workload waits for sites after a start.
        has_late_write: whether the write of an undone decision may still appear.
        undo: ends what is assumed of a workload.
        abandon: undoes what is decided, if it is not carried out.
    """

    objects: HubObjects
    decider: Decider
    order_sync: OrderSync
    assumptions: Assumptions
    requeue_reasons: RequeueReasons
    reservations: Reservations
    unmarked: UnmarkedDecisions
    clock: Clock
    prepare: Callable[[Workload], Awaitable[None]]
    resolve_demand: Callable[[Workload], Demand | NotAccepted]
    seconds_to_hear: Callable[[Workload], float]
    has_late_write: Callable[[WorkKey], bool]
    undo: Callable[[WorkKey], None]
    abandon: Callable[[WorkKey, Begun], None]
    _moves: EqualMoves = field(init=False)

    def __post_init__(self) -> None:
        self._moves = EqualMoves(
            objects=self.objects,
            failover=self.decider.failover,
            requeue_reasons=self.requeue_reasons,
        )

    def look_alike(self, key: WorkKey, other: WorkKey) -> bool:
        """Whether two workloads may have equal demands, as far as a glance shows.

        Both are in one namespace, nothing of them runs or they move alike, and their specs are the
        same but for their manifests.
        """
        one, two = self.objects.workloads.get(key), self.objects.workloads.get(other)
        if one is None or two is None or key[0] != other[0]:
            return False
        if not _is_unplaced_work(one):
            return self._moves.look_alike(key, other)
        return _is_unplaced_work(two) and is_same_but_manifests(one, two)

    async def begin_together(self, keys: Sequence[WorkKey]) -> dict[WorkKey, Begun]:
        """Decides workloads in one step and with one record, as far as they are equal.

        Args:
            keys: in the order in which they wait; none is being reconciled.

        Returns:
            The first ones of them, decided, to be carried out with `finish`; empty: they have to be
            reconciled one by one.

        Raises:
            HubError: the hub does not answer; nothing was decided.
        """
        for key in keys:
            workload = self.objects.workloads.get(key)
            if workload is not None:
                await self.prepare(workload)
        members = self._equal_members(keys)
        begun: dict[WorkKey, Begun] = {}
        try:
            if len(members) > 1:
                begun = self._decide_together(members)
        finally:
            for member in members:
                if member.key not in begun:
                    self.undo(member.key)
        return begun

    def _decide_together(self, members: Sequence[EqualMember]) -> dict[WorkKey, Begun]:
        """Chooses and assumes, all without waiting."""
        begun: dict[WorkKey, Begun] = {}
        # What is chosen is in the fleet already. At the end the facts that count with what is
        # assumed take its place.
        with self.assumptions.sites.gathering() as sites:
            with self.reservations.released_for(members[0].key, members[0].workload.spec.priority):
                drafts = self.decider.decide_together(members, sites)
            try:
                for member, draft in zip(members, drafts or (), strict=False):  # the first ones
                    begun[member.key] = self._assume_member(member, draft)
            except BaseException:
                for key, one in begun.items():
                    self.abandon(key, one)
                raise
        return begun

    def _assume_member(self, member: EqualMember, draft: Draft) -> Begun:
        key = member.key
        if draft.demand is not None:
            order_id = self.order_sync.order_id(member.workload)
            self.assumptions.assume(key, member.workload, draft.status, draft.demand, order_id)
        return Begun(
            workload=member.as_read,
            requeue_reason=self.requeue_reasons.take(key),
            step=Step(
                workload=member.workload,
                demand=member.demand,
                draft=draft,
                is_identified=True,
                unmarked=self.unmarked.take(key, member.workload),
            ),
            flight=Flight(base=self.objects.raw_workloads[key]),
        )

    def _equal_members(self, keys: Sequence[WorkKey]) -> list[EqualMember]:
        """The first ones of these workloads that are equal, read within a bounded time."""
        members: list[EqualMember] = []
        started_seconds = self.clock.monotonic()
        for key in keys:
            member = self._member(key)
            if member is None:
                break
            if not members:
                if not self._may_begin(member.demand):
                    self.undo(key)
                    break
            elif not self._belongs_to(members[0], member):
                self.undo(key)
                break
            members.append(member)
            is_late = self.clock.monotonic() - started_seconds > _MAX_READ_SECONDS
            if is_late and len(members) >= _FEW_TOGETHER:
                break
        return members

    def _member(self, key: WorkKey) -> EqualMember | None:
        """A workload that may be decided with others; None: it is decided alone."""
        workload = self.objects.workloads.get(key)
        if workload is None or self.has_late_write(key):
            return None
        is_move = not _is_unplaced_work(workload)
        if is_move and not self._moves.is_plain(key, workload):
            return None
        if self._waits_for_others(key, workload):
            return None
        identified = self.order_sync.identify(key, workload)
        if isinstance(identified, NotAccepted):
            return None
        demand = self.resolve_demand(identified)
        if isinstance(demand, NotAccepted) or bool(demand.placed) != is_move or not demand.replicas:
            self.undo(key)
            return None
        demand = demand_to_decide(identified, demand, is_policy_changed=False)
        return EqualMember(key=key, as_read=workload, workload=identified, demand=demand)

    def _waits_for_others(self, key: WorkKey, workload: Workload) -> bool:
        """Whether room is kept for it, sites are to report first, or it is to be near others."""
        return (
            self.reservations.is_reserved_for(key)
            or bool(self.seconds_to_hear(workload))
            or depends_on_other_placements(workload, self.objects)
        )

    def _may_begin(self, demand: Demand) -> bool:
        return is_whole_move(demand) if demand.placed else self.decider.may_decide_together(demand)

    def _belongs_to(self, first: EqualMember, other: EqualMember) -> bool:
        """Whether two demands differ in nothing but the name."""
        demand = msgspec.structs.replace(other.demand, key=first.demand.key, uid=first.demand.uid)
        if demand != first.demand:
            return False
        return bool(demand.placed) or not self.decider.is_assigned(other.demand)


def _is_unplaced_work(workload: Workload) -> bool:
    """Whether it waits to be placed, and nothing of it is left anywhere."""
    status = workload.status
    return (
        workload.metadata.deletion_timestamp is None
        and not status.placement.groups
        and not status.remains
        and status.phase not in ("Completed", "Deleting")
    )
