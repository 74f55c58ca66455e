"""Reconciles one workload, from its spec to its orders: decide, record, write, order.

Level-based, as Kubernetes' controllers are: a reconciliation compares the desired with the present
state and does what is missing, so that the process may be killed between any two steps. The order
of effects is a promise: first the ledger, then the status (one API write), then the orders.

Many workloads are reconciled at once. What reads, chooses and assumes is one step that never waits,
so every decision sees all decisions before it, also those that are still on their way.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec

from scheduler.control.events.recorder import EventRecorder
from scheduler.control.orders.sync import OrderSync
from scheduler.control.ports.hub import HubError
from scheduler.control.preemption.active import Preemptions, key_of
from scheduler.control.preemption.status import PREEMPTED
from scheduler.control.queue.requeue import RequeueReason, RequeueReasons
from scheduler.control.queue.reservations import Reservations
from scheduler.control.reconcile.accepted_specs import AcceptedSpecs
from scheduler.control.reconcile.assumptions import Assumptions, Doubt
from scheduler.control.reconcile.decide import Decider
from scheduler.control.reconcile.draft import Draft, ReconcileResult, outcome_of
from scheduler.control.reconcile.equal_work import EqualWork
from scheduler.control.reconcile.health_pauses import HealthPauses
from scheduler.control.reconcile.observed_status import ObservedStatus, deleting_status
from scheduler.control.reconcile.progress import Begun, Flight, Step
from scheduler.control.reconcile.triggers import cannot_wait
from scheduler.control.reconcile.unmarked import UnmarkedDecisions
from scheduler.control.reconcile.workload_writer import NOTHING_WRITTEN, WorkloadWriter
from scheduler.control.rollout.decisions import overlap_refusal
from scheduler.control.state.manifest_checks import ManifestChecks
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.ownership import ObjectOwnership, conflict_refusal
from scheduler.control.state.resolve_demand import resolve_demand
from scheduler.control.stats.workloads import WorkloadStats
from scheduler.control.status import workload as statuses
from scheduler.control.status.conditions import find_condition, is_decided
from scheduler.control.status.finalizer import FINALIZER, has_finalizer
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload, WorkloadStatus
from scheduler.placement.preemption.preempt import format_preemption
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_LATE_WRITE_SECONDS = 300.0
"""No request is on its way for longer: hubs and proxies cut them off after a minute or two."""

_KILLED = "the scheduler ended before its status was written"
_AS_DECIDED = {("Placed", "Running"), ("Placed", "Completed"), ("Running", "Completed")}


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
    _equal_work: EqualWork = field(init=False)
    _observed_status: ObservedStatus = field(init=False)

    def __post_init__(self) -> None:
        self._equal_work = EqualWork(
            objects=self.objects,
            decider=self.decider,
            order_sync=self.order_sync,
            assumptions=self.assumptions,
            requeue_reasons=self.requeue_reasons,
            reservations=self.reservations,
            unmarked=self.unmarked,
            clock=self.clock,
            prepare=self._prepare,
            resolve_demand=self.resolve_demand,
            seconds_to_hear=self._seconds_to_hear,
            has_late_write=lambda key: key in self._late_writes,
            undo=self._undo,
            abandon=self.abandon,
        )
        self._observed_status = ObservedStatus(
            objects=self.objects,
            order_sync=self.order_sync,
            accepted=self.accepted,
            failover=self.decider.failover,
            rollouts=self.decider.rollouts,
            clock=self.clock,
            epoch=self.epoch,
            stuck_after_seconds=self.stuck_after_seconds,
        )

    @property
    def preemptions(self) -> Preemptions:
        """The preemptions under way."""
        return self.decider.preemption.active

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
        flight = Flight(base=self.objects.raw_workloads[key])
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
            self._undo(key, self._doubt_of(flight, error))
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

    def look_alike(self, key: WorkKey, other: WorkKey) -> bool:
        """As `EqualWork.look_alike`."""
        return self._equal_work.look_alike(key, other)

    async def begin_together(self, keys: Sequence[WorkKey]) -> dict[WorkKey, Begun]:
        """As `EqualWork.begin_together`."""
        return await self._equal_work.begin_together(keys)

    def _decide(self, key: WorkKey, workload: Workload, requeue_reason: RequeueReason) -> Step:
        """Reads, chooses and assumes, all without waiting."""
        workload, requeue_reason = self._without_late_write(key, workload, requeue_reason)
        identified = self.order_sync.identify(key, workload)
        if isinstance(identified, NotAccepted):
            demand: Demand | NotAccepted = identified
        else:
            workload = identified
            demand = self.resolve_demand(workload)
        version = self.objects.raw_workloads[key]["metadata"]["resourceVersion"]
        with (
            self.reservations.released_for(key, workload.spec.priority),
            self.preemptions.released_for(key, workload.spec.priority),
            self.assumptions.without_doubts(key, version, self.clock.monotonic()),
        ):
            draft = self.decider.decide(key, workload, demand, requeue_reason)
        decided = msgspec.structs.replace(workload, status=draft.status)
        self.preemptions.note(key, decided, draft.demand)
        if draft.demand is not None:
            order_id = self.order_sync.order_id(workload)
            self.assumptions.assume(key, workload, draft.status, draft.demand, order_id)
            self._replan_lower(draft.status, draft.demand.priority)
        is_identified = not isinstance(identified, NotAccepted)
        unmarked = self.unmarked.take(key, workload) if is_identified else ()
        return Step(
            workload=workload,
            demand=demand,
            draft=draft,
            is_identified=is_identified,
            unmarked=unmarked,
        )

    def _replan_lower(self, status: WorkloadStatus, priority: int) -> None:
        """Has planned starts of a lower priority decided again where a decision may take room."""
        sites = set(statuses.shares_of(status)) | set(status.plan.place if status.plan else ())
        lower = self.assumptions.planned.lower_at(sorted(sites), priority)
        if lower:
            self.decider.preemption.redecide(lower)

    async def _carry_out(self, key: WorkKey, step: Step, flight: Flight) -> ReconcileResult:
        """Records, writes and orders what is decided."""
        workload, demand, draft = step.workload, step.demand, step.draft
        await self.decider.record_not_carried_out(workload, step.unmarked, _KILLED)
        await self._record(key, draft, flight)
        status = draft.status
        if flight.references:
            status = msgspec.structs.replace(status, decision=flight.references[-1])
        status = self._observed_status.of(key, workload, status, demand)
        basis, has_content = self._basis_of_orders(step, status)
        if basis is not None:
            status = self.order_sync.with_orders(
                key, basis, self.clock.now(), has_content=has_content
            )
        held_seconds = 0.0
        if not flight.references and key not in self._late_writes:
            held_seconds = self.health_pauses.hold(key, workload.status, status)
        if not held_seconds:
            if draft.too_large is not None:
                await self.accepted.store(workload, draft.too_large)
            if await self.writer.write_status(key, flight.base, status):
                # What is late names a version that is no more.
                self._late_writes.pop(key, None)
                self.assumptions.end_doubts(key)
            flight.is_written = True
        frees_names = self.assumptions.settle(key, statuses.shares_of(status))
        # As it was decided: what the watch has brought meanwhile is not decided yet.
        if basis is not None:
            written = msgspec.structs.replace(basis, status=status)
            self._order(key, written, demand, has_content=has_content)
        elif step.is_identified and not status.placement.groups:
            self.order_sync.release_indexes(key)
        await self.accepted.remove_former(workload, status)
        self.stats.record_status(key, status, demand)
        self._record_events(workload, status)
        self._record_preemption(workload, draft, status)
        if not status.placement.groups:
            frees_names |= self.ownership.release_unplaced(key)
        waits = (
            held_seconds,
            draft.outcome.retry_after_seconds,
            self._doubted_seconds(key),
            self.decider.preemption.retry_after_seconds(
                key, msgspec.structs.replace(workload, status=status)
            ),
            self.decider.rollouts.retry_after_seconds(workload, status),
        )
        retry = min(filter(None, waits), default=None)
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

    async def _record(self, key: WorkKey, draft: Draft, flight: Flight) -> None:
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

    def _undo(self, key: WorkKey, doubt: Doubt | None = None) -> None:
        """Ends what was assumed, if anything is; other workloads may have the names again."""
        if self.assumptions.undo(key, doubt):
            self.on_names_freed()
        self.preemptions.note(key, self.objects.workloads.get(key))

    def _doubt_of(self, flight: Flight, error: Exception) -> Doubt | None:
        """Until when the write that failed may arrive; None: it was not sent, or was refused."""
        is_sent = flight.references and not flight.is_written and isinstance(error, HubError)
        if not is_sent or isinstance(error, NOTHING_WRITTEN):
            return None
        version = flight.base["metadata"]["resourceVersion"]
        return Doubt(version, self.clock.monotonic() + _LATE_WRITE_SECONDS)

    def _doubted_seconds(self, key: WorkKey) -> float | None:
        """After how long a workload that was not written gives up the room of its late writes."""
        until = self.assumptions.doubted_until_seconds(key)
        return None if until is None else max(1.0, until - self.clock.monotonic())

    def _note_late_write(self, key: WorkKey, status: WorkloadStatus, flight: Flight) -> None:
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

    def _basis_of_orders(self, step: Step, status: WorkloadStatus) -> tuple[Workload | None, bool]:
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

    def _record_preemption(self, before: Workload, draft: Draft, status: WorkloadStatus) -> None:
        """Records what ends for a workload, or ended of it, and has the victims decided."""
        preemption = self.decider.preemption
        for one in draft.unrecorded:
            decision = one.decision
            if decision is not None and decision.preemption is not None:
                message = format_preemption(decision.preemption).removeprefix("; ")
                self.events.record(before, reason="Preempting", message=message, is_warning=False)
                preemption.redecide(sorted({key_of(each.workload) for each in status.preempting}))
            if decision is not None and decision.preempted and one.demand is not None:
                condition = find_condition(status.conditions, PREEMPTED)
                message = condition.message if condition else decision.line
                self.events.record(before, reason=PREEMPTED, message=message, is_warning=True)
                for each in one.demand.preempted:
                    if each.site in decision.preempted:
                        reason = "reclaimed" if each.reclaimed else "preempted"
                        self.stats.telemetry.count_eviction(reason)

    def note_preemptions(self) -> None:
        """Takes in the preemptions under way after a start, and keeps their room."""
        for key, workload in self.objects.workloads.items():
            if workload.status.preempting:
                self.preemptions.note(key, workload)

    def note_planned_starts(self) -> None:
        """Keeps the room of the starts that an earlier leader has planned."""
        for key, workload in self.objects.workloads.items():
            if workload.status.plan is not None:
                self.assumptions.planned.note(key, workload)

    def claim_all_objects(self, slice_size: int) -> Iterator[None]:
        """Claims the Kubernetes objects of all workloads after a start, the placed ones first.

        Args:
            slice_size: yields after so many workloads, so that the event loop serves others.
        """
        return self.ownership.claim_all(self.objects.workloads, slice_size)

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
        self.preemptions.note(key, None)
        self.assumptions.planned.note(key, None)
        self.accepted.forget(key)
        self._late_writes.pop(key, None)
        self.assumptions.end_doubts(key)
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
        if isinstance(demand, Demand) and (overlap := overlap_refusal(workload, self.objects)):
            return overlap
        if isinstance(demand, Demand):
            self.order_sync.node_labels.record(key, demand)
            keeps = self.decider.failover.evictions.keeps(key)
            if keeps:  # the rest of the replicas stays where it is until the next step
                demand = msgspec.structs.replace(demand, evicted_keep=keeps, mode="Steady")
            preempted = self.decider.preemption.preempted(key, workload)
            if preempted:
                demand = msgspec.structs.replace(demand, preempted=preempted, mode="Steady")
        return demand

    async def _withdraw(self, key: WorkKey, workload: Workload) -> ReconcileResult:
        """Withdraws a deleted workload; the object stays until all sites have confirmed that."""
        if FINALIZER not in workload.metadata.finalizers:
            return ReconcileResult("deleted")
        base = self.objects.raw_workloads[key]
        self.assumptions.end_doubts(key)  # the word to delete it has given it another version
        identified = self.order_sync.identify(key, workload)
        workload = workload if isinstance(identified, NotAccepted) else identified
        left = self.order_sync.withdraw(key, workload)
        if left:
            status = deleting_status(workload.status, left, self.clock.now(), self.epoch())
            await self.writer.write_status(key, base, status)
            return ReconcileResult("withdrawing")
        await self.decider.record_deletion(key, workload.status.incarnation)
        await self.writer.remove_finalizer(key, workload)
        self._forget(key)
        return ReconcileResult("deleted")


async def _outcome_of(work: Coroutine[Any, Any, _Result]) -> _Result | Exception:
    """What comes of a coroutine; returned, so that its failure does not end what runs beside it."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - the caller raises it
        return error
