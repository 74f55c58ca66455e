"""What rebalancing would move now, by the engine on the objects of a hub; nothing is written."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from scheduler.cli.moving.moves import moves_between
from scheduler.cli.support.offline_input import OfflineInput, decide_one
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.policy import PlacementPolicy
from scheduler.model.kinds.rebalance import RebalanceBudget
from scheduler.model.kinds.workload import Workload
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.rebalance.plan import (
    RebalanceCandidate,
    moves_left,
    question_of,
    why_it_cannot_move,
    why_it_stays,
    within_budget,
)

_UNLIMITED = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PossibleMove:
    """A workload that would move.

    Attributes:
        namespace: of the workload.
        name: its name.
        moved_before: when it moved for a saving last, as its status says; None: never.
        rows: from where to where, with the saving of the whole move in the first row.
    """

    namespace: str
    name: str
    moved_before: str | None
    rows: list[dict[str, Any]]

    @property
    def title(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class RebalancePreview:
    """What would move, and what stays, with the reason."""

    moves: list[PossibleMove] = field(default_factory=list)
    stuck: list[dict[str, str]] = field(default_factory=list)


def preview_moves(inputs: OfflineInput, fleet: Fleet, now: datetime) -> RebalancePreview:
    """What would move of all workloads whose policy says so.

    Args:
        inputs: the objects.
        fleet: their sites.
        now: the time of the decisions.
    """
    preview = RebalancePreview()
    by_policy: dict[WorkKey, list[Workload]] = defaultdict(list)
    budgets: dict[WorkKey, RebalanceBudget] = {}
    for workload, policy in _with_budgets(inputs):
        key = (policy.metadata.namespace, policy.metadata.name)
        budgets[key] = policy.spec.rebalance
        by_policy[key].append(workload)
    for key, workloads in sorted(by_policy.items()):
        found = {
            one.metadata.key: decided
            for one in workloads
            if (decided := _decide(inputs, fleet, one, budgets[key], now, preview)) is not None
        }
        _take(found, workloads, budgets[key], now, preview)
    return preview


def _with_budgets(inputs: OfflineInput) -> Iterator[tuple[Workload, PlacementPolicy]]:
    policies = {(one.metadata.namespace, one.metadata.name): one for one in inputs.policies}
    for workload in inputs.workloads:
        if workload.spec.policy_ref is not None:
            policy = policies.get((workload.metadata.namespace, workload.spec.policy_ref.name))
            if policy is not None and policy.spec.rebalance.mode != "Off":
                yield workload, policy


def _decide(  # noqa: PLR0917 - all that a decision depends on
    inputs: OfflineInput,
    fleet: Fleet,
    workload: Workload,
    budget: RebalanceBudget,
    now: datetime,
    preview: RebalancePreview,
) -> tuple[Demand, Decision] | None:
    """The decision that moves a workload; None: it stays, with a note if it may not move."""
    title, why = workload.metadata.key, why_it_stays(workload, now)
    if why:
        preview.stuck.append({"workload": title, "reason": why})
        return None
    decided = decide_one(inputs, fleet, workload, now=now)
    if not isinstance(decided.demand, Demand):
        preview.stuck.append({"workload": title, "reason": "its spec is not accepted"})
        return None
    if why := why_it_cannot_move(decided.demand):
        preview.stuck.append({"workload": title, "reason": why})
        return None
    question = question_of(budget, _UNLIMITED)
    demand = msgspec.structs.replace(decided.demand, rebalance=question)
    decision = choose(demand, fleet, now=now)
    return None if decision.rebalance is None else (demand, decision)


def _take(
    found: dict[str, tuple[Demand, Decision]],
    workloads: list[Workload],
    budget: RebalanceBudget,
    now: datetime,
    preview: RebalancePreview,
) -> None:
    """Adds the moves that the budget of a policy allows; the others are stuck."""
    known = {one.metadata.key: one for one in workloads}
    candidates = [
        RebalanceCandidate(key=_key_of(known[title]), priority=0, step=decision.rebalance)
        for title, (_, decision) in found.items()
        if decision.rebalance is not None
    ]
    left = moves_left(budget, workloads, now)
    taken = {"/".join(one.key) for one in within_budget(candidates, left)}
    for title, (demand, decision) in sorted(found.items()):
        step = decision.rebalance
        if step is None:
            continue
        if title not in taken:
            reason = f"it needs {step.replicas} moves, and {left} are left in this hour"
            preview.stuck.append({"workload": title, "reason": reason})
            continue
        last = known[title].status.rebalance
        preview.moves.append(
            PossibleMove(
                namespace=known[title].metadata.namespace,
                name=known[title].metadata.name,
                moved_before=format_rfc3339(last.at) if last and last.at else None,
                rows=list(_rows(title, demand, decision)),
            )
        )


def _rows(title: str, demand: Demand, decision: Decision) -> Iterator[dict[str, Any]]:
    step, before = decision.rebalance, demand.placed_replicas
    after = {one.site: one.replicas for one in decision.assignment}
    left = [site for site, count in before.items() if after.get(site, 0) < count]
    for number, row in enumerate(moves_between(title, before, after, left)):
        is_first = not number and step is not None
        yield row | {
            "savesCny": step.saves_cny if is_first and step else 0.0,
            "savesGco2": step.saves_gco2 if is_first and step else 0.0,
            "costCny": step.cost_cny if is_first and step else 0.0,
        }


def _key_of(workload: Workload) -> WorkKey:
    return workload.metadata.namespace, workload.metadata.name
