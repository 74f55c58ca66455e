"""Every verdict, every cost, site by site: told only when somebody asks.

Nothing of this is kept with a decision. It follows from the same inputs, so whoever has the record
of a decision can have its explanation, byte for byte.
"""

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
from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
from scheduler.model.kinds.fields import Origin
from scheduler.model.reasons import Reason
from scheduler.placement.choose import choose, consider
from scheduler.placement.filter.rules import name_of
from scheduler.placement.fleet.context import moment_of
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.result import Case, is_fragmented
from scheduler.placement.start_time import at_start


def explain(
    demand: Demand,
    fleet: Fleet,
    *,
    now: datetime,
    terms: Terms = DEFAULT_TERMS,
    decision: Decision | None = None,
) -> Explanation:
    """Explains a decision.

    Args:
        demand: as in `choose`.
        fleet: as in `choose`.
        now: as in `choose`.
        terms: as in `choose`.
        decision: what `choose` said; None: ask it.
    """
    decided = choose(demand, fleet, now=now, terms=terms) if decision is None else decision
    case = consider(demand, fleet, at_start(moment_of(now, terms), decided))
    shares = {each.site: each.replicas for each in decided.assignment}
    return Explanation(
        decision=decided,
        sites=tuple(_site(case, name, shares.get(name, 0)) for name in sorted(fleet.slot_of)),
    )


def _site(case: Case, name: str, replicas: int) -> SiteExplanation:
    slot = case.fleet.slot_of[name]
    takes = case.room.at_one(slot)
    return SiteExplanation(
        name=name,
        admitted=bool(case.admission.admitted[slot]),
        verdicts=(*_verdicts(case, slot), _fit_verdict(case, slot, takes, replicas)),
        room=takes,
        costs=_costs(case, slot),
        total_cny_per_replica_hour=(
            float(case.price.cny[slot]) if case.price.is_known(np.array([slot])) else None
        ),
        replicas=replicas,
    )


def _verdicts(case: Case, slot: int) -> tuple[Verdict, ...]:
    facts = case.fleet.facts_of(case.fleet.name_at(slot))
    return tuple(
        Verdict(
            rule=name_of(rule),
            reason=rule.reason,
            passed=bool(passed[slot]),
            sentence=rule.because(facts, case.demand, case.moment),
        )
        for rule, passed in case.admission.passed
    )


def _costs(case: Case, slot: int) -> tuple[CostTerm, ...]:
    facts = case.fleet.facts_of(case.fleet.name_at(slot))
    told = []
    for cost, units, figures in case.price.terms:
        origin, age = cost.origin(facts, case.demand, case.moment)
        known = bool(figures.known[slot])
        told.append(
            CostTerm(
                term=cost.term,
                cny_per_replica_hour=float(figures.value[slot]) * units if known else None,
                origin=_origin_told(origin, known=known),
                age_seconds=age,
            )
        )
    return tuple(told)


def _origin_told(origin: Origin, *, known: bool) -> Origin:
    """What somebody wrote without saying where it is from is assumed, not unknown."""
    if not known:
        return "unknown"
    return "assumed" if origin == "unknown" else origin


def _fit_verdict(case: Case, slot: int, takes: int, replicas: int) -> Verdict:
    wanted = case.demand.replicas
    summed = int(case.room.summed(np.array([slot]))[0])
    broken = bool(is_fragmented(np.array([takes]), np.array([summed]), wanted)[0])
    reason: Reason = "fragmented" if broken else "full"
    name = case.fleet.name_at(slot)
    sentence = f"{name} takes {takes} more of {wanted} replicas, node by node"
    if slot in case.room.bound_by_quota:
        reason, broken = "quota", False
        sentence += f"; the quotas of namespace {case.demand.namespace} there leave no more"
    if broken:
        sentence += f"; summed over its nodes the free capacity looks like room for {summed}"
    holders = case.fleet.facts_of(name).reserved_for
    if holders:
        sentence += f"; room there is reserved for {', '.join(holders)}, which has waited long"
    return Verdict(rule="fit", reason=reason, passed=takes > 0 or replicas > 0, sentence=sentence)
