"""What of an object cannot be changed, and whether it may be deleted and created again.

The server says with 422 (Unprocessable Entity) which fields of an object that exists cannot have
another value. To delete the object and create it again ends all pods that it makes, at once.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from agents.member.api import MemberApi, MemberApiError
from agents.member.trees import integer_at, map_at, objects_at, text_at

_IMMUTABLE_WORDS: Final = re.compile(
    r"immutable|updates to .{0,300}are forbidden|may not (be )?change|cannot change roleRef",
    re.IGNORECASE | re.DOTALL,
)
_MAX_NAMED: Final = 5
_MAX_EXPRESSIONS: Final = 64


def immutable_fields_of(error: MemberApiError) -> tuple[str, ...]:
    """The fields that a request would change and that cannot be changed; empty: another error."""
    if error.code != HTTPStatus.UNPROCESSABLE_ENTITY:
        return ()
    found = {
        field or "the object"
        for field, message in error.invalid_fields
        if _IMMUTABLE_WORDS.search(message)
    }
    return tuple(sorted(found)[:_MAX_NAMED])


def find_obstacle(api: MemberApi, live: Mapping[str, Any]) -> str:
    """Why an object must not be deleted to create it again; "" when it may be.

    What cannot be read counts as an obstacle.

    Args:
        api: API of the member.
        live: the object as the member has it, with apiVersion and kind.

    Raises:
        Unreachable: the member does not answer.
    """
    spec = map_at(live, "spec")
    policy = map_at(spec, "persistentVolumeClaimRetentionPolicy")
    if live.get("kind") == "StatefulSet" and policy.get("whenDeleted") == "Delete":
        return "its claims, and the data in them, would be deleted with it"
    if not isinstance(spec.get("template"), dict):
        return ""
    namespace = text_at(map_at(live, "metadata"), "namespace")
    path = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
    try:
        budgets = api.list_mapped(path, None, lambda each: each)
    except MemberApiError as error:
        if error.code == 0:
            raise
        if error.code == HTTPStatus.NOT_FOUND:
            return ""
        return f"PodDisruptionBudgets cannot be read ({error.code})"
    labels = map_at(spec, "template", "metadata", "labels")
    pods = integer_at(map_at(live, "status"), "replicas", integer_at(spec, "replicas", 1))
    for budget in budgets:
        allowed = integer_at(map_at(budget, "status"), "disruptionsAllowed", 0)
        selector = map_at(budget, "spec").get("selector")
        if isinstance(selector, dict) and allowed < pods and _selects(selector, labels):
            name = text_at(map_at(budget, "metadata"), "name")
            return f"PodDisruptionBudget {name} protects its pods"
    return ""


def _selects(selector: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """Whether a label selector selects these labels; one that cannot be read does."""
    wanted = map_at(selector, "matchLabels")
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    expressions = objects_at(selector, "matchExpressions")[:_MAX_EXPRESSIONS]
    return all(_is_met(each, labels) for each in expressions)


def _is_met(expression: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    key, values = text_at(expression, "key"), expression.get("values")
    listed = values if isinstance(values, list) else []
    match expression.get("operator"):
        case "In":
            return labels.get(key) in listed
        case "NotIn":
            return key not in labels or labels[key] not in listed
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return True
