"""Reconciles one workload, from its spec to its orders: decide, record, write, order.

Level-based, as Kubernetes' controllers are: a reconciliation compares the desired with the present
state and does what is missing, so that the process may be killed between any two steps. The order
of effects is a promise: first the ledger, then the status (one API write), then the orders.

Many workloads are reconciled at once. What reads, chooses and assumes is one step that never waits,
so every decision sees all decisions before it, also those that are still on their way.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from scheduler.control.events.recorder import EventRecorder
from scheduler.control.orders.sync import OrderSync
from scheduler.control.ports.hub import Object
from scheduler.control.queue.requeue import RequeueReason, RequeueReasons
from scheduler.control.queue.reservations import Reservations
from scheduler.control.reconcile.assumptions import Assumptions
from scheduler.control.reconcile.decide import Decider
from scheduler.control.reconcile.draft import Draft, ReconcileResult
from scheduler.control.reconcile.workload_writer import FINALIZER, WorkloadWriter
from scheduler.control.state.manifest_checks import ManifestChecks
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.ownership import ObjectOwnership, conflict_refusal
from scheduler.control.state.resolve_demand import policies_of, resolve_demand
from scheduler.control.stats.workloads import WorkloadStats
from scheduler.control.status import workload as statuses
from scheduler.control.status.conditions import MAX_SITES_LISTED, set_condition, stuck_condition
from scheduler.control.status.left_fields import FIELDS_LEFT, left_fields_condition
from scheduler.control.status.not_enforced import not_enforced_condition
from scheduler.control.status.phase import MAX_TEXT_LENGTH
from scheduler.control.status.remains import SiteLeft, with_remains, withdrawn_condition
from scheduler.control.status.removed_fields import FIELDS_REMOVED, removed_fields_condition
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.formatters import format_list
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import DecisionReference, Workload, WorkloadStatus
from scheduler.placement.divide.disaster_recovery import total_replicas_of
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What one step that never waits has made of a workload.

    Attributes:
        workload: as it was read, with its incarnation.
        demand: of its spec, or why that is not accepted.
        draft: what is decided.
        is_identified: its incarnation is known.
    """

    workload: Workload
    demand: Demand | NotAccepted
    draft: Draft
    is_identified: bool


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
class Reconciler:
    """Does for each workload what its present state lacks; the same one never twice at once.

    Attributes:
        objects: the hub's objects.
        decider: makes and records decisions.
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
        manifest_checks: checks manifests by the schemas of their kinds.
    """

    objects: HubObjects
    decider: Decider
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
        workload = await self.writer.ensure_finalizer(key, workload)
        await self.manifest_checks.check(workload)
        if self.objects.workloads.get(key) is not workload:  # changed or deleted meanwhile
            return await self.reconcile(key)
        requeue_reason = self.requeue_reasons.take(key)
        flight, is_done = _Flight(base=self.objects.raw_workloads[key]), False
        try:
            step = self._decide(key, workload, requeue_reason)
            outcome = await self._carry_out(key, step, flight)
            is_done = True
        except Exception as error:
            self._undo(key)
            if flight.references and not flight.is_written:
                self._note_late_write(key, workload.status, flight)
                await self.decider.record_not_carried_out(workload, flight.references, str(error))
            raise
        finally:
            if not is_done:
                self._undo(key)
                self.requeue_reasons.restore(key, requeue_reason)
        return outcome

    def _decide(self, key: WorkKey, workload: Workload, requeue_reason: RequeueReason) -> _Step:
        """Reads, chooses and assumes, all without waiting."""
        workload, requeue_reason = self._without_late_write(key, workload, requeue_reason)
        identified = self.order_sync.identify(key, workload)
        if isinstance(identified, NotAccepted):
            demand: Demand | NotAccepted = identified
        else:
            workload = identified
            demand = self._resolve_demand(workload)
        with self.reservations.released_for(key, workload.spec.priority):
            draft = self.decider.decide(key, workload, demand, requeue_reason)
        if draft.demand is not None:
            order_id = self.order_sync.order_id(workload)
            self.assumptions.assume(key, workload, draft.status, draft.demand, order_id)
        is_identified = not isinstance(identified, NotAccepted)
        return _Step(workload=workload, demand=demand, draft=draft, is_identified=is_identified)

    async def _carry_out(self, key: WorkKey, step: _Step, flight: _Flight) -> ReconcileResult:
        """Records, writes and orders what is decided."""
        workload, demand, draft = step.workload, step.demand, step.draft
        flight.references = await self.decider.record(draft)
        status = draft.status
        if flight.references:
            status = msgspec.structs.replace(status, decision=flight.references[-1])
        status = self._with_health_and_conditions(key, workload, status, demand)
        if await self.writer.write_status(key, flight.base, status):
            self._late_writes.pop(key, None)  # what is late names a version that is no more
        flight.is_written = True
        frees_names = self.assumptions.settle(key, statuses.shares_of(status))
        # As it was decided: what the watch has brought meanwhile is not decided yet.
        written = msgspec.structs.replace(workload, status=status)
        if isinstance(demand, Demand):
            self.order_sync.sync_orders(key, demand, written)
        elif status.placement != workload.status.placement:
            self._order_last_accepted(key, written)
        elif step.is_identified and not status.placement.groups:
            self.order_sync.release_indexes(key)
        self.stats.record_status(key, status, demand)
        self._record_events(workload, status)
        if not status.placement.groups:
            frees_names |= self.ownership.release_unplaced(key)
        return replace(draft.outcome, frees_names=frees_names)

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

    def _order_last_accepted(self, key: WorkKey, workload: Workload) -> None:
        """Orders what remains of a workload whose present spec is not accepted."""
        former = self.decider.last_accepted(workload)
        if former is not None:
            workload = msgspec.structs.replace(workload, spec=former.spec)
            self.order_sync.sync_orders(key, former.demand, workload)

    def _record_events(self, before: Workload, status: WorkloadStatus) -> None:
        """Records an event for each new decision, and for each new phase that sites caused."""
        old = before.status
        is_bad = status.phase in ("Refused", "Waiting", "Degraded")
        if status.decision and status.decision != old.decision:
            reason = "Accepted" if not status.phase else str(status.phase)
            self.events.record(
                before, reason=reason, message=status.decision.line, is_warning=is_bad
            )
        elif status.phase and status.phase != old.phase:
            message = status.reason or f"{status.readiness} ready"
            self.events.record(before, reason=status.phase, message=message, is_warning=is_bad)

    def claim_all_objects(self) -> None:
        """Claims the Kubernetes objects of all workloads after a start, the placed ones first."""
        self.ownership.claim_all(self.objects.workloads.values())

    def restore_orders(self, slice_size: int) -> Iterator[None]:
        """Plans all orders after a start, as the statuses or else the sites have them.

        Nothing is written: the first index of this epoch must list everything that runs. All of
        it is decided again, because a taint or the end of a grant may have come meanwhile.

        Args:
            slice_size: yields after so many workloads, so that the event loop serves others.
        """
        self.requeue_reasons.add_redecision(self.objects.workloads)
        for number, key in enumerate(list(self.objects.workloads), start=1):
            if number % slice_size == 0:
                yield
            workload = self.objects.workloads.get(key)
            if workload is None or workload.metadata.deletion_timestamp is not None:
                continue
            is_restored = False
            with self.faults.barrier("workload"):
                self._restore_orders_of(key, workload)
                is_restored = True
            if not is_restored:
                self.order_sync.hold_indexes(key, workload)

    def _restore_orders_of(self, key: WorkKey, workload: Workload) -> None:
        identified = self.order_sync.identify(key, workload)
        if isinstance(identified, NotAccepted):
            return  # its reconciliation says so; the indexes of its sites are held
        workload = identified
        adopted = self.order_sync.with_adopted_placement(workload)
        shares = statuses.shares_of(adopted.status)
        self.order_sync.plan_orders(
            key, self._last_accepted_workload(key, workload) if shares else workload, shares
        )

    def _last_accepted_workload(self, key: WorkKey, workload: Workload) -> Workload:
        """The workload with the spec that was accepted last; accounts for its usage."""
        demand = self._resolve_demand(workload)
        if isinstance(demand, Demand):
            adopted = self.order_sync.with_adopted_placement(workload)
            shares = statuses.shares_of(adopted.status)
            self.order_sync.account_usage(key, demand, workload, shares)
            return workload
        former = self.decider.last_accepted(workload)
        if former is None:
            return workload
        # What runs is in flight and in the quota, whether its present spec is accepted or not.
        self.order_sync.account_usage(
            key, former.demand, workload, statuses.shares_of(workload.status)
        )
        return msgspec.structs.replace(workload, spec=former.spec)

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
        self._late_writes.pop(key, None)
        self.order_sync.forget(key)
        self.requeue_reasons.forget(key)
        self.stats.forget(key)

    def _resolve_demand(self, workload: Workload) -> Demand | NotAccepted:
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
        demand = resolve_demand(adopted, self.objects, self.order_sync.quotas)
        if isinstance(demand, Demand):
            key = (workload.metadata.namespace, workload.metadata.name)
            self.order_sync.node_labels.record(key, demand)
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
        status = statuses.with_started_ordinals(
            status,
            self.order_sync.site_views(workload, status),
            now,
            are_left_sites_gone=all(one.is_gone for one in left.values()),
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


def _deleting_status(
    status: WorkloadStatus, left: Mapping[str, SiteLeft], now: datetime, epoch: int
) -> WorkloadStatus:
    condition = withdrawn_condition(left)
    status = set_condition(status, condition, "Withdrawn", now)
    reason = f"being withdrawn from {format_list(sorted(left), MAX_SITES_LISTED)}"
    if any(one.message or one.is_silent for one in left.values()):
        reason = f"{reason}: {condition.message}"[:MAX_TEXT_LENGTH]
    return msgspec.structs.replace(
        status, phase="Deleting", reason=reason, epoch=max(epoch, status.epoch)
    )
