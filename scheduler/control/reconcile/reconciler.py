"""Reconciles one workload, from its spec to its orders: decide, record, write, order.

Level-based, as Kubernetes' controllers are: a reconciliation compares the desired with the present
state and does what is missing, so that the process may be killed between any two steps. The order
of effects is a promise: first the ledger, then the status (one API write), then the orders.

Many workloads are reconciled at once. What reads, chooses and assumes is one step that never waits,
so every decision sees all decisions before it, also those that are still on their way.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from scheduler.control.events.recorder import EventRecorder
from scheduler.control.orders.sync import OrderSync
from scheduler.control.ports.hub import Object
from scheduler.control.queue.requeue import RequeueReason, RequeueReasons
from scheduler.control.queue.reservations import Reservations
from scheduler.control.reconcile.accepted_specs import AcceptedSpecs
from scheduler.control.reconcile.assumptions import Assumptions
from scheduler.control.reconcile.decide import Decider
from scheduler.control.reconcile.draft import Draft, EqualMember, ReconcileResult, outcome_of
from scheduler.control.reconcile.health_pauses import HealthPauses
from scheduler.control.reconcile.triggers import cannot_wait, demand_to_decide
from scheduler.control.reconcile.unmarked import UnmarkedDecisions
from scheduler.control.reconcile.workload_writer import WorkloadWriter
from scheduler.control.state.manifest_checks import ManifestChecks
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.ownership import ObjectOwnership, conflict_refusal
from scheduler.control.state.resolve_demand import (
    depends_on_other_placements,
    policies_of,
    resolve_demand,
)
from scheduler.control.stats.workloads import WorkloadStats
from scheduler.control.status import workload as statuses
from scheduler.control.status.accepted import ORDERS_KEPT, kept_orders_condition
from scheduler.control.status.conditions import (
    MAX_SITES_LISTED,
    is_decided,
    set_condition,
    stuck_condition,
)
from scheduler.control.status.failover import given_up_sites
from scheduler.control.status.finalizer import FINALIZER, has_finalizer
from scheduler.control.status.kstatus import has_failed_site, with_kstatus
from scheduler.control.status.manifest_fields import (
    FIELDS_LEFT,
    FIELDS_REMOVED,
    left_fields_condition,
    removed_fields_condition,
)
from scheduler.control.status.not_enforced import not_enforced_condition
from scheduler.control.status.phase import MAX_TEXT_LENGTH
from scheduler.control.status.remains import SiteLeft, with_remains, withdrawn_condition
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.formatters import format_list
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import DecisionReference, Workload, WorkloadStatus
from scheduler.placement.divide.disaster_recovery import total_replicas_of
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_FEW_TOGETHER = 8
_MAX_READ_SECONDS = 0.015
"""So long the demands of equal workloads are read before they are decided, if they are more than a
few; what else the step does takes up to twice as long for each of them again."""
_KILLED = "the scheduler ended before its status was written"
_AS_DECIDED = {("Placed", "Running"), ("Placed", "Completed"), ("Running", "Completed")}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What one step that never waits has made of a workload.

    Attributes:
        workload: as it was read, with its incarnation.
        demand: of its spec, or why that is not accepted.
        draft: what is decided.
        is_identified: its incarnation is known.
        unmarked: ids of decisions that a killed scheduler has recorded and not carried out.
    """

    workload: Workload
    demand: Demand | NotAccepted
    draft: Draft
    is_identified: bool
    unmarked: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Flight:
    """How far a decision has come.

    Attributes:
        base: the object in the hub that it was decided on.
        references: its records.
        is_written: its status is written.
    """

    base: Object
    references: list[DecisionReference] = field(default_factory=list)
    is_written: bool = False


@dataclass(slots=True, kw_only=True)
class Begun:
    """A workload that is decided, and whose decision is not carried out yet.

    Attributes:
        workload: as it was read.
        requeue_reason: why it was decided.
        step: what is decided.
        flight: how far the decision has come.
        is_ended: it was carried out, or undone.
    """

    workload: Workload
    requeue_reason: RequeueReason
    step: _Step
    flight: _Flight
    is_ended: bool = False


