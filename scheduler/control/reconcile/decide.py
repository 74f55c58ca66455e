"""Decides about one workload, and records each decision in the ledger before it has any effect.

Deciding never waits: it reads the fleet, chooses, and prepares the record with the fleet that it
saw. Recording waits for the ledger, and comes after.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from scheduler.control.events.recorder import EventRecorder
from scheduler.control.orders.identity import NOT_ADOPTED
from scheduler.control.orders.pinning import (
    are_templates_changed,
    has_fixed_templates,
    next_pin,
    pin_of,
)
from scheduler.control.orders.sync import OrderSync
from scheduler.control.ports.ledger import (
    AcceptedSpec,
    DecisionRecorder,
    PreparedRecord,
    RecordedShare,
)
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.control.preemption.decisions import PreemptionDecisions
from scheduler.control.preemption.status import with_preempted, with_preemption
from scheduler.control.queue.requeue import RequeueReason, RequeueReasons
from scheduler.control.rebalance.tasks import RebalanceTasks, with_rebalance
from scheduler.control.reconcile.accepted_specs import AcceptedSpecs
from scheduler.control.reconcile.draft import (
    Draft,
    EqualMember,
    ReconcileResult,
    Unrecorded,
    outcome_of,
    reference_of,
)
from scheduler.control.reconcile.failover import FailoverDecisions
from scheduler.control.reconcile.triggers import (
    demand_to_decide,
    demand_to_recheck,
    ends_or_violates,
    is_decision_due,
    is_unchanged,
)
from scheduler.control.rollout.decisions import RolloutDecisions
from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.resolve_demand import with_rights_of_today
from scheduler.control.stats.workloads import WorkloadStats
from scheduler.control.status import workload as statuses
from scheduler.control.status.accepted import pack_accepted
from scheduler.control.status.conditions import format_violations
from scheduler.control.status.migration import SiteShare, revert_migration
from scheduler.control.status.phase import MAX_TEXT_LENGTH
from scheduler.control.status.unready import unready_sites
from scheduler.model.decision import Decision, EqualDecisions, Subject, expand, selected
from scheduler.model.demand.assignment import BatchAssignment
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.loss_plan import KeptPlans
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.policy import Identity
from scheduler.model.kinds.workload import (
    DecisionReference,
    NodePin,
    Workload,
    WorkloadSpec,
    WorkloadStatus,
)
from scheduler.model.manifests.identities import total_completions
from scheduler.model.overrides.recorded import recorded_spec
from scheduler.placement.choose import choose
from scheduler.placement.equal_work import choose_moves, choose_together, may_choose_together
from scheduler.placement.filter.retention import evicted_by_taint_at

_log = logging.getLogger(__name__)

_MAX_SHARES_TOGETHER = 256
"""So many shares of sites one step gives to equal workloads, and those of the last one besides.

