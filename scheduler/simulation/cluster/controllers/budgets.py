"""The disruption controller: the status of PodDisruptionBudgets.

It counts; evictions at a simulated cluster are not refused by it. Source: "Specifying a Disruption
Budget for your Application" and the API reference of PodDisruptionBudget.
"""

from datetime import datetime

from scheduler.simulation.cluster.mirror import Mirror, NamespacedName
from scheduler.simulation.cluster.objects import (
    DISRUPTION_BUDGETS,
    RESOURCES_BY_KIND,
    AppsObject,
    DisruptionBudget,
    Job,
    Pod,
)
from scheduler.simulation.cluster.plan import (
    NO_CHANGE,
    ControllerPlan,
    merge_conditions,
    status_patch,
)
from scheduler.simulation.cluster.pods import (
    is_finished,
    is_ready,
    is_terminating,
    resolve_percentage,
)


def plan_disruption_budget(mirror: Mirror, name: NamespacedName, now: datetime) -> ControllerPlan:
    """Updates the counts of healthy pods and of disruptions that are allowed now."""
    budget = mirror.find(DISRUPTION_BUDGETS, name)
    if not isinstance(budget, DisruptionBudget) or budget.metadata.deletion_timestamp:
        return NO_CHANGE
    selector = budget.spec.selector
    pods = [
        pod
        for pod in mirror.pods()
        if selector is not None
        and pod.metadata.namespace == name[0]
        and not is_finished(pod)
        and selector.matches(pod.metadata.labels)
    ]
    healthy = sum(is_ready(pod) and not is_terminating(pod) for pod in pods)
    expected, desired = _counts(mirror, budget, pods)
    allowed = max(0, healthy - desired) if expected else 0
    reason = "SufficientPods" if allowed else "InsufficientPods"
    message = f"{allowed} pods may be disrupted now"  # the schema requires one
    current = budget.status.get("conditions") or []
    wanted = {
        "observedGeneration": budget.metadata.generation,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
        "conditions": merge_conditions(
            current, [("DisruptionAllowed", bool(allowed), reason, message)], now
        ),
    }
    return ControllerPlan(status_patch(DISRUPTION_BUDGETS, name, budget.status, wanted))


def _counts(mirror: Mirror, budget: DisruptionBudget, pods: list[Pod]) -> tuple[int, int]:
    """Expected pods, and how many of them must be healthy.

    Percentages and `maxUnavailable` refer to the replicas of the pods' controllers.
    """
    least, most = budget.spec.min_available, budget.spec.max_unavailable
    if most is None and least is None:
        return 0, 0
    if most is None and isinstance(least, int):
        return len(pods), least
    expected = _replicas_of_controllers(mirror, pods)
    if most is not None:
        down = resolve_percentage(most, expected, default=0, round_up=True)
        return expected, max(0, expected - down)
    return expected, resolve_percentage(least, expected, default=1, round_up=True)


def _replicas_of_controllers(mirror: Mirror, pods: list[Pod]) -> int:
    """The replicas of all controllers of pods; a pod without one counts as one."""
    counts: dict[str, int] = {}
    for pod in pods:
        owner = pod.metadata.controller
        if owner is None:
            counts[pod.metadata.uid] = 1
            continue
        resource = RESOURCES_BY_KIND.get(owner.kind)
        name = (pod.metadata.namespace, owner.name)
        found = mirror.find(resource, name) if resource is not None else None
        if isinstance(found, AppsObject):
            counts[owner.uid] = found.spec.replicas
        elif isinstance(found, Job):
            counts[owner.uid] = found.spec.parallelism
    return sum(counts.values())
