"""Explains a decision: every verdict and every cost, site by site.

None of this is kept with a decision. It follows from the same inputs, so the record of a decision
gives its explanation, byte for byte.
"""

from collections.abc import Collection
from datetime import datetime

import numpy as np

from scheduler.model.decision import (
    CostTerm,
    Decision,
    Explanation,
    SiteExplanation,
    Verdict,
)
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
from scheduler.model.kinds.fields import Origin
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.choose import choose, prepare_cycle
from scheduler.placement.filter.rules import Rule, is_grant_rule, rule_name, valid_grants
from scheduler.placement.fit.planned_room import runs_that_count
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.result import CycleState, is_fragmented
from scheduler.placement.start_time import context_at_start


def explain(
    demand: Demand,
    fleet: Fleet,
    *,
    now: datetime,
    terms: Terms = DEFAULT_TERMS,
    decision: Decision | None = None,
    sites: Collection[str] | None = None,
) -> Explanation:
    """Explains a decision.

    Args:
        demand: as in `choose`.
        fleet: as in `choose`.
        now: as in `choose`.
        terms: as in `choose`.
        decision: the result of `choose`; None: call it.
        sites: the sites that are explained; None: all.
    """
    decided = choose(demand, fleet, now=now, terms=terms) if decision is None else decision
    state = prepare_cycle(demand, fleet, context_at_start(decision_context(now, terms), decided))
    shares = {each.site: each.replicas for each in decided.assignment}
    return Explanation(
        decision=decided,
        sites=tuple(
            _explain_site(state, name, shares.get(name, 0))
            for name in sorted(fleet.slot_of if sites is None else sites)
        ),
    )


def _explain_site(state: CycleState, name: str, replicas: int) -> SiteExplanation:
    slot = state.fleet.slot_of[name]
    max_additional = state.capacity.replicas_at_slot(slot)
    return SiteExplanation(
        name=name,
        admitted=bool(state.filter_result.admitted[slot]),
        verdicts=(
            *_rule_verdicts(state, slot),
            _fit_verdict(state, slot, max_additional, replicas),
        ),
        room=max_additional,
        costs=_cost_terms(state, slot),
        total_cny_per_replica_hour=(
            float(state.costs.cny[slot]) if state.costs.are_known(np.array([slot])) else None
        ),
        replicas=replicas,
    )


def _rule_verdicts(state: CycleState, slot: int) -> tuple[Verdict, ...]:
    facts = state.fleet.facts_of(state.fleet.name_at(slot))
    answers = {rule: bool(passed[slot]) for rule, passed in state.filter_result.passed}
    by_name = {rule_name(rule): passed for rule, passed in answers.items()}
    return tuple(
        _verdict(state, facts, rule, passed=passed, by_name=by_name)
        for rule, passed in answers.items()
    )


def _verdict(
    state: CycleState, facts: SiteFacts, rule: Rule, *, passed: bool, by_name: dict[str, bool]
) -> Verdict:
    missing = (
        _missing_right(facts, by_name)
        if is_grant_rule(rule) or (rule_name(rule) == "grant-expired" and not by_name["has-grant"])
        else _missing_fact(rule_name(rule), facts, by_name)
        if passed
        else None
    )
    sentence = missing
    if sentence is None and not passed:
        sentence = never_reported(rule, facts)
    if sentence is None and not passed and is_grant_rule(rule):
        allowing = [
            grant.name
            for grant in valid_grants(facts, state.context)
            if rule.allows(grant, state.demand)
        ]
        if allowing:
            sentence = _NO_SINGLE_GRANT(site=facts.name, grants=tuple(allowing))
    return Verdict(
        rule=rule_name(rule),
        reason=rule.reason,
        passed=None if missing else passed,
        sentence=sentence or rule.explain(facts, state.demand, state.context),
    )


def never_reported(rule: Rule, facts: SiteFacts) -> Sentence | None:
    """Why a rule about what a site reports refuses one that never reported; None for others."""
    has_reported = facts.observed_at is not None or facts.status.node_classes
    if has_reported or rule_name(rule) not in _RULES_ABOUT_REPORTS:
        return None
    return _NEVER_REPORTED(site=facts.name)


def _missing_right(facts: SiteFacts, by_name: dict[str, bool]) -> Sentence | None:
    """Why rules about grants have nothing to look at; None: they have."""
    if not by_name["data-class-missing"]:
        return _NO_CLASS(site=facts.name)
    if not by_name["has-grant"]:
        return _NO_GRANT(site=facts.name)
    return None if by_name["grant-expired"] else _NO_VALID_GRANT(site=facts.name)


def _missing_fact(name: str, facts: SiteFacts, by_name: dict[str, bool]) -> Sentence | None:
    """Why a rule that refuses nothing has not looked at the site; None: it has."""
    if name in _RULES_ABOUT_REPORTS and facts.observed_at is None:
        return _NOT_REPORTED(site=facts.name)
    if name in _RULES_ABOUT_NODES and not facts.status.node_classes:
        return _NO_NODES(site=facts.name)
    needed = _RULES_BEFORE.get(name, ())
    failed = next((each for each in needed if not by_name[each]), "")
    return _REFUSED_BEFORE(site=facts.name, rule=failed) if failed else None


