"""One workload, from what is asked to what is ordered: decide, record, write, order.

Level-based, as Kubernetes' controllers are: it looks at what is there and does what is missing, so
that it may be killed between any two steps and begins again. The order of effects is the promise:
the ledger first, then the status (one API write), then the order.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from scheduler.control.events.recorder import EventRecorder
from scheduler.control.orders.build import with_adopted_placement
from scheduler.control.orders.sync import INCARNATION_ANNOTATION, OrderSync
from scheduler.control.ports.hub import WORKLOADS, Hub, Object
from scheduler.control.ports.ledger import DecisionRecorder
from scheduler.control.queue.requeue import RequeueReason, RequeueReasons
from scheduler.control.reconcile.outcome import ReconcileResult, outcome_of
from scheduler.control.reconcile.redaction import without_secrets
from scheduler.control.reconcile.triggers import (
    demand_to_decide,
    demand_to_recheck,
    ends_or_violates,
    is_decision_due,
    is_unchanged,
)
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.ownership import ObjectOwnership, conflict_refusal
from scheduler.control.state.resolve_demand import resolve_demand
from scheduler.control.state.sites import Sites
from scheduler.control.stats.workloads import WorkloadStats
from scheduler.control.status import workload as statuses
from scheduler.control.status.migration import SiteView, revert_migration
from scheduler.control.status.not_enforced import not_enforced_condition
from scheduler.control.status.stuck import stuck_condition
from scheduler.control.status.violations import format_violations
from scheduler.model.canonical import to_plain_json
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import (
    DecisionReference,
    Workload,
    WorkloadStatus,
)
from scheduler.placement.choose import choose
from scheduler.placement.divide.disaster_recovery import total_replicas_of
from scheduler.placement.filter.retention import evicted_by_taint_at
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

FINALIZER = "kapok.dev/withdraw"
_INCARNATION_DIGITS = 10


@dataclass(slots=True)
class Reconciler:
    """Brings one workload after the other to where it should be.

    Attributes:
        hub: where statuses are written.
        objects: the hub's objects.
        sites: what is known of sites.
        fleet: the arrays that decisions are made on.
        order_sync: what follows from a status once it is written.
        recorder: the ledger.
        clock: for instants.
        terms: prices and limits of decisions; told `now` apart.
        epoch: gives the leader's epoch.
        events: tells `kubectl describe`.
        stuck_after_seconds: an order that does not run for so long sets StuckInFlight.
        stats: what is counted for those who look.
        ownership: which workload owns which Kubernetes object.
        requeue_reasons: placed workloads that a change of rules or sites, or the time, concerns.
        released_for: while it is decided, a workload may take what is reserved for it: (key,
        priority).
    """

    hub: Hub
    objects: HubObjects
    sites: Sites
    fleet: Fleet
    order_sync: OrderSync
    recorder: DecisionRecorder
    clock: Clock
    terms: Terms
    epoch: Callable[[], int]
    events: EventRecorder
    stuck_after_seconds: float
    stats: WorkloadStats
    requeue_reasons: RequeueReasons = field(default_factory=RequeueReasons)
    released_for: Callable[[WorkKey, int], AbstractContextManager[None]] = lambda *_: nullcontext()
    ownership: ObjectOwnership = field(default_factory=ObjectOwnership)

    async def reconcile(self, key: WorkKey) -> ReconcileResult:
        """Looks at one workload and does what is missing.

        Raises:
            HubError: the hub refused or could not; the caller tries again.
        """
        workload = self.objects.workloads.get(key)
        if workload is None:
            return self._handle_missing(key)
        if workload.metadata.deletion_timestamp is not None:
            return await self._withdraw(key, workload)
        workload = await self._ensure_finalizer(key, workload)
        wish, is_done = self.requeue_reasons.take(key), False
        try:
            outcome = await self._reconcile_existing(key, workload, wish)
            is_done = True
        finally:
            if not is_done:
                self.requeue_reasons.restore(key, wish)
        return outcome

    async def _reconcile_existing(
        self, key: WorkKey, workload: Workload, requeue_reason: RequeueReason
    ) -> ReconcileResult:
        demand = self._resolve_demand(workload)
        with self.released_for(key, workload.spec.priority):
            status, outcome = await self._decide(key, workload, demand, requeue_reason)
        status = self._with_health_and_conditions(key, workload, status, demand)
        await self._write_status(key, status)
        if isinstance(demand, Demand):
            self.order_sync.sync_orders(key, demand, self.objects.workloads[key])
        elif status.placement != workload.status.placement:
            self._order_last_accepted(key)
        self.stats.record_status(key, status, demand)
        self._record_events(workload, status)
        return outcome

    def _order_last_accepted(self, key: WorkKey) -> None:
        """Of what is not accepted the former orders stay, where they may."""
        workload = self.objects.workloads[key]
        former = self.recorder.last_accepted(workload.metadata.key)
        if former is not None:
            workload = msgspec.structs.replace(workload, spec=former.spec)
            self.order_sync.sync_orders(key, former.demand, workload)

    def _record_events(self, before: Workload, status: WorkloadStatus) -> None:
        """An event for each new decision, and for each new phase that sites brought about."""
        old = before.status
        is_bad = status.phase in ("Refused", "Waiting", "Degraded")
        if status.decision and status.decision != old.decision:
            reason = "Accepted" if not status.phase else str(status.phase)
            self.events.record(
                before, reason=reason, message=status.decision.line, is_warning=is_bad
            )
        elif status.phase and status.phase != old.phase:
            words = status.reason or f"{status.ready} of {status.replicas} ready"
            self.events.record(before, reason=status.phase, message=words, is_warning=is_bad)

    def restore_orders(self) -> None:
        """After a start: every order that the statuses, or else the sites, know of is planned.

        Nothing is written; the first index of this epoch must list all that runs. All of it is
        decided on again: a taint or the end of a grant may have come while nobody looked.
        """
        self.requeue_reasons.add_redecision(self.objects.workloads)
        for key, workload in self.objects.workloads.items():
            if workload.metadata.deletion_timestamp is None:
                adopted = self._with_adopted_placement(workload)
                shares = statuses.shares_of(adopted.status)
                self.order_sync.plan_orders(
                    key, self._last_accepted_workload(key, workload) if shares else workload, shares
                )

    def _last_accepted_workload(self, key: WorkKey, workload: Workload) -> Workload:
        """The workload as it was decided on last, if what it says now is not accepted."""
        demand = self._resolve_demand(workload)
        if isinstance(demand, Demand):
            shares = statuses.shares_of(self._with_adopted_placement(workload).status)
            self.order_sync.account_usage(key, demand, workload, shares)
            return workload
        former = self.recorder.last_accepted(workload.metadata.key)
        return msgspec.structs.replace(workload, spec=former.spec) if former else workload

    def _handle_missing(self, key: WorkKey) -> ReconcileResult:
        if ("Workload", key) in self.objects.invalid:  # unreadable is not gone: what runs stays
            return ReconcileResult("not-accepted")
        self._forget(key)
        return ReconcileResult("deleted")

    def _forget(self, key: WorkKey) -> None:
        """Nothing of a workload is held any more: not its objects, its quota, its orders."""
        self.ownership.release(key)
        self.order_sync.forget(key)
        self.requeue_reasons.forget(key)
        self.stats.forget(key)

    async def _ensure_finalizer(self, key: WorkKey, workload: Workload) -> Workload:
        """Our finalizer, and the incarnation that names this life of the object in order ids."""
        meta = workload.metadata
        if FINALIZER in meta.finalizers and meta.annotations.get(INCARNATION_ANNOTATION):
            return workload
        incarnation = sha256(meta.uid.encode()).hexdigest()[:_INCARNATION_DIGITS]
        patch = {
            "metadata": {
                "resourceVersion": meta.resource_version,
                "finalizers": sorted({*meta.finalizers, FINALIZER}),
                "annotations": {
                    INCARNATION_ANNOTATION: meta.annotations.get(INCARNATION_ANNOTATION)
                    or incarnation
                },
            }
        }
        await self._patch(key, patch, subresource=None)
        return self.objects.workloads[key]

    def _resolve_demand(self, workload: Workload) -> Demand | NotAccepted:
        owner = self.ownership.claim(workload)
        if owner is not None:
            return conflict_refusal(*owner)
        return resolve_demand(
            self._with_adopted_placement(workload), self.objects, self.order_sync.quotas
        )

    def _with_adopted_placement(self, workload: Workload) -> Workload:
        return with_adopted_placement(
            workload, self.order_sync.order_id(workload), self.sites.states
        )

    async def _decide(
        self,
        key: WorkKey,
        workload: Workload,
        demand: Demand | NotAccepted,
        requeue_reason: RequeueReason,
    ) -> tuple[WorkloadStatus, ReconcileResult]:
        """The status after a decision, if one is due; it is recorded before this returns."""
        status, now = workload.status, self.clock.now()
        if isinstance(demand, NotAccepted):
            if requeue_reason.needs_redecision and status.placement.groups:
                status = await self._recheck_last_accepted(key, workload, now)
            return await self._refuse(workload, status, demand, now)
        if not is_decision_due(workload, needs_redecision=requeue_reason.needs_redecision):
            return status, ReconcileResult("unchanged")
        if demand.placed and not status.placement.groups:
            status = self._with_adopted_placement(workload).status
        demand = demand_to_decide(
            workload, demand, is_policy_changed=requeue_reason.is_policy_changed
        )
        demand, decision = self._choose(key, workload, demand, now)
        outcome = outcome_of(decision, demand)
        if is_unchanged(workload, status, decision):
            return status, outcome
        content = {"demand": demand, "terms": self.terms, "decision": decision}
        reference = await self._record(workload, now, content, decision.line)
        self._report_violations(workload, demand, decision)
        return self._with_decision(workload, status, decision, reference, now), outcome

    def _with_decision(
        self,
        workload: Workload,
        status: WorkloadStatus,
        decision: Decision,
        reference: DecisionReference,
        now: datetime,
    ) -> WorkloadStatus:
        generation = workload.metadata.generation
        is_changed = status.observed_generation != generation
        fresh = statuses.with_decision(
            status,
            decision,
            reference,
            is_new_content=is_changed,
            known_sites=self.objects.sites,
            now=now,
            views=self._site_views(workload, status),
        )
        if status.phase == "Completed" and not is_changed:
            fresh = msgspec.structs.replace(fresh, phase="Completed")
        return msgspec.structs.replace(fresh, observed_generation=generation)

    def _site_views(self, workload: Workload, status: WorkloadStatus) -> dict[str, SiteView]:
        name = self.order_sync.order_id(workload)
        return {site: self.order_sync.site_view(site, name) for site in statuses.shares_of(status)}

    def _report_violations(self, workload: Workload, demand: Demand, decision: Decision) -> None:
        """What breaks a right is told, whatever is done about it."""
        if not decision.violations:
            return
        treatment = demand.on_violation
        message = format_violations(decision, treatment)
        self.events.record(workload, reason="Violation", message=message, is_warning=True)
        for why in decision.violations.values():
            self.stats.telemetry.count_violation(why, treatment)

    def _choose(
        self, key: WorkKey, workload: Workload, demand: Demand, now: datetime
    ) -> tuple[Demand, Decision]:
        """The decision, and the demand that it answers: a move that cannot go on is turned back."""
        self.stats.record_seen(key, workload)
        began = self.clock.monotonic()
        decision = choose(demand, self.fleet, now=now, terms=self.terms)
        turned = None if decision.phase == "Placed" else revert_migration(demand, decision)
        if turned is not None:
            demand, decision = turned, choose(turned, self.fleet, now=now, terms=self.terms)
        self.requeue_reasons.set_timer(key, evicted_by_taint_at(demand, self.fleet, now))
        self.stats.telemetry.observe_decision(self.clock.monotonic() - began)
        self.stats.record_decision(key, decision, demand, self.fleet, self.terms)
        return demand, decision

    async def _recheck_last_accepted(
        self, key: WorkKey, workload: Workload, now: datetime
    ) -> WorkloadStatus:
        """What runs of a workload that is not accepted now is judged by what it was before.

        Nothing new is placed; but an edit that cannot be accepted saves nothing from a rule.
        """
        former = self.recorder.last_accepted(workload.metadata.key)
        if former is None:
            return workload.status
        demand = demand_to_recheck(workload, former.demand)
        demand, decision = self._choose(key, workload, demand, now)
        if not ends_or_violates(workload.status, decision):
            return workload.status
        before = msgspec.structs.replace(workload, spec=former.spec)
        content = {"demand": demand, "terms": self.terms, "decision": decision}
        reference = await self._record(before, now, content, decision.line)
        self._report_violations(workload, demand, decision)
        return self._with_decision(workload, workload.status, decision, reference, now)

    async def _refuse(
        self, workload: Workload, status: WorkloadStatus, refusal: NotAccepted, now: datetime
    ) -> tuple[WorkloadStatus, ReconcileResult]:
        line = f"{refusal.reason}: {refusal.message}"
        outcome = ReconcileResult("not-accepted", frozenset({refusal.reason}))
        seen = status.observed_generation == workload.metadata.generation
        if seen and status.decision and status.decision.line == line[:1024]:
            return status, outcome
        content = {"refusal": refusal}
        reference = await self._record(workload, now, content, line[:1024])
        fresh = statuses.with_refusal(status, refusal, reference, now)
        generation = workload.metadata.generation
        return msgspec.structs.replace(fresh, observed_generation=generation), outcome

    async def _record(
        self, workload: Workload, now: datetime, content: dict[str, Any], line: str
    ) -> DecisionReference:
        recorded = await self.recorder.record(
            subject=workload.metadata.key,
            epoch=self.epoch(),
            at=now,
            content=content,
            spec=without_secrets(workload.spec),
        )
        return DecisionReference(
            id=recorded.id, hash=recorded.hash, line=line[:1024], decided_at=now
        )

    def _with_health_and_conditions(
        self,
        key: WorkKey,
        workload: Workload,
        status: WorkloadStatus,
        demand: Demand | NotAccepted,
    ) -> WorkloadStatus:
        """Health, the conditions that follow from the object itself, and the epoch."""
        now = self.clock.now()
        status = statuses.with_health(
            status,
            self._site_views(workload, status),
            now,
            wanted=total_replicas_of(demand) if isinstance(demand, Demand) else None,
            may_end_moves=isinstance(demand, Demand),
        )
        stuck = stuck_condition(status, self.stuck_after_seconds, now)
        status = statuses.set_condition(status, stuck, "StuckInFlight", now)
        unheeded = not_enforced_condition(workload, now)
        status = statuses.set_condition(status, unheeded, "NotEnforced", now)
        _log.debug("%s/%s: %s", *key, status.phase)
        return msgspec.structs.replace(status, epoch=max(self.epoch(), status.epoch))

    async def _write_status(self, key: WorkKey, status: WorkloadStatus) -> None:
        raw = self.objects.raw_workloads[key]
        patch = statuses.merge_patch(raw.get("status") or {}, to_plain_json(status))
        if patch:
            version = raw["metadata"]["resourceVersion"]
            await self._patch(
                key,
                {"metadata": {"resourceVersion": version}, "status": patch},
                subresource="status",
            )

    async def _patch(self, key: WorkKey, patch: Object, *, subresource: str | None) -> None:
        namespace, name = key
        body = await self.hub.merge_patch(
            WORKLOADS, name, patch, namespace=namespace, subresource=subresource
        )
        self.objects.put_workload(body)

    async def _withdraw(self, key: WorkKey, workload: Workload) -> ReconcileResult:
        """Deletion: nothing is ordered any more, and the object stays until sites confirm that."""
        meta = workload.metadata
        if FINALIZER not in meta.finalizers:
            return ReconcileResult("deleted")
        left = self.order_sync.withdraw(key, workload)
        if left:
            await self._write_status(key, _deleting_status(workload.status, left, self.epoch()))
            return ReconcileResult("withdrawing")
        finalizers = [one for one in meta.finalizers if one != FINALIZER]
        patch = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": finalizers}}
        namespace, name = key
        await self.hub.merge_patch(WORKLOADS, name, patch, namespace=namespace)
        self._forget(key)
        return ReconcileResult("deleted")


def _deleting_status(status: WorkloadStatus, left: list[str], epoch: int) -> WorkloadStatus:
    reason = f"being withdrawn from {', '.join(sorted(left)[:6])}"
    return msgspec.structs.replace(
        status, phase="Deleting", reason=reason, epoch=max(epoch, status.epoch)
    )