Each takes about 20 µs where no two are alike, so a step takes little more than a single decision,
and never holds the loop for long, whatever is asked."""
_MAX_MOVES_TOGETHER = 16
"""So many moves are decided in one step: each takes about half a millisecond."""
_NO_PLANS = KeptPlans()
_NOT_ADOPTED_RETRY_SECONDS = 3.0  # neither an operator's command nor a site's end is an event


@dataclass(slots=True, kw_only=True)
class Decider:
    """Makes decisions about single workloads.

    Attributes:
        objects: the hub's objects; of them the names of the sites that exist.
        inputs: the fleet, the time and the terms.
        order_sync: what sites report of the workload's orders.
        recorder: the ledger.
        accepted: what was accepted last.
        requeue_reasons: learns when the passing of time may affect a placement.
        events: records violations for `kubectl describe`.
        stats: counts decisions and refusals.
        failover: which sites a workload is to leave, and what moves back.
        preemption: what ends for a workload, and what of it ends for others.
        rollouts: which sites have the new content of a workload.
        rebalances: which workloads may move to save cost.
        epoch: gives the leader's epoch.
        references_of: names what goes along with the orders of a workload, for the record.
        kept_plans: gives the plans for losses that the last judgement of survival made.
    """

    objects: HubObjects
    inputs: DecisionInputs
    order_sync: OrderSync
    recorder: DecisionRecorder
    accepted: AcceptedSpecs
    requeue_reasons: RequeueReasons
    events: EventRecorder
    stats: WorkloadStats
    failover: FailoverDecisions
    preemption: PreemptionDecisions
    rollouts: RolloutDecisions
    rebalances: RebalanceTasks
    epoch: Callable[[], int]
    references_of: Callable[[WorkKey], Sequence[Mapping[str, str]]] = lambda _key: ()
    kept_plans: Callable[[], KeptPlans] = lambda: _NO_PLANS

    async def record_deletion(self, key: WorkKey, incarnation: str) -> None:
        """Records that a workload is gone, so that the next one of its name is another one."""
        await self.recorder.record_deletion(
            subject="/".join(key),
            epoch=self.epoch(),
            at=self.inputs.clock.now(),
            incarnation=incarnation,
        )

    def decide(
        self,
        key: WorkKey,
        workload: Workload,
        demand: Demand | NotAccepted,
        requeue_reason: RequeueReason,
    ) -> Draft:
        """Makes a decision if one is due; `record` records it.

        Args:
            key: namespace and name.
            workload: as the hub holds it.
            demand: of its present spec, or why that is not accepted.
            requeue_reason: why a placed workload is decided again.
        """
        status, now = workload.status, self.inputs.now()
        self.failover.evictions.on_decided(key)
        if isinstance(demand, NotAccepted):
            self.failover.unready.take(key)
            rechecked: Draft | None = None
            if requeue_reason.needs_redecision and status.placement.groups:
                rechecked = self._recheck_last_accepted(key, workload, now)
            return self._refuse(workload, rechecked, demand, now)
        rollout = self.rollouts.question_of(workload)
        is_step = rollout is not None and self.rollouts.is_due(workload, demand, rollout)
        if not is_step and not is_decision_due(
            workload, needs_redecision=requeue_reason.needs_redecision
        ):
            return Draft(status=status, outcome=ReconcileResult("unchanged"))
        if not status.placement.groups and (demand.placed or not demand.replicas):
            status = self.order_sync.with_adopted_placement(workload).status
        demand = demand_to_decide(
            workload, demand, is_policy_changed=requeue_reason.is_policy_changed
        )
        accepted = _without_evictions(demand)
        if rollout is not None:
            demand = msgspec.structs.replace(demand, rollout=rollout)
        demand = self.rebalances.with_question(key, workload, demand, now)
        demand, decision = self._choose(key, workload, demand, now)
        demand, decision, is_ending = self.preemption.consider(
            key, workload, demand, decision, lambda one: self._choose(key, workload, one, now)[1]
        )
        outcome = outcome_of(decision, demand)
        if not is_step and self._is_kept(workload, status, decision, is_ending=is_ending):
            return Draft(status=status, outcome=outcome)
        draft = self._draft(workload, status, demand, decision, outcome, recorded=workload, now=now)
        after = self.rollouts.with_decision(workload, draft.status, rollout, decision, now)
        draft = replace(draft, status=with_rebalance(after, decision, now))
        if not is_ending:
            generation = workload.metadata.generation
            after = with_preemption(draft.status, decision, generation, now)
            draft = replace(draft, status=after)
        return self._with_accepted(draft, workload, workload.spec, accepted, is_present=True)

    def _is_kept(
        self, workload: Workload, status: WorkloadStatus, decision: Decision, *, is_ending: bool
    ) -> bool:
        """Whether a decision says nothing that is not recorded already.

        Args:
            workload: as the hub holds it.
            status: its status, with the placement that was adopted from sites, if any.
            decision: the new decision.
            is_ending: it waits for others that are ending, as the recorded one does.
        """
        if is_ending:
            return not ends_or_violates(status, decision)
        return decision.preemption is None and is_unchanged(workload, status, decision)

    def may_decide_together(self, demand: Demand) -> bool:
        """Whether workloads with this demand may be decided in one step."""
        if self.is_assigned(demand):
            return False
        now = self.inputs.now()
        return may_choose_together(demand, self.inputs.fleet, now=now, terms=self.inputs.terms)

    def is_assigned(self, demand: Demand) -> bool:
        """Whether the last batch assigns sites to a workload."""
        return demand.key in self.inputs.assigned

    def decide_together(
        self, members: Sequence[EqualMember], sites: set[str]
    ) -> list[Draft] | None:
        """Makes the decisions about equal workloads that are new, or that move alike, in one step.

        What is placed is in flight in the fleet afterwards, until each decision is assumed.

        Args:
            members: in the order in which they wait.
            sites: takes the names of the sites where the fleet counts what is placed.

        Returns:
            The draft of each of them, or of the first ones; None: nothing was decided, they are to
            be decided one by one.
        """
        now, clock, terms = self.inputs.now(), self.inputs.clock, self.inputs.terms
        started_seconds = clock.monotonic()
        if members[0].demand.placed:
            decided: EqualDecisions | None = self._choose_moves(members, now)
        else:
            decided = choose_together(
                members[0].demand,
                _subjects_of(members),
                self.inputs.fleet,
                now=now,
                terms=terms,
                most_shares=_MAX_SHARES_TOGETHER,
            )
        if decided is None or not decided.subjects:
            return None
        members = members[: len(decided.subjects)]
        sites.update(each.site for one in decided.outcomes for each in one.assignment)
        seconds = (clock.monotonic() - started_seconds) / len(members)
        decisions = [expand(decided, index) for index in range(len(members))]
        appends = self._prepare_together(members, decisions, decided, now)
        return [
            self._draft_of_member(one, decision, append, now, seconds)
            for one, decision, append in zip(members, decisions, appends, strict=True)
        ]

    def _choose_moves(self, members: Sequence[EqualMember], now: datetime) -> EqualDecisions:
        """The decisions about the first ones of equal moves, which all follow one list or none."""
        members = members[:_MAX_MOVES_TOGETHER]
        entries = [self._assigned_to(one.workload, one.demand) for one in members]
        first = _list_of(entries[0])
        alike = next((n for n, one in enumerate(entries) if _list_of(one) != first), len(members))
        return choose_moves(
            members[0].demand,
            _subjects_of(members[:alike]),
            self.inputs.fleet,
            now=now,
            terms=self.inputs.terms,
            assigned={
                member.demand.key: entry
                for member, entry in zip(members, entries[:alike], strict=False)
                if entry is not None
            },
        )

    def _draft_of_member(
        self,
        one: EqualMember,
        decision: Decision,
        append: PreparedRecord | None,
        now: datetime,
        seconds: float,
    ) -> Draft:
        """The draft of one of several decisions; without `append` there is nothing to record."""
        key, workload, demand = one.key, one.workload, one.demand
        self.failover.evictions.on_decided(key)
        self.stats.record_seen(key, workload)
        self._note_decision(key, demand, decision, now, seconds)
        outcome = outcome_of(decision, demand)
        if append is None:
            return Draft(status=workload.status, outcome=outcome)
        draft = self._draft(
            workload,
            workload.status,
            demand,
            decision,
            outcome,
            recorded=workload,
            now=now,
            append=append,
        )
        accepted = _without_evictions(demand)
        return self._with_accepted(draft, workload, workload.spec, accepted, is_present=True)

    def _prepare_together(
        self,
        members: Sequence[EqualMember],
        decisions: Sequence[Decision],
        decided: EqualDecisions,
        now: datetime,
    ) -> list[PreparedRecord | None]:
        """What appends each decision; None for one that says what is recorded already.

        Such ones still wait, and none that waits changes another decision.
        """
        appends: list[PreparedRecord | None] = [None] * len(members)
        new = [
            index
            for index, (one, decision) in enumerate(zip(members, decisions, strict=True))
            if not is_unchanged(one.workload, one.workload.status, decision)
        ]
        if len(new) == 1:
            (index,) = new
            content = self._content_of(members[index].demand, decisions[index])
            appends[index] = self._prepare(members[index].workload, now, content)
        elif new:
            prepared = self.recorder.prepare_equal(
                epoch=self.epoch(),
                at=now,
                demand=members[0].demand,
                terms=self.inputs.terms,
                decisions=selected(decided, new),
                shares=[
                    RecordedShare(
                        spec=recorded_spec(members[index].workload.spec),
                        incarnation=members[index].workload.status.incarnation,
                        references=self.references_of(_key_of(members[index].workload)),
                    )
                    for index in new
                ],
                followed=self._followed_by(decided.outcomes),
            )
            for index, append in zip(new, prepared, strict=True):
                appends[index] = append
        return appends

    async def record(self, draft: Draft) -> list[DecisionReference]:
        """Records what is decided; returns when all of it is durable.

        If the second of two cannot be recorded, the first has no effect, and the ledger says so.

        Raises:
            NotRecorded: the ledger cannot be written.
        """
        references: list[DecisionReference] = []
        for one in draft.unrecorded:
            try:
                references.append(await self._append(one))
            except NotRecorded as error:
                names = [reference.name for reference in references]
                await self.record_not_carried_out(one.workload, names, str(error))
                raise
        return references

    async def record_not_carried_out(
        self, workload: Workload, decisions: Iterable[str], why: str
    ) -> None:
        """Records that decisions, given by id, had no effect."""
        for one in decisions:
            _log.info("decision %s was not carried out: %s", one, why)
            await self.recorder.record_not_carried_out(
                subject=workload.metadata.key,
                epoch=self.epoch(),
                at=self.inputs.clock.now(),
                decision=one,
                why=why[:MAX_TEXT_LENGTH],
                incarnation=workload.status.incarnation,
            )

    async def _append(self, one: Unrecorded) -> DecisionReference:
        recorded = await one.append()
        reference = reference_of(one.line, one.decided_at, recorded)
        ids = {"decision": reference.name, "workload": one.workload.metadata.key}
        _log.info("decided %s: %s", one.workload.metadata.key, one.line, extra=ids)
        if one.demand is not None and one.decision is not None:
            self._report_violations(one.workload, one.demand, one.decision)
        return reference

    def _recheck_last_accepted(
        self, key: WorkKey, workload: Workload, now: datetime
    ) -> Draft | None:
        """Decides about what runs of a workload whose present spec is not accepted.

        The spec that was accepted last counts, so an edit that cannot be accepted does not exempt
        a workload from the rules. Nothing new is placed.
        """
        former = self.accepted.last_accepted(workload)
        if former is None:
            return None
        recorded, demand = self._former_to_recheck(workload, former)
        demand, decision = self._choose(key, workload, demand, now)
        if not ends_or_violates(workload.status, decision):
            return None
        outcome = outcome_of(decision, demand)
        draft = self._draft(
            workload, workload.status, demand, decision, outcome, recorded=recorded, now=now
        )
        return self._with_accepted(draft, workload, former.spec, former.demand, is_present=False)

    def _choose(
        self, key: WorkKey, workload: Workload, demand: Demand, now: datetime
    ) -> tuple[Demand, Decision]:
        """The decision, and the demand that it answers; it is counted.

        The demand differs from the given one if a move that cannot be carried on is reverted.
        """
        clock = self.inputs.clock
        self.stats.record_seen(key, workload)
        started_seconds = clock.monotonic()
        demand, decision = self._choose_uncounted(workload, demand, now)
        self._note_decision(key, demand, decision, now, clock.monotonic() - started_seconds)
        return demand, decision

    def _choose_uncounted(
        self, workload: Workload, demand: Demand, now: datetime
    ) -> tuple[Demand, Decision]:
        fleet, terms = self.inputs.fleet, self.inputs.terms
        assigned = self._assigned_to(workload, demand)
        demand, decision = self.failover.choose(
            workload,
            demand,
            lambda one: choose(one, fleet, now=now, terms=terms, assigned=assigned),
        )
        reverted = None if decision.phase == "Placed" else revert_migration(demand, decision)
        if reverted is not None:
            decision = choose(reverted, fleet, now=now, terms=terms, assigned=assigned)
            demand = reverted
        return demand, decision

    def _assigned_to(self, workload: Workload, demand: Demand) -> BatchAssignment | None:
        """What the kept plan for a loss, or else the last batch, says of a workload."""
        return self._planned(workload, demand) or self.inputs.assigned.get(demand.key)

    def _planned(self, workload: Workload, demand: Demand) -> BatchAssignment | None:
        """What the kept plan for a loss says of a workload that failover moves now; None: nothing.

        A drain is no loss, and replicas that stay for now are no part of a plan.
        """
        if not demand.evicted or demand.evicted_keep:
            return None
        drained = self.failover.evictions.drained_sites(_key_of(workload))
        if not drained.isdisjoint(demand.evicted):
            return None
        states = self.order_sync.sites.states

        def is_open(site: str) -> bool:
            return (state := states.get(site)) is not None and state.is_ready

        return self.kept_plans().entry_for(demand.key, demand.evicted, is_open)

    def preview(
        self, key: WorkKey, workload: Workload, demand: Demand | NotAccepted
    ) -> tuple[Demand, Decision] | None:
        """What would be decided now, with its demand; nothing is recorded or counted.

        None: the spec is not accepted, and nothing says what was. As after a decision, it is noted
        when the passing of time may change it.
        """
        now = self.inputs.clock.now()
        if isinstance(demand, NotAccepted):
            former = self.accepted.last_accepted(workload)
            if former is None:
                return None
            _, demand = self._former_to_recheck(workload, former)
        else:
            demand = demand_to_decide(workload, demand, is_policy_changed=False)
        demand, decision = self._choose_uncounted(workload, demand, now)
        self.requeue_reasons.set_timer(key, evicted_by_taint_at(demand, self.inputs.fleet, now))
        return demand, decision

    def _former_to_recheck(
        self, workload: Workload, former: AcceptedSpec
    ) -> tuple[Workload, Demand]:
        """The workload with the spec that was accepted last, and its demand by today's rights."""
        recorded = msgspec.structs.replace(workload, spec=former.spec)
        rights = with_rights_of_today(recorded, former.demand, self.objects)
        demand = demand_to_recheck(workload, rights)
        preempted = self.preemption.preempted(_key_of(workload), workload)
        return recorded, msgspec.structs.replace(demand, preempted=preempted)

    def _note_decision(
        self, key: WorkKey, demand: Demand, decision: Decision, now: datetime, seconds: float
    ) -> None:
        """Counts a decision that took so many seconds, and notes when time may change it."""
        fleet = self.inputs.fleet
        self.requeue_reasons.set_timer(key, evicted_by_taint_at(demand, fleet, now))
        self.stats.telemetry.observe_decision(seconds)
        self.stats.record_decision(key, decision, demand, fleet, self.inputs.terms)

    def _draft(
        self,
        workload: Workload,
        status: WorkloadStatus,
        demand: Demand,
        decision: Decision,
        outcome: ReconcileResult,
        *,
        recorded: Workload,
        now: datetime,
        append: PreparedRecord | None = None,
    ) -> Draft:
        """The draft of a decision.

        Args:
            workload: as the hub holds it.
            status: the status until now.
            demand: the demand that was decided on.
            decision: the decision.
            outcome: the outcome of the reconciliation.
            recorded: the workload with the spec that was decided on.
            now: when it was made.
            append: appends it; None: it is prepared here, with the fleet as it is now.
        """
        completions = None
        if demand.strategy != "Duplicated":
            completions = total_completions(recorded.spec.manifests)
        after = self._with_decision(
            workload,
            status,
            decision,
            reference_of(decision.line, now),
            now,
            completions=completions,
            identity=demand.identity,
            unready_sites=unready_sites(status, demand),
            pin_at=self._pin_at(workload, recorded.spec, demand),
            keeps_former=recorded is not workload,
        )
        key = (workload.metadata.namespace, workload.metadata.name)
        after = self.failover.with_decision(key, after, demand, decision)
        after = with_preempted(after, demand, decision, now)
        unrecorded = Unrecorded(
            append=append or self._prepare(recorded, now, self._content_of(demand, decision)),
            line=decision.line,
            decided_at=now,
            workload=recorded,
            demand=demand,
            decision=decision,
        )
        return Draft(status=after, outcome=outcome, demand=demand, unrecorded=(unrecorded,))

    def _content_of(self, demand: Demand, decision: Decision) -> dict[str, Any]:
        """What the record of a decision holds of it."""
        content: dict[str, Any] = {
            "demand": demand,
            "terms": self.inputs.terms,
            "decision": decision,
        }
        return content | self._followed_by((decision,))

    def _followed_by(self, decisions: Iterable[Decision]) -> dict[str, Any]:
        """The list of a batch or plan that decisions follow; empty: it has no part in them."""
        batch = next((one.batch for one in decisions if one.batch is not None), None)
        if batch is None:
            return {}
        found: dict[str, Any] = {"assignment": batch.assignment}
        if batch.loss:
            found["planOf"] = batch.loss
            found["plan"] = self.kept_plans().listed(batch.assignment)
        return found

    def _with_accepted(
        self,
        draft: Draft,
        workload: Workload,
        spec: WorkloadSpec,
        demand: Demand,
        *,
        is_present: bool,
    ) -> Draft:
        """The draft with what is accepted, for the next leader; equal content stays as it is.

        Args:
            draft: of a decision.
            workload: as the hub holds it.
            spec: the spec that is accepted.
            demand: of that spec.
            is_present: it is the present one.
        """
        if not draft.status.placement.groups:  # nothing is ordered
            after = msgspec.structs.replace(draft.status, accepted=None)
            return replace(draft, status=after)
        former = workload.status.accepted
        is_readable = former is not None and not self.accepted.problem_of(workload)
        if not is_present and is_readable:
            return draft
        packed = pack_accepted(spec, demand)
        reference = packed.reference(workload.metadata.generation if is_present else 0)
        is_stored = is_readable and former is not None and former.digest == packed.digest
        after = msgspec.structs.replace(draft.status, accepted=reference)
        too_large = None if packed.fits_status or is_stored else packed
        return replace(draft, status=after, too_large=too_large)

    def _with_decision(
        self,
        workload: Workload,
        status: WorkloadStatus,
        decision: Decision,
        reference: DecisionReference,
        now: datetime,
        *,
        completions: int | None,
        identity: Identity | None,
        unready_sites: Collection[str],
        pin_at: Callable[[str, Mapping[str, SiteShare]], NodePin | None],
        keeps_former: bool,
    ) -> WorkloadStatus:
        generation = workload.metadata.generation
        is_spec_changed = status.observed_generation != generation
        after = statuses.with_decision(
            status,
            decision,
            reference,
            is_new_content=is_spec_changed,
            known_sites=self.objects.sites,
            now=now,
            views=self.order_sync.site_views(workload, status),
            completions=completions,
            identity=identity,
            unready_sites=unready_sites,
            pin_at=pin_at,
            keeps_former=keeps_former,
        )
        if status.phase == "Completed" and not is_spec_changed:
            after = msgspec.structs.replace(after, phase="Completed")
        return msgspec.structs.replace(after, observed_generation=generation)

    def _pin_at(
        self, workload: Workload, spec: WorkloadSpec, demand: Demand
    ) -> Callable[[str, Mapping[str, SiteShare]], NodePin | None]:
        """What gives the pin of each site's order, from the facts that were decided on.

        Args:
            workload: as the hub holds it.
            spec: the spec that the orders are made of.
            demand: of that spec.
        """
        are_templates_new = self._are_templates_new(workload, spec)
        has_fixed = has_fixed_templates(spec)
        fleet = self.inputs.fleet

        def pin_at(site: str, before: Mapping[str, SiteShare]) -> NodePin | None:
            fresh = pin_of(demand, fleet.facts_of(site)) if site in fleet.slot_of else None
            return next_pin(
                site, before, fresh, are_templates_new=are_templates_new, has_fixed=has_fixed
            )

        return pin_at

    def _are_templates_new(self, workload: Workload, spec: WorkloadSpec) -> bool:
        """Whether all pods are made again anyway, or nothing is known of what runs.

        A hub without statuses adopts what sites run. What was ordered there is most likely what
        would be ordered now, pin and all.
        """
        status = workload.status
        if not status.placement.groups:
            return True
        if status.accepted is None or status.observed_generation == workload.metadata.generation:
            return False
        try:
            former = self.accepted.last_accepted(workload)
        except ValueError:
            return False
        return former is not None and are_templates_changed(former.spec, spec)

    def _report_violations(self, workload: Workload, demand: Demand, decision: Decision) -> None:
        """Records an event and counts what breaks a right, whatever is done about it."""
        if not decision.violations:
            return
        treatment = demand.on_violation
        message = format_violations(decision, treatment)
        self.events.record(workload, reason="Violation", message=message, is_warning=True)
        for reason in decision.violations.values():
            self.stats.telemetry.count_violation(reason, treatment)

    def _refuse(
        self, workload: Workload, rechecked: Draft | None, refusal: NotAccepted, now: datetime
    ) -> Draft:
        """The draft for a workload whose spec is not accepted; recorded if that is new.

        Args:
            workload: as the hub holds it.
            rechecked: what is decided about what runs of it; None: nothing.
            refusal: why the spec is not accepted.
            now: the time.
        """
        line = f"{refusal.reason}: {refusal.message}"[:MAX_TEXT_LENGTH]
        retry = _NOT_ADOPTED_RETRY_SECONDS if refusal.condition == NOT_ADOPTED else None
        outcome = ReconcileResult("not-accepted", frozenset({refusal.reason}), retry)
        draft = rechecked or Draft(status=workload.status, outcome=outcome)
        status = draft.status
        is_seen = status.observed_generation == workload.metadata.generation
        if is_seen and status.decision and status.decision.line == line:
            return replace(draft, outcome=outcome)
        append = self._prepare(workload, now, {"refusal": refusal})
        unrecorded = Unrecorded(append=append, line=line, decided_at=now, workload=workload)
        after = statuses.with_refusal(status, refusal, reference_of(line, now), now)
        after = msgspec.structs.replace(after, preempting=(), preemption=None)
        return replace(
            draft,
            status=msgspec.structs.replace(after, observed_generation=workload.metadata.generation),
            outcome=outcome,
            unrecorded=(*draft.unrecorded, unrecorded),
        )

    def _prepare(
        self, workload: Workload, now: datetime, content: dict[str, Any]
    ) -> PreparedRecord:
        if "decision" in content and (references := self.references_of(_key_of(workload))):
            content = {**content, "references": references}
        return self.recorder.prepare(
            subject=workload.metadata.key,
            epoch=self.epoch(),
            at=now,
            content=content,
            spec=recorded_spec(workload.spec),
            incarnation=workload.status.incarnation,
        )


def _key_of(workload: Workload) -> WorkKey:
    return workload.metadata.namespace, workload.metadata.name


def _subjects_of(members: Sequence[EqualMember]) -> list[Subject]:
    return [Subject(workload=one.demand.key, uid=one.demand.uid) for one in members]


def _list_of(entry: BatchAssignment | None) -> tuple[str, str]:
    """Which list an entry is of; of none without an entry."""
    return ("", "") if entry is None else (entry.version, entry.loss)


def _without_evictions(demand: Demand) -> Demand:
    """What is accepted of a demand: why replicas are to leave is no part of it."""
    if not (demand.evicted or demand.preempted):
        return demand
    return msgspec.structs.replace(demand, evicted=(), evicted_keep={}, preempted=())
