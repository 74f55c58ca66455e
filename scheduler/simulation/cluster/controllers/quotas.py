"""The quota controller: what the pods of a namespace use of its ResourceQuotas.

It counts; pods at a simulated cluster are not refused by it. What it does not count (objects, the
pods of scopes) stays without a figure, which readers take as unknown. Source: "Resource Quotas".
"""

from collections.abc import Iterable
from datetime import datetime

from scheduler.model.quantities import CPU, PODS, NotAQuantity, requests_of
from scheduler.simulation.cluster.mirror import Mirror, NamespacedName
from scheduler.simulation.cluster.objects import RESOURCE_QUOTAS, Pod, SimulatedQuota
from scheduler.simulation.cluster.plan import NO_CHANGE, ControllerPlan, status_patch
from scheduler.simulation.cluster.pods import is_finished
from scheduler.simulation.cluster.requests import Amounts
from scheduler.simulation.cluster.requests import requests_of as requests_of_pod

_LIMITS, _REQUESTS = "limits.", "requests."
_SHORT_NAMES = frozenset({"cpu", "memory", "ephemeral-storage"})


def plan_quota(mirror: Mirror, name: NamespacedName, now: datetime) -> ControllerPlan:
    """Updates the limits in force, and what is used of those that pods have."""
    del now
    quota = mirror.find(RESOURCE_QUOTAS, name)
    if not isinstance(quota, SimulatedQuota) or quota.metadata.deletion_timestamp:
        return NO_CHANGE
    hard = quota.spec.hard
    used: dict[str, str] = {}
    if not quota.spec.scopes and not quota.spec.scope_selector:
        pods = [
            pod
            for pod in mirror.pods()
            if pod.metadata.namespace == name[0] and not is_finished(pod)
        ]
        used = _used_by(pods, hard)
    wanted = {"hard": hard, "used": used}
    return ControllerPlan(status_patch(RESOURCE_QUOTAS, name, quota.status, wanted))


def _used_by(pods: list[Pod], names: Iterable[str]) -> dict[str, str]:
    requests = _sum_of(requests_of_pod(pod) for pod in pods)
    limits = _sum_of(_limits_of(pod) for pod in pods)
    used: dict[str, str] = {}
    for name in names:
        resource = name.removeprefix(_LIMITS).removeprefix(_REQUESTS)
        if name.startswith(_LIMITS):
            amount = limits.get(resource, 0)
        elif name.startswith(_REQUESTS) and resource != "storage":
            amount = requests.get(resource, 0)
        elif name in _SHORT_NAMES or name == PODS:
            amount = requests.get(name, 0)
        else:
            continue
        used[name] = f"{amount}m" if resource == CPU else str(amount)
    return used


def _limits_of(pod: Pod) -> Amounts:
    """The limits of the containers; those that cannot be read count as none."""
    found = []
    for each in pod.spec.containers:
        try:
            found.append(requests_of((each.get("resources") or {}).get("limits") or {}))
        except NotAQuantity:
            continue
    return _sum_of(found)


def _sum_of(amounts: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for each in amounts:
        for name, amount in each.items():
            total[name] = total.get(name, 0) + amount
    return total
