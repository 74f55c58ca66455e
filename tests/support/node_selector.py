"""An evaluator of node selectors by the rules of core/v1; it shares no code with the scheduler."""

from collections.abc import Mapping
from typing import Any

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def may_run(pod: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether selector and required affinity of a pod spec match a node with these labels."""
    if any(labels.get(key) != value for key, value in (pod.get("nodeSelector") or {}).items()):
        return False
    required = ((pod.get("affinity") or {}).get("nodeAffinity") or {}).get(REQUIRED)
    if required is None:
        return True
    return any(_term(each, labels) for each in required.get("nodeSelectorTerms") or ())


def _term(term: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    name = {"metadata.name": labels.get("kubernetes.io/hostname", "")}
    return all(_holds(one, labels) for one in expressions) and all(
        _holds(one, name) for one in fields
    )


def _holds(one: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = one["key"], one["operator"], one.get("values") or []
    if operator == "In":
        assert values, "core/v1 refuses In without values"
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return labels.get(key) not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    return key in labels and (
        int(labels[key]) > int(values[0]) if operator == "Gt" else int(labels[key]) < int(values[0])
    )
