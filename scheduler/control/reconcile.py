"""One workload, from what is asked to what is ordered: decide, record, write, order.

Level-based, as Kubernetes' controllers are: it looks at what is there and does what is missing, so
that it may be killed between any two steps and begins again. The order of effects is the promise:
the ledger first, then the status (one API write), then the order.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from scheduler.clock import Clock
from scheduler.control import status as statuses
from scheduler.control.asking import demand_from
from scheduler.control.claims import Claims
from scheduler.control.enforced import not_enforced_condition
from scheduler.control.events import EventWriter
from scheduler.control.figures import Figures
from scheduler.control.ordering import INCARNATION, Ordering
from scheduler.control.orders import adopted_groups
from scheduler.control.ports import WORKLOADS, Hub, Object
from scheduler.control.queue import WorkKey
from scheduler.control.recorder import Recorder
from scheduler.control.registry import Registry
from scheduler.control.secrets import without_secrets
from scheduler.control.sites import Sites
from scheduler.control.stuck import stuck_condition
from scheduler.model.canonical import plain
from scheduler.model.decision import Decision
from scheduler.model.demand import Demand, NotAccepted
from scheduler.model.terms import Terms
from scheduler.model.workload import (
    DecisionReference,
    PlacementStatus,
    Workload,
    WorkloadStatus,
)
from scheduler.placement import Fleet, choose

_log = logging.getLogger(__name__)

FINALIZER = "kapok.dev/withdraw"
_INCARNATION_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a look at a workload came to.

    Attributes:
        result: placed, waiting, refused, unchanged, not-accepted, deleted, withdrawing.
        parked_for: reasons that keep it from being placed; empty when nothing is to be waited for.
        again_in_seconds: when the passing of time alone will change the answer.
    """

    result: str
    parked_for: frozenset[str] = frozenset()
    again_in_seconds: float | None = None


