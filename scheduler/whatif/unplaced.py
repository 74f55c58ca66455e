"""What a scenario leaves without a place, and why; and what waits with and without it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.reasons import TRANSIENT_REASONS
from scheduler.whatif.leaving import HeldReplicas, LeavingPlan
from scheduler.whatif.scenario.apply import ChangedFleet
from scheduler.whatif.settling.settled_fleet import SettledFleet, is_over

Row = dict[str, Any]
Running = Mapping[str, Mapping[str, int]]


def unplaced_rows(
    before: SettledFleet,
    after: SettledFleet,
    running: Running,
    changed: ChangedFleet,
    plan: LeavingPlan,
) -> tuple[list[Row], list[Row]]:
    """The workloads that are not placed after a scenario: highest priority first, then by name.

    Returns:
        Those that the scenario leaves without a place, and those that wait without it too.
    """
    unplaced, waiting = list[Row](), list[Row]()
    for key, workload in after.workloads.items():
        if is_over(workload):
            continue
        row = _row(after, key, running.get(key, {}), changed, plan.held.get(key, ()))
        if row is not None:
            row["priority"] = workload.spec.priority
            (unplaced if before.is_placed(key) else waiting).append(row)
    return sorted(unplaced, key=_row_order), sorted(waiting, key=_row_order)


def _row_order(row: Row) -> tuple[int, str]:
    return (-row["priority"], row["workload"])


def _row(
    after: SettledFleet,
    key: str,
    running: Mapping[str, int],
    changed: ChangedFleet,
    held: Iterable[HeldReplicas],
) -> Row | None:
    """The row of a workload; None: it has all its replicas, at no site that is to be left."""
    demand, held = after.demands[key], list(held)
    decision = after.refusals.get(key) or after.decisions.get(key)
    staying = {
        site: count
        for site, count in after.replicas_of(key).items()
        if site in changed.left and count
    }
    if isinstance(demand, Demand) and demand.strategy == "Duplicated" and running:
        # The copies at other sites are whole, and no site replaces one.
        staying = {site: count for site, count in staying.items() if site in changed.drained}
        held = [one for one in held if one.site in changed.drained]
    if after.is_placed(key) and not staying:
        return None
    row: Row = {
        "workload": key,
        "replicas": _wanted(demand, staying, running),
        "missing": 0,
        "reasons": _reasons(demand, decision, held, staying, changed),
        "line": _line(demand, decision, held),
        "staysAt": sorted(staying.keys() & changed.drained),
        "sites": sorted(running),
        "byOperator": any(one.by_operator for one in held),
    }
    row["missing"] = max(0, row["replicas"] - sum(running.values()))
    return row


def _wanted(
    demand: Demand | NotAccepted, staying: Mapping[str, int], running: Mapping[str, int]
) -> int:
    if isinstance(demand, Demand) and demand.strategy != "Duplicated":
        return demand.replicas
    return sum({**running, **staying}.values())


def _reasons(
    demand: Demand | NotAccepted,
    decision: Decision | None,
    held: Iterable[HeldReplicas],
    staying: Mapping[str, int],
    changed: ChangedFleet,
) -> dict[str, int]:
    """Why, as in decisions: sites by their first reason; else the sites where replicas are held."""
    if isinstance(demand, NotAccepted):
        return {demand.reason: 1}
    if decision is not None and decision.reasons:
        return {str(reason): count for reason, count in decision.reasons.items()}
    sites = {one.site for one in held} | staying.keys()
    return dict(Counter("silent" if site in changed.lost else "cordoned" for site in sorted(sites)))


def _line(
    demand: Demand | NotAccepted, decision: Decision | None, held: Iterable[HeldReplicas]
) -> str:
    """Why in one sentence, with the way out."""
    reasons = [f"{one.site} ({one.replicas}): {one.why}" for one in held]
    if reasons:
        return "; ".join(dict.fromkeys(reasons))
    if isinstance(demand, NotAccepted):
        return f"not accepted: {demand.message}"
    return decision.line if decision is not None else "not decided"


def count_unplaced(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """The number of workloads by their main reason, and by priority.

    The main reason is one that can pass, as lacking room: where it is given, a site passes every
    rule. Of several it is the most frequent one.
    """
    reasons: Counter[str] = Counter()
    priorities: Counter[str] = Counter()
    for row in rows:
        found: Mapping[str, int] = row["reasons"]
        main = max(found, key=lambda one: (one in TRANSIENT_REASONS, found[one]), default="unknown")
        reasons[main] += 1
        priorities[str(row["priority"])] += 1
    return {"reason": dict(reasons.most_common()), "priority": dict(priorities)}
