"""Finds placements that do not meet a required rule while their status does not name it.

It calls the function that every decision calls, on what the hub's objects say now. An unmet rule
that the status reports as `RulesMet=False` is no finding: it is not silent.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from scheduler.model.decode import decode
from scheduler.model.demand.accept import demand_of
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import site_facts_of
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.kinds import (
    API_GROUP,
    ClusterPlacementPolicy,
    DataClassScheme,
    PlacementPolicy,
    Site,
    SiteGrant,
    Tenant,
    Workload,
)
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.required_rules import find_unmet_rules

Kind = TypeVar("Kind")


def find_silent_violations(hub: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[str]:
    """Required rules that a placement does not meet and its status does not name, as sentences."""
    ours = [each for each in hub if str(each.get("apiVersion", "")).startswith(f"{API_GROUP}/")]
    parts = [decode(each, allow_unknown=True) for each in ours]
    grants, workloads = _of(parts, SiteGrant), _of(parts, Workload)
    fleet = Fleet([site_facts_of(each, grants) for each in _of(parts, Site)])
    for workload in workloads:
        demand = demand_of(
            workload,
            scheme=next(iter(_of(parts, DataClassScheme)), None),
            tenants=_of(parts, Tenant),
            policies=_of(parts, PlacementPolicy),
            cluster_policies=_of(parts, ClusterPlacementPolicy),
            others=workloads,
        )
        if not isinstance(demand, Demand) or _is_said(workload):
            continue
        context = decision_context(now, DEFAULT_TERMS)
        for each in find_unmet_rules(demand, fleet, demand.placed_replicas, context):
            yield f"{workload.metadata.key} does not meet {each.rule}: {each.sentence}"


def _of(parts: Sequence[object], kind: type[Kind]) -> list[Kind]:
    return [each for each in parts if isinstance(each, kind)]


def _is_said(workload: Workload) -> bool:
    """Whether the status names an unmet rule, or a decision about a new spec is still due."""
    is_due = workload.status.observed_generation != workload.metadata.generation
    return is_due or any(
        each.type == "RulesMet" and each.status == "False" for each in workload.status.conditions
    )
