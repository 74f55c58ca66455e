"""Budgets, quotas, roles, priority and storage classes: defaults and checks.

Sources: the API reference of the groups policy, rbac.authorization.k8s.io,
scheduling.k8s.io, storage.k8s.io and node.k8s.io, and of ResourceQuota and LimitRange.
"""

import re

from scheduler.apiserver.kinds.core.autoscalers import AUTOSCALER_STRATEGY
from scheduler.apiserver.kinds.core.network_kinds import unsupported_value
from scheduler.apiserver.kinds.names import (
    dns_subdomain_problems,
    label_key_problems,
    path_segment_problems,
)
from scheduler.apiserver.kinds.resources import KindStrategy
from scheduler.apiserver.kinds.unstructured import map_at, maps_in, set_missing
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import FieldProblem, invalid_value, required_value

_RBAC_GROUP = "rbac.authorization.k8s.io"
_SUBJECT_KINDS = ("ServiceAccount", "User", "Group")
_PERCENT = re.compile(r"[0-9]+%")
_MAX_PERCENT = 100
_MAX_USER_PRIORITY = 1_000_000_000


# ---------------------------------------------------------------- PodDisruptionBudget


def _init_budget(item: JsonObject) -> None:
    item["status"] = {
        "currentHealthy": 0,
        "desiredHealthy": 0,
        "disruptionsAllowed": 0,
        "expectedPods": 0,
    }


def _budget_problems(item: JsonObject, _old: JsonObject | None) -> list[FieldProblem]:
    spec = map_at(item, "spec")
    problems: list[FieldProblem] = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        why = "minAvailable and maxUnavailable cannot be both set"
        problems.append(invalid_value("spec", spec, why))
    for field in ("minAvailable", "maxUnavailable"):
        problems += _count_or_percent_problems(spec.get(field), f"spec.{field}")
    return problems


def _count_or_percent_problems(value: Json, path: str) -> list[FieldProblem]:
    if value is None:
        return []
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            why = "a valid percent string must be a numeric string followed by an ending '%'"
            return [invalid_value(path, value, why)]
        too_many = int(value[:-1]) > _MAX_PERCENT
        return [invalid_value(path, value, "must not be greater than 100%")] if too_many else []
    negative = isinstance(value, int) and value < 0
    return [invalid_value(path, value, "must be greater than or equal to 0")] if negative else []


# ---------------------------------------------------------------- ResourceQuota


def _init_empty_status(item: JsonObject) -> None:
    item["status"] = {}


def _quota_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    spec = map_at(item, "spec")
    problems: list[FieldProblem] = []
    for name, amount in map_at(spec, "hard").items():
        path = f"spec.hard[{name}]"
        problems += [invalid_value(path, name, why) for why in label_key_problems(name)]
        if str(amount).startswith("-"):
            why = "must be greater than or equal to 0"
            problems.append(invalid_value(path, amount, why))
    if old is not None and spec.get("scopes") != map_at(old, "spec").get("scopes"):
        problems.append(invalid_value("spec.scopes", spec.get("scopes"), "field is immutable"))
    return problems


def _set_limit_range_defaults(item: JsonObject) -> None:
    """Fills default limits from the maxima, and default requests from these and the minima."""
    for limit in maps_in(map_at(item, "spec").get("limits")):
        if limit.get("type") == "Container":
            limit["default"] = map_at(limit, "max") | map_at(limit, "default")
            found = map_at(limit, "min") | limit["default"]
            limit["defaultRequest"] = found | map_at(limit, "defaultRequest")


# ---------------------------------------------------------------- roles


def _rule_problems(rules: Json, *, is_namespaced: bool) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    for index, rule in enumerate(maps_in(rules)):
        path = f"rules[{index}]"
        if not rule.get("verbs"):
            problems.append(
                required_value(f"{path}.verbs", "verbs must contain at least one value")
            )
        if rule.get("nonResourceURLs"):
            if is_namespaced:
                why = "namespaced rules cannot apply to non-resource URLs"
                found = rule["nonResourceURLs"]
                problems.append(invalid_value(f"{path}.nonResourceURLs", found, why))
            continue
        if not rule.get("apiGroups"):
            why = "resource rules must supply at least one api group"
            problems.append(required_value(f"{path}.apiGroups", why))
        if not rule.get("resources"):
            why = "resource rules must supply at least one resource"
            problems.append(required_value(f"{path}.resources", why))
    return problems


def _role_problems(item: JsonObject, _old: JsonObject | None) -> list[FieldProblem]:
    return _rule_problems(item.get("rules"), is_namespaced=True)


def _cluster_role_problems(item: JsonObject, _old: JsonObject | None) -> list[FieldProblem]:
    return _rule_problems(item.get("rules"), is_namespaced=False)


def _set_binding_defaults(item: JsonObject) -> None:
    set_missing(item.get("roleRef"), apiGroup=_RBAC_GROUP)
    for subject in maps_in(item.get("subjects")):
        if subject.get("kind") in {"User", "Group"}:
            set_missing(subject, apiGroup=_RBAC_GROUP)


def _binding_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    reference = map_at(item, "roleRef")
    is_namespaced = item.get("kind") == "RoleBinding"
    kinds = ("ClusterRole", "Role") if is_namespaced else ("ClusterRole",)
    problems: list[FieldProblem] = []
    if reference.get("kind") not in kinds:
        problems.append(unsupported_value("roleRef.kind", reference.get("kind"), kinds))
    if reference.get("apiGroup") != _RBAC_GROUP:
        found = reference.get("apiGroup")
        problems.append(unsupported_value("roleRef.apiGroup", found, (_RBAC_GROUP,)))
    if not reference.get("name"):
        problems.append(required_value("roleRef.name"))
    if old is not None and map_at(old, "roleRef") != reference:
        problems.append(invalid_value("roleRef", reference, "cannot change roleRef"))
    for index, subject in enumerate(maps_in(item.get("subjects"))):
        problems += _subject_problems(subject, f"subjects[{index}]", is_namespaced=is_namespaced)
    return problems