@dataclass(slots=True)
class Reconciler:
    """Brings one workload after the other to where it should be.

    Attributes:
        hub: where statuses are written.
        registry: the hub's objects.
        sites: what is known of sites.
        fleet: the arrays that decisions are made on.
        ordering: what follows from a status once it is written.
        recorder: the ledger.
        clock: for instants.
        terms: prices and limits of decisions; told `now` apart.
        epoch: gives the leader's epoch.
        events: tells `kubectl describe`.
        stuck_seconds: an order that does not run for so long sets StuckInFlight.
        figures: what is counted for those who look.
        claims: which workload owns which Kubernetes object.
        redecide: placed workloads that a change of rules or sites concerns.
    """

    hub: Hub
    registry: Registry
    sites: Sites
    fleet: Fleet
    ordering: Ordering
    recorder: Recorder
    clock: Clock
    terms: Terms
    epoch: Callable[[], int]
    events: EventWriter
    stuck_seconds: float
    figures: Figures
    redecide: set[WorkKey] = field(default_factory=set)
    claims: Claims = field(default_factory=Claims)

    async def reconcile(self, key: WorkKey) -> Outcome:
        """Looks at one workload and does what is missing.

        Raises:
            HubError: the hub refused or could not; the caller tries again.
        """
        workload = self.registry.workloads.get(key)
        if workload is None:
            return self._gone(key)
        if workload.metadata.deletion_timestamp is not None:
            return await self._withdraw(key, workload)
        workload = await self._prepare(key, workload)
        demand = self._demand(workload)
        status, outcome = await self._decided(key, workload, demand)
        status = self._with_facts(key, workload, status)
        await self._write(key, status)
        self.redecide.discard(key)
        if isinstance(demand, Demand):  # of what is not accepted the former orders stay
            self.ordering.order(key, demand)
        self.figures.settled(key, status, demand)
        self._tell(workload, status)
        return outcome

    def _tell(self, before: Workload, status: WorkloadStatus) -> None:
        """An event for each new decision, and for each new phase that sites brought about."""
        old = before.status
        is_bad = status.phase in ("Refused", "Waiting", "Degraded")
        if status.decision and status.decision != old.decision:
            reason = "Accepted" if not status.phase else str(status.phase)
            self.events.tell(before, reason=reason, message=status.decision.line, is_warning=is_bad)
        elif status.phase and status.phase != old.phase:
            words = status.reason or f"{status.ready} of {status.replicas} ready"
            self.events.tell(before, reason=status.phase, message=words, is_warning=is_bad)

    def resume(self) -> None:
        """After a start: every order that the statuses, or else the sites, know of is planned.

        Nothing is written; the first index of this epoch must list all that runs.
        """
        for key, workload in self.registry.workloads.items():
            if workload.metadata.deletion_timestamp is None:
                adopted = self._adopting(workload)
                shares = statuses.shares_of(adopted.status)
                self.ordering.plan(
                    key, self._as_accepted(key, workload) if shares else workload, shares
                )

    def _as_accepted(self, key: WorkKey, workload: Workload) -> Workload:
        """The workload as it was decided on last, if what it says now is not accepted."""
        demand = self._demand(workload)
        if isinstance(demand, Demand):
            self.ordering.quotas.take(key, demand, sum(demand.placed_replicas.values()))
            return workload
        spec = self.recorder.last_accepted(workload.metadata.key)
        return msgspec.structs.replace(workload, spec=spec) if spec else workload

    def _gone(self, key: WorkKey) -> Outcome:
        if ("Workload", key) in self.registry.invalid:  # unreadable is not gone: what runs stays
            return Outcome("not-accepted")
        self._forget(key)
        return Outcome("deleted")

    def _forget(self, key: WorkKey) -> None:
        """Nothing of a workload is held any more: not its objects, its quota, its orders."""
        self.claims.release(key)
        self.ordering.forget(key)
        self.redecide.discard(key)
        self.figures.gone(key)

    async def _prepare(self, key: WorkKey, workload: Workload) -> Workload:
        """Our finalizer, and the incarnation that names this life of the object in order ids."""
        meta = workload.metadata
        if FINALIZER in meta.finalizers and meta.annotations.get(INCARNATION):
            return workload
        incarnation = sha256(meta.uid.encode()).hexdigest()[:_INCARNATION_DIGITS]
        patch = {
            "metadata": {
                "resourceVersion": meta.resource_version,
                "finalizers": sorted({*meta.finalizers, FINALIZER}),
                "annotations": {INCARNATION: meta.annotations.get(INCARNATION) or incarnation},
            }
        }
        await self._patch(key, patch, subresource=None)
        return self.registry.workloads[key]

    def _demand(self, workload: Workload) -> Demand | NotAccepted:
        owner = self.claims.claim(workload)
        if owner is not None:
            return _conflict(*owner)
        return demand_from(self._adopting(workload), self.registry, self.ordering.quotas)

    def _adopting(self, workload: Workload) -> Workload:
        """A workload that the hub knows no placement of, and that sites say they run."""
        if workload.status.placement.groups:
            return workload
        groups = adopted_groups(self.ordering.order_id(workload), self.sites.states)
        if not groups:
            return workload
        newest = max(one.generation for one in groups)
        placement = PlacementStatus(generation=newest, groups=groups)
        status = msgspec.structs.replace(workload.status, placement=placement)
        return msgspec.structs.replace(workload, status=status)

    async def _decided(
        self, key: WorkKey, workload: Workload, demand: Demand | NotAccepted
    ) -> tuple[WorkloadStatus, Outcome]:
        """The status after a decision, if one is due; it is recorded before this returns."""
        status, now = workload.status, self.clock.now()
        if isinstance(demand, NotAccepted):
            return await self._refused(workload, demand, now)
        if not self._is_due(key, workload, demand):
            return status, Outcome("unchanged")
        if demand.placed and not status.placement.groups:
            status = self._adopting(workload).status
        decision = self._choose(key, workload, demand, now)
        outcome = _outcome(decision, demand)
        if _says_the_same(status, decision, workload):
            return status, outcome
        content = {"demand": demand, "terms": self.terms, "decision": decision}
        reference = await self._record(workload, now, content, decision.line)
        fresh = statuses.with_decision(
            status,
            decision,
            reference,
            is_new_content=status.observed_generation != workload.metadata.generation,
            known_sites=self.registry.sites,
            now=now,
        )
        generation = workload.metadata.generation
        return msgspec.structs.replace(fresh, observed_generation=generation), outcome

    def _choose(self, key: WorkKey, workload: Workload, demand: Demand, now: datetime) -> Decision:
        self.figures.seen(key, workload)
        began = self.clock.monotonic()
        decision = choose(demand, self.fleet, now=now, terms=self.terms)
        self.figures.telemetry.decided(self.clock.monotonic() - began)
        self.figures.decided(key, decision, demand, self.fleet, self.terms)
        return decision

    async def _refused(
        self, workload: Workload, refusal: NotAccepted, now: datetime
    ) -> tuple[WorkloadStatus, Outcome]:
        status, line = workload.status, f"{refusal.reason}: {refusal.message}"
        outcome = Outcome("not-accepted", frozenset({refusal.reason}))
        seen = status.observed_generation == workload.metadata.generation
        if seen and status.decision and status.decision.line == line[:1024]:
            return status, outcome
        content = {"refusal": refusal}
        reference = await self._record(workload, now, content, line[:1024])
        fresh = statuses.with_refusal(status, refusal, reference, now)
        generation = workload.metadata.generation
        return msgspec.structs.replace(fresh, observed_generation=generation), outcome

    def _is_due(self, key: WorkKey, workload: Workload, demand: Demand) -> bool:
        status = workload.status
        if status.observed_generation != workload.metadata.generation:
            return True
        if not status.placement.groups or key in self.redecide:
            return True
        placed = sum(demand.placed_replicas.values())
        return placed < demand.replicas and status.phase in ("Waiting", "Refused", "Pending")

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

    def _with_facts(
        self, key: WorkKey, workload: Workload, status: WorkloadStatus
    ) -> WorkloadStatus:
        """Health, the conditions that follow from the object itself, and the epoch."""
        now = self.clock.now()
        name = self.ordering.order_id(workload)
        if status.placement.groups:
            views = {site: self.ordering.view(site, name) for site in statuses.shares_of(status)}
            status = statuses.with_health(status, views, now)
        stuck = stuck_condition(status, self.stuck_seconds, now)
        status = statuses.set_condition(status, stuck, "StuckInFlight", now)
        unheeded = not_enforced_condition(workload, now)
        status = statuses.set_condition(status, unheeded, "NotEnforced", now)
        _log.debug("%s/%s: %s", *key, status.phase)
        return msgspec.structs.replace(status, epoch=max(self.epoch(), status.epoch))

    async def _write(self, key: WorkKey, status: WorkloadStatus) -> None:
        raw = self.registry.raw_workloads[key]
        patch = statuses.merge_patch(raw.get("status") or {}, plain(status))
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
        self.registry.put_workload(body)

    async def _withdraw(self, key: WorkKey, workload: Workload) -> Outcome:
        """Deletion: nothing is ordered any more, and the object stays until sites confirm that."""
        meta = workload.metadata
        if FINALIZER not in meta.finalizers:
            return Outcome("deleted")
        left = self.ordering.withdraw(key, workload)
        if left:
            await self._write(key, _deleting(workload.status, left, self.epoch()))
            return Outcome("withdrawing")
        finalizers = [one for one in meta.finalizers if one != FINALIZER]
        patch = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": finalizers}}
        namespace, name = key
        await self.hub.merge_patch(WORKLOADS, name, patch, namespace=namespace)
        self._forget(key)
        return Outcome("deleted")