@dataclass(slots=True, kw_only=True)
class Reconciler:
    """Does for each workload what its present state lacks; the same one never twice at once.

    Attributes:
        objects: the hub's objects.
        decider: makes and records decisions.
        accepted: what was accepted last.
        writer: writes to the objects in the hub.
        order_sync: orders what a written status says.
        ownership: which workload owns which Kubernetes object.
        assumptions: holds what decisions use until they are carried out.
        requeue_reasons: why placed workloads are decided again.
        reservations: released for a workload while it is decided.
        events: records what happens for `kubectl describe`.
        stats: counts for metrics and the web page.
        clock: for the times of conditions.
        faults: handles what fails in reading a spec.
        epoch: gives the leader's epoch.
        stuck_after_seconds: an order that does not run for this long sets StuckInFlight.
        on_names_freed: called when a workload gives up names that others were refused.
        health_pauses: holds back writes that say only how many replicas are ready.
        unmarked: finds decisions that a killed scheduler has recorded and not carried out.
        manifest_checks: checks manifests by the schemas of their kinds.
    """

    objects: HubObjects
    decider: Decider
    accepted: AcceptedSpecs
    writer: WorkloadWriter
    order_sync: OrderSync
    ownership: ObjectOwnership
    assumptions: Assumptions
    requeue_reasons: RequeueReasons
    reservations: Reservations
    events: EventRecorder
    stats: WorkloadStats
    clock: Clock
    faults: Faults
    epoch: Callable[[], int]
    stuck_after_seconds: float
    on_names_freed: Callable[[], None]
    health_pauses: HealthPauses
    unmarked: UnmarkedDecisions
    manifest_checks: ManifestChecks = field(default_factory=ManifestChecks)
    _late_writes: dict[WorkKey, tuple[frozenset[str], WorkloadStatus]] = field(default_factory=dict)

    async def reconcile(self, key: WorkKey) -> ReconcileResult:
        """Reconciles one workload.

        Raises:
            HubError: the hub refused a write or could not do it; the caller tries again.
        """
        workload = self.objects.workloads.get(key)
        if workload is None:
            return await self._handle_missing(key)
        if workload.metadata.deletion_timestamp is not None:
            return await self._withdraw(key, workload)
        await self._prepare(workload)
        if self.objects.workloads.get(key) is not workload:  # changed or deleted meanwhile
            return await self.reconcile(key)
        held = self._held_until_heard(key, workload)
        if held is not None:
            return held
        return await self.finish(key, self._begin(key, workload))

    async def _prepare(self, workload: Workload) -> None:
        """Has all that is to be read elsewhere ready: a decision does not wait."""
        await self.manifest_checks.check(workload)
        if self.accepted.needs_load(workload):
            await self.accepted.load(workload)

    def _begin(self, key: WorkKey, workload: Workload) -> Begun:
        """Decides about one workload."""
        requeue_reason = self.requeue_reasons.take(key)
        flight = _Flight(base=self.objects.raw_workloads[key])
        try:
            step = self._decide(key, workload, requeue_reason)
        except BaseException:
            self._give_up(key, requeue_reason)
            raise
        return Begun(workload=workload, requeue_reason=requeue_reason, step=step, flight=flight)

    async def finish(self, key: WorkKey, begun: Begun) -> ReconcileResult:
        """Carries out what is decided; what fails of it is undone.

        Raises:
            HubError: the hub refused a write or could not do it; the caller tries again.
        """
        flight = begun.flight
        try:
            outcome = await self._carry_out(key, begun.step, flight)
            begun.is_ended = True
        except Exception as error:
            self._undo(key)
            if flight.references and not flight.is_written:
                self._note_late_write(key, begun.workload.status, flight)
                names = [one.name for one in flight.references]
                await self.decider.record_not_carried_out(begun.workload, names, str(error))
            raise
        finally:
            self.abandon(key, begun)
        return outcome

    def abandon(self, key: WorkKey, begun: Begun) -> None:
        """Undoes what is decided, if it is not carried out."""
        if not begun.is_ended:
            begun.is_ended = True
            self._give_up(key, begun.requeue_reason)

    def _give_up(self, key: WorkKey, requeue_reason: RequeueReason) -> None:
        self._undo(key)
        self.requeue_reasons.restore(key, requeue_reason)

    # ------------------------------------------------------------ equal workloads together

    def look_alike(self, key: WorkKey, other: WorkKey) -> bool:
        """Whether two workloads may have equal demands, as far as a glance shows.

        Both are in one namespace, nothing of them runs, and their specs are the same but for their
        manifests.
        """
        one, two = self.objects.workloads.get(key), self.objects.workloads.get(other)
        if one is None or two is None or key[0] != other[0]:
            return False
        if not (_is_unplaced_work(one) and _is_unplaced_work(two)):
            return False
        if len(one.spec.manifests) != len(two.spec.manifests):
            return False
        without = msgspec.structs.replace(two.spec, manifests=one.spec.manifests)
        return one.spec == without

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
                await self._prepare(workload)
        members = self._equal_members(keys)
        begun: dict[WorkKey, Begun] = {}
        try:
            if len(members) > 1:
                begun = self._decide_together(members)
        finally:
            for member in members:
                if member.key not in begun:
                    self._undo(member.key)
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
                for member, draft in zip(members, drafts or (), strict=drafts is not None):
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
            step=_Step(
                workload=member.workload,
                demand=member.demand,
                draft=draft,
                is_identified=True,
                unmarked=self.unmarked.take(key, member.workload),
            ),
            flight=_Flight(base=self.objects.raw_workloads[key]),
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
                if not self.decider.may_decide_together(member.demand):
                    self._undo(key)
                    break
            elif not self._belongs_to(members[0], member):
                self._undo(key)
                break
            members.append(member)
            is_late = self.clock.monotonic() - started_seconds > _MAX_READ_SECONDS
            if is_late and len(members) >= _FEW_TOGETHER:
                break
        return members

    def _member(self, key: WorkKey) -> EqualMember | None:
        """A workload that may be decided with others; None: it is decided alone."""
        workload = self.objects.workloads.get(key)
        if workload is None or not _is_unplaced_work(workload) or key in self._late_writes:
            return None
        if self.reservations.is_reserved_for(key) or self._seconds_to_hear(workload):
            return None
        if depends_on_other_placements(workload, self.objects):
            return None
        identified = self.order_sync.identify(key, workload)
        if isinstance(identified, NotAccepted):
            return None
        demand = self.resolve_demand(identified)
        if isinstance(demand, NotAccepted) or demand.placed or not demand.replicas:
            self._undo(key)
            return None
        demand = demand_to_decide(identified, demand, is_policy_changed=False)
        return EqualMember(key=key, as_read=workload, workload=identified, demand=demand)

    def _belongs_to(self, first: EqualMember, other: EqualMember) -> bool:
        """Whether two demands differ in nothing but the name."""
        demand = msgspec.structs.replace(other.demand, key=first.demand.key, uid=first.demand.uid)
        return demand == first.demand and not self.decider.is_assigned(other.demand)

    def _decide(self, key: WorkKey, workload: Workload, requeue_reason: RequeueReason) -> _Step:
        """Reads, chooses and assumes, all without waiting."""
        workload, requeue_reason = self._without_late_write(key, workload, requeue_reason)
        identified = self.order_sync.identify(key, workload)
        if isinstance(identified, NotAccepted):
            demand: Demand | NotAccepted = identified
        else:
            workload = identified
            demand = self.resolve_demand(workload)
        with self.reservations.released_for(key, workload.spec.priority):
            draft = self.decider.decide(key, workload, demand, requeue_reason)
        if draft.demand is not None:
            order_id = self.order_sync.order_id(workload)
            self.assumptions.assume(key, workload, draft.status, draft.demand, order_id)
        is_identified = not isinstance(identified, NotAccepted)
        unmarked = self.unmarked.take(key, workload) if is_identified else ()
        return _Step(
            workload=workload,
            demand=demand,
            draft=draft,
            is_identified=is_identified,
            unmarked=unmarked,
        )

    async def _carry_out(self, key: WorkKey, step: _Step, flight: _Flight) -> ReconcileResult:
        """Records, writes and orders what is decided."""
        workload, demand, draft = step.workload, step.demand, step.draft
        await self.decider.record_not_carried_out(workload, step.unmarked, _KILLED)
        await self._record(key, draft, flight)
        status = draft.status
        if flight.references:
            status = msgspec.structs.replace(status, decision=flight.references[-1])
        status = self._with_health_and_conditions(key, workload, status, demand)
        basis, has_content = self._basis_of_orders(step, status)
        if basis is not None:
            status = self.order_sync.with_order_digests(key, basis, has_content=has_content)
        held_seconds = 0.0
        if not flight.references and key not in self._late_writes:
            held_seconds = self.health_pauses.hold(key, workload.status, status)
        if not held_seconds:
            if draft.too_large is not None:
                await self.accepted.store(workload, draft.too_large)
            if await self.writer.write_status(key, flight.base, status):
                self._late_writes.pop(key, None)  # what is late names a version that is no more
            flight.is_written = True
        frees_names = self.assumptions.settle(key, statuses.shares_of(status))
        # As it was decided: what the watch has brought meanwhile is not decided yet.
        if basis is not None:
            written = msgspec.structs.replace(basis, status=status)
            self._order(key, written, demand, has_content=has_content)
        elif step.is_identified and not status.placement.groups:
            self.order_sync.release_indexes(key)
        await self.accepted.remove_former(workload, status.accepted)
        self.stats.record_status(key, status, demand)
        self._record_events(workload, status)
        if not status.placement.groups:
            frees_names |= self.ownership.release_unplaced(key)
        retry = held_seconds or draft.outcome.retry_after_seconds
        return replace(draft.outcome, frees_names=frees_names, retry_after_seconds=retry)

    def _held_until_heard(self, key: WorkKey, workload: Workload) -> ReconcileResult | None:
        """The outcome for decided work that waits for its sites after a start; None: it does not.

        What sites have not reported yet would be written to each workload, and their first reports
        would take it back. Only what cannot wait is done: a right may have ended, a Site be gone or
        tainted, an operator may evict, or there is room for what was placed nowhere.
        """
        seconds = self._seconds_to_hear(workload)
        if not seconds:
            return None
        held = ReconcileResult("unchanged", retry_after_seconds=seconds)
        is_placed = bool(workload.status.placement.groups)
        if is_placed and not self.requeue_reasons.needs_redecision(key):
            return held
        found = self._preview(key, workload)
        if found is None:
            return held
        demand, decision = found
        if is_placed:
            return None if cannot_wait(workload.status, decision) else held
        if decision.assignment:
            return None
        waits = outcome_of(decision, demand)
        until = min(seconds, waits.retry_after_seconds or seconds)
        return replace(waits, result="unchanged", retry_after_seconds=until)

    def _preview(self, key: WorkKey, workload: Workload) -> tuple[Demand, Decision] | None:
        """What would be decided now; None: it is not known."""
        identified = self.order_sync.identify(key, workload)
        if isinstance(identified, NotAccepted):
            return None
        try:
            return self.decider.preview(key, identified, self.resolve_demand(identified))
        finally:
            self._undo(key)

    def _seconds_to_hear(self, workload: Workload) -> float:
        """How long a workload that is decided waits for sites after a start; 0: not at all.

        One that is placed waits for its own sites, any other for all that reported before.
        """
        if not is_decided(workload):
            return 0.0
        sites = {site for group in workload.status.placement.groups for site in group.sites}
        known = self.order_sync.sites
        return known.seconds_to_hear(sites) if sites else known.seconds_to_hear_known()

    async def _record(self, key: WorkKey, draft: Draft, flight: _Flight) -> None:
        """Records what is decided and sets the finalizer, which no order goes out without.

        Neither waits for the other; both have ended when this ends.
        """
        if has_finalizer(flight.base):
            flight.references = await self.decider.record(draft)
            return
        async with asyncio.TaskGroup() as group:
            recording = group.create_task(_outcome_of(self.decider.record(draft)))
            writing = group.create_task(_outcome_of(self.writer.ensure_finalizer(key, flight.base)))
        references, base = recording.result(), writing.result()
        if isinstance(references, Exception):
            raise references
        flight.references = references
        if isinstance(base, Exception):
            raise base
        flight.base = base

    def _undo(self, key: WorkKey) -> None:
        """Ends what was assumed, if anything is; other workloads may have the names again."""
        if self.assumptions.undo(key):
            self.on_names_freed()

    def _note_late_write(self, key: WorkKey, status: WorkloadStatus, flight: _Flight) -> None:
        """Remembers an undone decision whose write may appear, and the status before it.

        It may even after a conflict: a proxy or a client library sends a request again when the
        answer is cut off, and then the answer is the conflict of the second with the first.
        """
        ids, former = self._late_writes.get(key, (frozenset[str](), status))
        self._late_writes[key] = (ids | {one.id for one in flight.references}, former)

    def _without_late_write(
        self, key: WorkKey, workload: Workload, requeue_reason: RequeueReason
    ) -> tuple[Workload, RequeueReason]:
        """The workload without what a write has brought after its decision was undone.

        Others have been decided as if it had no effect, so it is decided again from the status
        before it; nothing of it was ordered.
        """
        ids, former = self._late_writes.get(key, (frozenset[str](), workload.status))
        reference = workload.status.decision
        if reference is None or reference.id not in ids:
            return workload, requeue_reason
        workload = msgspec.structs.replace(workload, status=former)
        return workload, replace(requeue_reason, needs_redecision=True)

    def _basis_of_orders(self, step: _Step, status: WorkloadStatus) -> tuple[Workload | None, bool]:
        """What the orders after a status are made of, and whether they can be made of it.

        A spec that is not accepted is never ordered: what remains follows the one before it. None:
        the orders stay as they are.
        """
        written = msgspec.structs.replace(step.workload, status=status)
        if isinstance(step.demand, Demand):
            return written, True
        if status.placement == step.workload.status.placement or not step.is_identified:
            return None, False
        former = self.accepted.last_accepted(step.workload)
        if former is None:
            return written, False
        return msgspec.structs.replace(written, spec=former.spec), former.is_complete

    def _order(
        self,
        key: WorkKey,
        workload: Workload,
        demand: Demand | NotAccepted,
        *,
        has_content: bool,
    ) -> None:
        """Orders what a written status says, of the spec that was accepted."""
        if isinstance(demand, NotAccepted):
            former = self.accepted.last_accepted(workload)
            if former is None:
                shares = statuses.shares_of(workload.status)
                self.order_sync.plan_orders(key, workload, shares, has_content=False)
                return
            demand = former.demand
        self.order_sync.sync_orders(key, demand, workload, has_content=has_content)

    def _record_events(self, before: Workload, status: WorkloadStatus) -> None:
        """Records an event for each new decision, and for what sites do that is not as decided.

        That it runs or completes as decided is no event of its own: the status says so.
        """
        old = before.status
        is_bad = status.phase in ("Refused", "Waiting", "Degraded")
        if status.decision and status.decision != old.decision:
            reason = "Accepted" if not status.phase else str(status.phase)
            self.events.record(
                before, reason=reason, message=status.decision.line, is_warning=is_bad
            )
        elif (
            status.phase
            and status.phase != old.phase
            and (old.phase, status.phase) not in _AS_DECIDED
        ):
            message = status.reason or f"{status.readiness} ready"
            self.events.record(before, reason=status.phase, message=message, is_warning=is_bad)

    def claim_all_objects(self) -> None:
        """Claims the Kubernetes objects of all workloads after a start, the placed ones first."""
        self.ownership.claim_all(self.objects.workloads.values())

    async def _handle_missing(self, key: WorkKey) -> ReconcileResult:
        # An object that cannot be decoded is not gone: what runs of it stays.
        if ("Workload", key) in self.objects.invalid:
            return ReconcileResult("not-accepted")
        await self.decider.record_deletion(key, "")
        self._forget(key)
        return ReconcileResult("deleted")

    def _forget(self, key: WorkKey) -> None:
        """Releases all that is held for a workload: its objects, quota and orders."""
        self.ownership.release(key)
        self.accepted.forget(key)
        self._late_writes.pop(key, None)
        self.health_pauses.forget(key)
        self.order_sync.forget(key)
        self.unmarked.forget(key)
        self.requeue_reasons.forget(key)
        self.decider.failover.evictions.forget(key)
        self.decider.failover.unready.forget(key)
        self.stats.forget(key)

    def resolve_demand(self, workload: Workload) -> Demand | NotAccepted:
        """The demand of a workload, or why it is not accepted.

        Reading a spec depends on nothing but the spec and other objects, so a fault in it would
        come again with every attempt; the status names it at once.
        """
        demand: Demand | NotAccepted = NotAccepted(
            reason="invalid",
            condition="NotReadable",
            message="the spec cannot be read; the scheduler's log has the fault",
        )
        with self.faults.barrier("workload"):
            demand = self._resolve(workload)
        return demand  # noqa: RET504 - after a fault it is the refusal

    def _resolve(self, workload: Workload) -> Demand | NotAccepted:
        conflict = self.ownership.claim(workload)
        if conflict is not None:
            return conflict_refusal(*conflict)
        refusal = self.manifest_checks.refusal_of(workload)
        if refusal is not None:
            return refusal
        adopted = self.order_sync.with_adopted_placement(workload)
        key = (workload.metadata.namespace, workload.metadata.name)
        demand = resolve_demand(
            adopted,
            self.objects,
            self.order_sync.quotas,
            evicted=self.decider.failover.evictions.sites_to_leave(key),
        )
        if isinstance(demand, Demand):
            self.order_sync.node_labels.record(key, demand)
            keeps = self.decider.failover.evictions.keeps(key)
            if keeps:  # the rest of the replicas stays where it is until the next step
                demand = msgspec.structs.replace(demand, evicted_keep=keeps, mode="Steady")
        return demand

    def _with_health_and_conditions(
        self,
        key: WorkKey,
        workload: Workload,
        status: WorkloadStatus,
        demand: Demand | NotAccepted,
    ) -> WorkloadStatus:
        """Adds what sites report, the conditions that follow from the object, and the epoch."""
        now = self.clock.now()
        views = self.order_sync.site_views(workload, status)
        status = statuses.with_health(
            status,
            views,
            now,
            wanted=total_replicas_of(demand) if isinstance(demand, Demand) else None,
            may_end_moves=isinstance(demand, Demand),
        )
        left = self.order_sync.left_sites(key, workload, status)
        status = with_remains(status, left, now)
        if any(group.ordinals for group in status.placement.groups):
            status = statuses.with_started_ordinals(
                status,
                self.order_sync.site_views(workload, status),
                now,
                are_left_sites_gone=all(
                    one.is_gone or (one.is_silent and site in given_up_sites(status))
                    for site, one in left.items()
                ),
            )
        given_up = self.order_sync.pods_given_up(workload, status)
        stuck = stuck_condition(status, self.stuck_after_seconds, now, given_up=given_up)
        status = set_condition(status, stuck, "StuckInFlight", now)
        policies = policies_of(workload, self.objects)
        not_enforced = not_enforced_condition(workload, now, policies=policies)
        status = set_condition(status, not_enforced, "NotEnforced", now)
        status = set_condition(status, left_fields_condition(views, now), FIELDS_LEFT, now)
        removed = removed_fields_condition(workload, now)
        status = set_condition(status, removed, FIELDS_REMOVED, now)
        if isinstance(demand, NotAccepted):
            problem = self.accepted.problem_of(workload)
            sites = (
                self.order_sync.sites_without_content(workload) if status.placement.groups else ()
            )
            kept = kept_orders_condition(problem, sites, now)
        else:
            kept = None
        status = set_condition(status, kept, ORDERS_KEPT, now)
        status = self.decider.failover.with_outcome(key, status, now)
        status = with_kstatus(status, is_failed=has_failed_site(status, views), now=now)
        _log.debug("%s/%s: %s", *key, status.phase)
        return msgspec.structs.replace(
            status,
            epoch=max(self.epoch(), status.epoch),
            selector=self.order_sync.pod_selector(workload),
        )

    async def _withdraw(self, key: WorkKey, workload: Workload) -> ReconcileResult:
        """Withdraws a deleted workload; the object stays until all sites have confirmed that."""
        if FINALIZER not in workload.metadata.finalizers:
            return ReconcileResult("deleted")
        base = self.objects.raw_workloads[key]
        identified = self.order_sync.identify(key, workload)
        workload = workload if isinstance(identified, NotAccepted) else identified
        left = self.order_sync.withdraw(key, workload)
        if left:
            status = _deleting_status(workload.status, left, self.clock.now(), self.epoch())
            await self.writer.write_status(key, base, status)
            return ReconcileResult("withdrawing")
        await self.decider.record_deletion(key, workload.status.incarnation)
        await self.writer.remove_finalizer(key, workload)
        self._forget(key)
        return ReconcileResult("deleted")


def _is_unplaced_work(workload: Workload) -> bool:
    """Whether it waits to be placed, and nothing of it is left anywhere."""
    status = workload.status
    return (
        workload.metadata.deletion_timestamp is None
        and not status.placement.groups
        and not status.remains
        and status.phase not in ("Completed", "Deleting")
    )


async def _outcome_of(work: Coroutine[Any, Any, _Result]) -> _Result | Exception:
    """What comes of a coroutine; returned, so that its failure does not end what runs beside it."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - the caller raises it
        return error


def _deleting_status(
    status: WorkloadStatus, left: Mapping[str, SiteLeft], now: datetime, epoch: int
) -> WorkloadStatus:
    condition = withdrawn_condition(left)
    status = set_condition(status, condition, "Withdrawn", now)
    reason = f"being withdrawn from {format_list(sorted(left), MAX_SITES_LISTED)}"
    if any(one.message or one.is_silent for one in left.values()):
        reason = f"{reason}: {condition.message}"[:MAX_TEXT_LENGTH]
    status = msgspec.structs.replace(
        status, phase="Deleting", reason=reason, epoch=max(epoch, status.epoch)
    )
    return with_kstatus(status, is_failed=False, now=now)