_RULES_ABOUT_NODES = frozenset(
    {"operating-system", "architecture", "cpu-vendor", "node-taint", "node-selector"}
)
_RULES_ABOUT_REPORTS = _RULES_ABOUT_NODES | {"no-executor", "api-kind", "site-limits"}
_RULES_BEFORE = {
    "architecture": ("operating-system",),
    "cpu-vendor": ("operating-system", "architecture"),
    "node-taint": ("node-selector",),
    "too-far": ("latency-unknown",),
}
"""The rules without whose pass a rule has nothing to compare, by name."""


def _cost_terms(state: CycleState, slot: int) -> tuple[CostTerm, ...]:
    facts = state.fleet.facts_of(state.fleet.name_at(slot))
    terms = []
    for cost, units, figures in state.costs.terms:
        origin, age = cost.origin(facts, state.demand, state.context)
        known = bool(figures.known[slot])
        terms.append(
            CostTerm(
                term=cost.term,
                cny_per_replica_hour=float(figures.value[slot]) * units if known else None,
                origin=_shown_origin(origin, known=known),
                age_seconds=age,
            )
        )
    return tuple(terms)


def _shown_origin(origin: Origin, *, known: bool) -> Origin:
    """A known figure without an origin counts as assumed, not as unknown."""
    if not known:
        return "unknown"
    return "assumed" if origin == "unknown" else origin


def _fit_verdict(state: CycleState, slot: int, max_additional: int, replicas: int) -> Verdict:
    wanted = state.demand.replicas
    summed = int(state.capacity.replicas_by_sums(np.array([slot]))[0])
    fragmented = bool(is_fragmented(np.array([max_additional]), np.array([summed]), wanted)[0])
    reason: Reason = "fragmented" if fragmented else "full"
    name = state.fleet.name_at(slot)
    more: list[str] = []
    if slot in state.capacity.quota_bound_slots:
        reason, fragmented = "quota", False
        more.append(_QUOTA_BOUND(namespace=state.demand.namespace))
    if fragmented:
        more.append(_FRAGMENTED(summed=summed))
    facts = state.fleet.facts_of(name)
    if facts.replicas_in_flight and max_additional < wanted and not replicas:
        more.append(_IN_FLIGHT(replicas=facts.replicas_in_flight))
    if slot in state.capacity.planned_slots and max_additional < wanted:
        more.append(_PLANNED(count=len(runs_that_count(facts, state.demand))))
    if facts.reserved_for:
        more.append(_RESERVED(workloads=tuple(facts.reserved_for)))
    sentence = (
        _PLACED(site=name, replicas=replicas, wanted=wanted, more=tuple(more))
        if replicas
        else _ROOM(site=name, room=max_additional, wanted=wanted, more=tuple(more))
    )
    return Verdict(
        rule="fit", reason=reason, passed=max_additional > 0 or replicas > 0, sentence=sentence
    )


_NO_SINGLE_GRANT = Message(
    "grants.none-allows-all",
    "no single grant of {site} allows all that is asked: {grants:list} "
    "allows this, and does not allow what another rule asks",
)
_NO_CLASS = Message(
    "not-looked-at.no-class",
    "not looked at: {site} is asked for data of no class, so no grant can be compared",
)
_NO_GRANT = Message("not-looked-at.no-grant", "not looked at: {site} has no grant")
_NO_VALID_GRANT = Message(
    "not-looked-at.no-valid-grant", "not looked at: {site} has no grant that is valid now"
)
_NOT_REPORTED = Message("not-looked-at.not-reported", "not looked at: {site} has not reported")
_NEVER_REPORTED = Message(
    "refused.never-reported", "{site} never reported, so what is there is not known"
)
_NO_NODES = Message("not-looked-at.no-nodes", "not looked at: {site} reports no nodes")
_REFUSED_BEFORE = Message(
    "not-looked-at.refused-before",
    "not looked at: {site} is refused by the rule {rule}, which comes before",
)
_ROOM = Message(
    "fit.room", "{site} takes {room:n} more of {wanted:n} replicas, node by node{more:parts}"
)
_PLACED = Message(
    "fit.placed", "{site} has {replicas:n} of {wanted:n} replicas in this decision{more:parts}"
)
_QUOTA_BOUND = Message(
    "fit.quota", "; the ResourceQuotas of namespace {namespace} there allow no more"
)
_FRAGMENTED = Message(
    "fit.fragmented", "; the free capacity summed over its nodes would hold {summed:n}"
)
_IN_FLIGHT = Message(
    "fit.in-flight",
    "; room is kept there for {replicas:n} replicas in flight: "
    "waiting for the site to report what was just sent",
)
_PLANNED = Message(
    "fit.planned", "; room there is kept for the planned starts of {count:n} other workloads"
)
_RESERVED = Message(
    "fit.reserved", "; capacity there is reserved for {workloads:list}, which has waited long"
)