def _subject_problems(subject: JsonObject, path: str, *, is_namespaced: bool) -> list[FieldProblem]:
    """The problems of one subject; in a RoleBinding an account's namespace may be left out."""
    kind, name = subject.get("kind"), str(subject.get("name") or "")
    problems = [] if name else [required_value(f"{path}.name")]
    if kind not in _SUBJECT_KINDS:
        return [*problems, unsupported_value(f"{path}.kind", kind, _SUBJECT_KINDS)]
    is_account = kind == "ServiceAccount"
    if name and is_account:
        problems += [invalid_value(f"{path}.name", name, w) for w in dns_subdomain_problems(name)]
    group, wanted = subject.get("apiGroup") or "", "" if is_account else _RBAC_GROUP
    if group != wanted:
        problems.append(unsupported_value(f"{path}.apiGroup", group, (wanted,)))
    if is_account and not is_namespaced and not subject.get("namespace"):
        problems.append(required_value(f"{path}.namespace"))
    return problems


# ---------------------------------------------------------------- classes


def _set_priority_defaults(item: JsonObject) -> None:
    set_missing(item, preemptionPolicy="PreemptLowerPriority", value=0)


def _priority_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    value = item.get("value")
    problems: list[FieldProblem] = []
    if isinstance(value, int) and value > _MAX_USER_PRIORITY:
        why = "Forbidden: maximum allowed value of a user defined priority is 1000000000"
        problems.append(FieldProblem("FieldValueForbidden", "value", why))
    if old is not None and old.get("value") != value:
        why = "Forbidden: may not be changed in an update."
        problems.append(FieldProblem("FieldValueForbidden", "value", why))
    return problems


def _set_storage_class_defaults(item: JsonObject) -> None:
    set_missing(item, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _storage_class_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    if not item.get("provisioner"):
        problems.append(required_value("provisioner"))
    supported = {
        "reclaimPolicy": ("Delete", "Retain"),
        "volumeBindingMode": ("Immediate", "WaitForFirstConsumer"),
    }
    for field, values in supported.items():
        if item.get(field) not in values:
            problems.append(unsupported_value(field, item.get(field), values))
    if old is not None:
        for field in ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"):
            if (item.get(field) or None) != (old.get(field) or None):
                why = "Forbidden: updates to it are forbidden."
                problems.append(FieldProblem("FieldValueForbidden", field, why))
    return problems


def _set_volume_defaults(item: JsonObject) -> None:
    spec = map_at(item, "spec")
    set_missing(spec, persistentVolumeReclaimPolicy="Retain", volumeMode="Filesystem")


def _init_volume(item: JsonObject) -> None:
    item["status"] = {"phase": "Pending"}


_NO_RIGHTS = "is stored; rights at this server come from its own tokens and roles"
_NO_ADMISSION = "is stored; this server does not apply it to pods"
_NO_VOLUMES = "is stored; nothing behind this server provides volumes"

POLICY_STRATEGIES: dict[str, KindStrategy] = {
    "PodDisruptionBudget": KindStrategy(prepare_for_create=_init_budget, problems=_budget_problems),
    "HorizontalPodAutoscaler": AUTOSCALER_STRATEGY,
    "ResourceQuota": KindStrategy(
        prepare_for_create=_init_empty_status,
        problems=_quota_problems,
        has_generation=False,
        not_enforced="is stored; this server refuses nothing by it and counts no use",
    ),
    "LimitRange": KindStrategy(
        set_defaults=_set_limit_range_defaults, has_generation=False, not_enforced=_NO_ADMISSION
    ),
    "Role": KindStrategy(
        problems=_role_problems,
        name_problems=path_segment_problems,
        has_generation=False,
        not_enforced=_NO_RIGHTS,
    ),
    "ClusterRole": KindStrategy(
        problems=_cluster_role_problems,
        name_problems=path_segment_problems,
        has_generation=False,
        not_enforced=_NO_RIGHTS,
    ),
    **dict.fromkeys(
        ("RoleBinding", "ClusterRoleBinding"),
        KindStrategy(
            set_defaults=_set_binding_defaults,
            problems=_binding_problems,
            name_problems=path_segment_problems,
            has_generation=False,
            not_enforced=_NO_RIGHTS,
        ),
    ),
    "PriorityClass": KindStrategy(
        set_defaults=_set_priority_defaults,
        problems=_priority_problems,
        not_enforced=_NO_ADMISSION,
    ),
    "RuntimeClass": KindStrategy(has_generation=False, not_enforced=_NO_ADMISSION),
    "StorageClass": KindStrategy(
        set_defaults=_set_storage_class_defaults,
        problems=_storage_class_problems,
        has_generation=False,
        not_enforced=_NO_VOLUMES,
    ),
    "CSIDriver": KindStrategy(has_generation=False, not_enforced=_NO_VOLUMES),
    "PersistentVolume": KindStrategy(
        prepare_for_create=_init_volume,
        set_defaults=_set_volume_defaults,
        has_generation=False,
        not_enforced=_NO_VOLUMES,
    ),
    "Endpoints": KindStrategy(has_generation=False),
}
