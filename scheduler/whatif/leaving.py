"""What has to leave which site after a scenario, what may not leave it, and what is decided again.

The rules are those of failover and drains: nothing is replaced in a freeze, without an operator's
word where the workload asks for one, or against its own disruption budget.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.movability import needs_force_because
from scheduler.model.kinds.site import SiteEnergy, SitePrices
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.budgets import disruption_budget
from scheduler.placement.failover.drain import DrainCandidate, why_not_at_all
from scheduler.placement.failover.plan import (
    HOLD_SENTENCES,
    EvictionCandidate,
    HoldReason,
    hold_reason,
)
from scheduler.whatif.scenario.apply import ChangedFleet
from scheduler.whatif.settling.settled_fleet import (
    DecisionTask,
    SettledFleet,
    is_over,
    is_waiting,
    running_replicas,
)

FROZEN = "evictions are frozen: kapok thaw ends that"
NOT_ACCEPTED = "its last edit is not accepted, so nothing new is placed of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldReplicas:
    """Replicas that are not moved away from a site.

    Attributes:
        site: the site.
        replicas: how many.
        why: a sentence with the way out.
        by_operator: whether an operator's word about the workload would move them.
    """

    site: str
    replicas: int
    why: str
    by_operator: bool = False


@dataclass(slots=True, kw_only=True)
class LeavingPlan:
    """What a scenario asks of the workloads.

    Attributes:
        tasks: what is decided.
        held: what is not moved, by `namespace/name`.
    """

    tasks: list[DecisionTask]
    held: dict[str, list[HeldReplicas]]


def plan_leaving(before: SettledFleet, after: SettledFleet, changed: ChangedFleet) -> LeavingPlan:
    """The tasks after a scenario.

    Args:
        before: the fleet without the scenario, as it was read.
        after: the fleet with it, as it was read.
        changed: what the scenario changes.
    """
    plan = LeavingPlan(tasks=[], held={})
    other_sites = _sites_with_other_rules(before.copy.facts, after.copy.facts)
    for key, demand in after.demands.items():
        workload = after.workloads[key]
        if is_over(workload):
            continue
        leaves: set[str] = set()
        for site, replicas in _replicas_to_move(workload, demand, changed):
            held = _why_held(workload, demand, site, replicas, changed)
            if held is None:
                leaves.add(site)
            else:
                plan.held.setdefault(key, []).append(held)
        if isinstance(demand, NotAccepted):
            continue
        is_changed = after.demands is not before.demands and demand != before.demands[key]
        is_judged = is_changed or bool(demand.placed_replicas.keys() & other_sites)
        if leaves or is_judged or is_waiting(workload, demand):
            plan.tasks.append(
                DecisionTask(key=key, leaves=frozenset(leaves), is_changed=is_changed)
            )
    return plan


def _replicas_to_move(
    workload: Workload, demand: Demand | NotAccepted, changed: ChangedFleet
) -> Iterator[tuple[str, int]]:
    gone = changed.left
    if not gone:
        return
    placed = demand.placed_replicas if isinstance(demand, Demand) else running_replicas(workload)
    for site, replicas in sorted(placed.items()):
        if site in gone:
            yield site, replicas


def _why_held(
    workload: Workload,
    demand: Demand | NotAccepted,
    site: str,
    replicas: int,
    changed: ChangedFleet,
) -> HeldReplicas | None:
    """Why replicas stay at a site that is lost or drained; None: they are to leave it."""
    if isinstance(demand, NotAccepted):
        why = f"{NOT_ACCEPTED}: {demand.message}"
        return HeldReplicas(site=site, replicas=replicas, why=why)
    if changed.freeze:
        return HeldReplicas(site=site, replicas=replicas, why=FROZEN)
    if site in changed.lost:
        return _held_by_failover(workload, demand, site, replicas, changed)
    why = why_not_at_all(drain_candidate(workload, demand, site))
    return HeldReplicas(site=site, replicas=replicas, why=why, by_operator=True) if why else None


def _held_by_failover(
    workload: Workload, demand: Demand, site: str, replicas: int, changed: ChangedFleet
) -> HeldReplicas | None:
    if demand.strategy == "Duplicated":
        why = "each of its sites runs a whole copy, so no other site replaces it"
        return HeldReplicas(site=site, replicas=replicas, why=why)
    reason = word_needed(
        workload, demand, site, is_enabled=changed.copy.objects.is_failover_enabled
    )
    if reason is None:
        return None
    return HeldReplicas(site=site, replicas=replicas, why=HOLD_SENTENCES[reason], by_operator=True)


def word_needed(
    workload: Workload, demand: Demand, site: str, *, is_enabled: bool
) -> HoldReason | None:
    """Why an operator's word is needed before failover replaces replicas; None: it is not."""
    candidate = EvictionCandidate(
        key=(workload.metadata.namespace, workload.metadata.name),
        site=site,
        replicas=demand.placed_replicas.get(site, 0),
        priority=workload.spec.priority,
        created_at_seconds=0.0,
        mode=demand.failover_mode,  # type: ignore[arg-type]  # a demand keeps it as text
        after_seconds=0.0,
        quiet_seconds=0.0,
        is_numbered=demand.identity in ("Whole", "Ranges"),
    )
    return hold_reason(candidate, is_enabled=is_enabled)


def drain_candidate(workload: Workload, demand: Demand, site: str) -> DrainCandidate:
    """A workload at a drained site as the plan of drains sees it, when all else is ready."""
    manifests, total = workload.spec.manifests, sum(demand.placed_replicas.values())
    return DrainCandidate(
        key=(workload.metadata.namespace, workload.metadata.name),
        site=site,
        cause="drain",
        replicas=demand.placed_replicas[site],
        total=total,
        needs_force=needs_force_because(manifests, demand.identity),
        is_whole=demand.identity in ("Whole", "Ranges"),
        is_everywhere=demand.strategy == "Duplicated",
        budget=disruption_budget(manifests, total),
    )


def _sites_with_other_rules(
    before: tuple[SiteFacts, ...], after: tuple[SiteFacts, ...]
) -> frozenset[str]:
    """Sites whose rights, labels or taints differ, so that what runs there is judged again."""
    known: Mapping[str, SiteFacts] = {one.name: one for one in before}
    return frozenset(
        one.name
        for one in after
        if (old := known.get(one.name)) is not None
        and old is not one
        and _rules_of(old) != _rules_of(one)
    )


def _rules_of(facts: SiteFacts) -> tuple[object, ...]:
    spec = msgspec.structs.replace(
        facts.spec, prices=SitePrices(), energy=SiteEnergy(), drain=None, cordon=False
    )
    return facts.labels, spec, facts.grants
