"""What `kapok explain` and the page say of a decision: verdicts, costs and smallest changes."""

from dataclasses import dataclass
from typing import Any

from scheduler.inquiry.recorded import ExplainedDecision
from scheduler.model.canonical import digest_of_bytes
from scheduler.model.decision import (
    Explanation,
    RolloutStep,
    SiteExplanation,
    SuggestedChange,
    decision_bytes,
)
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.demand.identity import is_kept_at_one_site
from scheduler.model.formatters import format_rfc3339_exact
from scheduler.model.overrides.shown import steps_at
from scheduler.model.words.sentence import json_of
from scheduler.placement.explain.explain import explain
from scheduler.placement.explain.need import by_need
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.fleet.context import decision_context
from scheduler.words.explained import offer_json, plain_reasons


def explain_as_json(explained: ExplainedDecision) -> dict[str, Any]:
    """The explanation of all sites, and the smallest changes for what is not placed."""
    demand, decision = explained.demand, explained.decision
    if isinstance(demand, NotAccepted) or decision is None:
        return _format_refusal(explained)
    explanation = explain(
        demand, explained.fleet, now=explained.now, terms=explained.terms, decision=decision
    )
    changes = _changes_of(explained)
    answer = _format_explanation(explanation, changes)
    for site in answer["sites"]:
        if site["replicas"] and (applied := _applied_at(explained, site["name"], site["replicas"])):
            site["applied"] = applied
    if any(is_kept_at_one_site(demand, rule) for rule in demand.spread):
        what = demand.numbered_set or demand.key
        answer["notes"].append(f"{what} stays at one site (placement.identity: Whole)")
    if is_stuck(explained) and not changes:
        answer["notes"].append("none of the changes that were tried would make it fit")
    if decision.rollout is not None:
        answer["rollout"] = rollout_as_json(decision.rollout)
    return answer | ({"decision": explained.record_id} if explained.record_id else {})


def rollout_as_json(step: RolloutStep) -> dict[str, Any]:
    """How far the content had gone out by a decision, and what the next group waits for."""
    return {
        "phase": step.phase,
        "group": step.group,
        "released": step.released,
        "groups": step.groups,
        "former": list(step.former),
        "because": step.because,
        "waitsFor": step.waits_for,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePage:
    """Which sites an explanation is about.

    Attributes:
        offset: sites before the page.
        limit: sites of the page.
        search: a part of the names of sites; "": all.
        also: sites that are explained beside the page.
    """

    offset: int = 0
    limit: int = 50
    search: str = ""
    also: tuple[str, ...] = ()


def explain_page(explained: ExplainedDecision, page: SitePage) -> dict[str, Any]:
    """The explanation of some sites: those with replicas first, then those that admit most.

    The keys are those of `explain_as_json`, with `total` and `offset`; `smallestChange` is empty,
    as it takes long. `also` holds the sites that were asked for by name, as far as they are known.
    """
    demand, decision, fleet = explained.demand, explained.decision, explained.fleet
    if isinstance(demand, NotAccepted) or decision is None:
        return _format_refusal(explained) | {"also": [], "total": 0, "offset": 0}
    shares = {each.site: each.replicas for each in decision.assignment}
    context = decision_context(explained.now, explained.terms)
    names = [name for name in fleet.slot_of if page.search in name]
    ordered = by_need(demand, fleet, context, names, shares)
    shown = ordered[page.offset : page.offset + page.limit]
    also = [name for name in page.also if name in fleet.slot_of]
    explanation = explain(
        demand,
        fleet,
        now=explained.now,
        terms=explained.terms,
        decision=decision,
        sites={*shown, *also},
    )
    answer = _format_explanation(explanation, ())
    found = {site["name"]: site for site in answer["sites"]}
    answer["notes"] += explained.notes
    return answer | {
        "decision": explained.record_id or answer["decision"],
        "sites": [found[name] for name in shown],
        "also": [found[name] for name in also],
        "total": len(ordered),
        "offset": page.offset,
        "reasons": dict(decision.reasons),
        "wantedReplicas": demand.replicas,
    }


def is_stuck(explained: ExplainedDecision) -> bool:
    """Whether a workload is not placed; one with a planned start needs no change to be."""
    decision = explained.decision
    return decision is not None and decision.phase != "Placed" and decision.start_at is None


def changes_as_json(explained: ExplainedDecision) -> list[dict[str, Any]]:
    """The smallest changes after which a workload that is not placed would be."""
    return [offer_json(each) for each in _changes_of(explained)]


def _changes_of(explained: ExplainedDecision) -> tuple[SuggestedChange, ...]:
    if isinstance(explained.demand, NotAccepted) or not is_stuck(explained):
        return ()
    context = decision_context(explained.now, explained.terms)
    return suggest_changes(explained.demand, explained.fleet, context, explained.others)


def _applied_at(explained: ExplainedDecision, site: str, replicas: int) -> list[dict[str, Any]]:
    """The steps from the workload's manifests to those of a site; none if all sites have these."""
    if explained.spec is None:
        return []
    facts, namespace = explained.fleet.facts_of(site), explained.key.partition("/")[0]
    steps = steps_at(explained.spec, namespace, site, facts.labels, facts.spec, replicas=replicas)
    return [
        {"source": one.source, "object": one.object, "changes": list(one.changes)} for one in steps
    ]


def _format_explanation(
    explanation: Explanation, changes: tuple[SuggestedChange, ...]
) -> dict[str, Any]:
    decision = explanation.decision
    return {
        "workload": decision.workload,
        "decision": digest_of_bytes(decision_bytes(decision)),
        "decidedAt": format_rfc3339_exact(decision.decided_at),
        "line": decision.line,
        "phase": decision.phase,
        "sites": [_format_site(each) for each in explanation.sites],
        "smallestChange": [offer_json(each) for each in changes],
        "plain": plain_reasons(decision.reasons),
        "notes": list(decision.notes),
    }


def _format_site(site: SiteExplanation) -> dict[str, Any]:
    return {
        "name": site.name,
        "admitted": site.admitted,
        "verdicts": [
            {
                "rule": verdict.rule,
                "reason": verdict.reason,
                "passed": verdict.passed,
                "sentence": verdict.sentence,
                **json_of(verdict.sentence),
            }
            for verdict in site.verdicts
        ],
        "room": site.room,
        "costs": [
            {
                "term": cost.term,
                "cnyPerReplicaHour": cost.cny_per_replica_hour,
                "origin": cost.origin,
                "ageSeconds": cost.age_seconds,
            }
            for cost in site.costs
        ],
        "totalCnyPerReplicaHour": site.total_cny_per_replica_hour,
        "replicas": site.replicas,
    }


def _format_refusal(explained: ExplainedDecision) -> dict[str, Any]:
    message = explained.demand.message if isinstance(explained.demand, NotAccepted) else ""
    return {
        "workload": explained.key,
        "decision": explained.record_id,
        "decidedAt": format_rfc3339_exact(explained.now),
        "line": f"not accepted: {message}",
        "phase": "Refused",
        "sites": [],
        "smallestChange": [],
        "plain": [],
        "notes": [],
    }
