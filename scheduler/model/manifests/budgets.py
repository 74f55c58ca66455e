"""How many replicas of a workload its own PodDisruptionBudgets let be away at once. Pure.

Source: "Specifying a Disruption Budget for your Application" and the API reference of
PodDisruptionBudget (policy/v1): percentages are of the expected pods, and are rounded up.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

from scheduler.model.manifests.containers import mapping_or_empty, mappings_in
from scheduler.model.manifests.templates import find_pod_specs, group_kind

_BUDGET = ("policy", "PodDisruptionBudget")
_PERCENT = re.compile(r"([0-9]{1,9})%")
_MAX_COUNT = 2**31 - 1


class StrictestBudget(NamedTuple):
    """The strictest budget of a workload.

    Attributes:
        name: of the PodDisruptionBudget.
        allowed: how many replicas may be away at once.
        rule: what it says, such as `maxUnavailable: 1`.
    """

    name: str
    allowed: int
    rule: str


def disruption_budget(
    manifests: Sequence[Mapping[str, Any]], replicas: int
) -> StrictestBudget | None:
    """The strictest budget among the manifests that selects pods of the workload; None: no budget.

    A budget that cannot be read allows nothing.

    Args:
        manifests: of the workload.
        replicas: how many the workload has in all, at all sites.
    """
    budgets = [one for one in manifests if group_kind(one) == _BUDGET]
    if not budgets:
        return None
    labels = list(_pod_labels(manifests))
    found = [
        _read(one, replicas)
        for one in budgets
        if any(_selects(mapping_or_empty(one.get("spec")).get("selector"), each) for each in labels)
    ]
    return min(found, key=lambda one: (one.allowed, one.name), default=None)


def _pod_labels(manifests: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for each in manifests:
        for pod in find_pod_specs(each):
            yield mapping_or_empty(mapping_or_empty(pod.template.get("metadata")).get("labels"))


def _selects(selector: object, labels: Mapping[str, Any]) -> bool:
    """Whether a label selector matches; {} matches every pod, and none at all no pod."""
    if not isinstance(selector, Mapping):
        return False
    wanted = mapping_or_empty(selector.get("matchLabels"))
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_meets(one, labels) for one in mappings_in(selector.get("matchExpressions")))


def _meets(requirement: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    key, operator = str(requirement.get("key")), requirement.get("operator")
    values = requirement.get("values")
    listed = values if isinstance(values, list | tuple) else ()
    if operator == "In":
        return key in labels and labels[key] in listed
    if operator == "NotIn":
        return key not in labels or labels[key] not in listed
    if operator == "Exists":
        return key in labels
    # What is no operator of Kubernetes is taken to match: a budget is rather kept than missed.
    return operator != "DoesNotExist" or key not in labels


def _read(budget: Mapping[str, Any], replicas: int) -> StrictestBudget:
    spec = mapping_or_empty(budget.get("spec"))
    name = str(mapping_or_empty(budget.get("metadata")).get("name", ""))
    most, least = spec.get("maxUnavailable"), spec.get("minAvailable")
    if most is not None:
        count = _count(most, replicas)
        return StrictestBudget(name, count or 0, f"maxUnavailable: {most}")
    if least is not None:
        count = _count(least, replicas)
        left = 0 if count is None else max(0, replicas - count)
        return StrictestBudget(name, left, f"minAvailable: {least}")
    return StrictestBudget(name, 0, "neither maxUnavailable nor minAvailable")


def _count(value: object, replicas: int) -> int | None:
    """A count or a share of the replicas, rounded up; None: it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return min(value, _MAX_COUNT) if value >= 0 else None
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else ceil(int(found[1]) * replicas / 100)