def _conflict(owner: WorkKey, what: str) -> NotAccepted:
    return NotAccepted(
        reason="invalid",
        condition="Conflict",
        message=f"{what} belongs to workload {owner[0]}/{owner[1]} already; name it otherwise",
    )


def _outcome(decision: Decision, demand: Demand) -> Outcome:
    if decision.phase == "Placed":
        return Outcome("placed")
    earliest, now = demand.schedule.earliest, decision.decided_at
    pause = (earliest - now).total_seconds() if earliest and earliest > now else None
    return Outcome(decision.phase.lower(), frozenset(decision.reasons), pause)


def _says_the_same(status: WorkloadStatus, decision: Decision, workload: Workload) -> bool:
    """Whether a record of this decision would say nothing new."""
    if status.decision is None or status.observed_generation != workload.metadata.generation:
        return False
    shares = statuses.shares_of(status)
    runs = {site: one.replicas for site, one in shares.items() if not one.is_withdrawing}
    decided = {one.site: one.replicas for one in decision.assignment if one.replicas > 0}
    if runs != decided:
        return False
    unplaced = decision.phase != "Placed"
    return not unplaced or (
        status.phase == decision.phase and status.decision.line == decision.line
    )


def _deleting(status: WorkloadStatus, left: list[str], epoch: int) -> WorkloadStatus:
    reason = f"being withdrawn from {', '.join(sorted(left)[:6])}"
    return msgspec.structs.replace(
        status, phase="Deleting", reason=reason, epoch=max(epoch, status.epoch)
    )
