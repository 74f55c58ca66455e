"""HorizontalPodAutoscaler: defaults, checks and the two versions.

Sources: the API reference of autoscaling/v2 and v1; the wording of errors follows kube-apiserver
1.36.
"""

from scheduler.apiserver.kinds.core.network_kinds import unsupported_value
from scheduler.apiserver.kinds.resources import KindStrategy
from scheduler.apiserver.kinds.unstructured import map_at, maps_in, set_missing
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import FieldProblem, invalid_value, required_value

_DEFAULT_CPU_PERCENT = 80
_SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
"""The types of metrics, and the field that describes each."""
_AT_LEAST_MIN = "must be greater than or equal to `minReplicas`"
_MAX_WINDOW_SECONDS = 3600
_MAX_PERIOD_SECONDS = 1800


def _init_autoscaler(item: JsonObject) -> None:
    item["status"] = {"desiredReplicas": 0}


def _set_autoscaler_defaults(item: JsonObject) -> None:
    spec = map_at(item, "spec")
    target = {"type": "Utilization", "averageUtilization": _DEFAULT_CPU_PERCENT}
    set_missing(spec, minReplicas=1)
    if not spec.get("metrics"):
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if isinstance(behavior, dict):
        double = {"type": "Percent", "value": 100, "periodSeconds": 15}
        by_four = {"type": "Pods", "value": 4, "periodSeconds": 15}
        set_missing(behavior, scaleUp={}, scaleDown={})
        set_missing(
            behavior["scaleUp"],
            stabilizationWindowSeconds=0,
            selectPolicy="Max",
            policies=[by_four, double],
        )
        set_missing(behavior["scaleDown"], selectPolicy="Max", policies=[double])


def _autoscaler_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    spec = map_at(item, "spec")
    least, most = spec.get("minReplicas"), spec.get("maxReplicas")
    least = least if isinstance(least, int) else None
    most = most if isinstance(most, int) else 0
    problems: list[FieldProblem] = []
    if least is not None and least < 1:
        why = "must be greater than or equal to 1"
        problems.append(invalid_value("spec.minReplicas", least, why))
    if most == 0:
        problems.append(required_value("spec.maxReplicas", "must be set and greater than 0"))
    elif most < 0:
        why = "must be greater than or equal to 1"
        problems.append(invalid_value("spec.maxReplicas", most, why))
    if least is not None and most < least:
        problems.append(invalid_value("spec.maxReplicas", most, _AT_LEAST_MIN))
    before = map_at(map_at(old or {}, "spec"), "scaleTargetRef")
    problems += _reference_problems(map_at(spec, "scaleTargetRef"), before, "spec.scaleTargetRef")
    metrics = maps_in(spec.get("metrics"))
    for index, metric in enumerate(metrics):
        problems += _metric_problems(metric, f"spec.metrics[{index}]")
    if least == 0 and not any(one.get("type") in ("Object", "External") for one in metrics):
        why = "must specify at least one Object or External metric to support scaling to zero"
        problems.append(_forbidden("spec.metrics", f"{why} replicas"))
    for name in ("scaleUp", "scaleDown"):
        rules = map_at(spec, "behavior").get(name)
        if isinstance(rules, dict):
            problems += _rules_problems(rules, f"spec.behavior.{name}")
    return problems


def _reference_problems(reference: JsonObject, before: JsonObject, path: str) -> list[FieldProblem]:
    """The problems of a reference; one that was stored without a group before may stay so."""
    problems: list[FieldProblem] = []
    for key in ("kind", "name"):
        value = str(reference.get(key) or "")
        if not value and key in reference:  # else the schema says so
            problems.append(required_value(f"{path}.{key}"))
        problems += [
            invalid_value(f"{path}.{key}", value, f"may not contain '{sign}'")
            for sign in "/%"
            if sign in value
        ]
    version = str(reference.get("apiVersion") or "")
    is_core = reference.get("kind") == "ReplicationController"
    is_as_before = all(before.get(key) == reference.get(key) for key in ("apiVersion", "kind"))
    if "/" not in version and not is_core and not (before and is_as_before):
        why = "apiVersion must specify API group"
        problems.append(invalid_value(f"{path}.apiVersion", version, why))
    return problems


def _metric_problems(metric: JsonObject, path: str) -> list[FieldProblem]:
    kind = metric.get("type")
    source = _SOURCES.get(str(kind))
    if source is None:
        problem = unsupported_value(f"{path}.type", kind or "", tuple(sorted(_SOURCES)))
        missing = required_value(f"{path}.type", "must specify a metric source type")
        return [problem] if kind else [missing, problem]
    problems = [
        _forbidden(f"{path}.{other}", "must populate the given metric source only")
        for other in _SOURCES.values()
        if other != source and metric.get(other) is not None
    ]
    if metric.get(source) is None:
        why = "must populate information for the given metric source"
        return [*problems, required_value(f"{path}.{source}", why)]
    return problems + _source_problems(map_at(metric, source), f"{path}.{source}")


def _source_problems(source: JsonObject, path: str) -> list[FieldProblem]:
    target, where = map_at(source, "target"), f"{path}.target"
    kind = target.get("type")
    if not kind:
        return [required_value(f"{where}.type", "must specify a metric target type")]
    supported = ("AverageValue", "Utilization", "Value")
    problems: list[FieldProblem] = []
    if kind not in supported:
        problems.append(unsupported_value(f"{where}.type", kind, supported))
    percent = target.get("averageUtilization")
    if isinstance(percent, int) and percent < 1:
        why = "must be greater than 0"
        problems.append(invalid_value(f"{where}.averageUtilization", percent, why))
    return problems


def _rules_problems(rules: JsonObject, path: str) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    window = rules.get("stabilizationWindowSeconds")
    if isinstance(window, int) and window < 0:
        why = "must be greater than or equal to zero"
        problems.append(invalid_value(f"{path}.stabilizationWindowSeconds", window, why))
    if isinstance(window, int) and window > _MAX_WINDOW_SECONDS:
        why = f"must be less than or equal to {_MAX_WINDOW_SECONDS}"
        problems.append(invalid_value(f"{path}.stabilizationWindowSeconds", window, why))
    choice, choices = rules.get("selectPolicy"), ("Disabled", "Max", "Min")
    if choice is not None and choice not in choices:
        problems.append(unsupported_value(f"{path}.selectPolicy", choice, choices))
    policies = maps_in(rules.get("policies"))
    if not policies:
        problems.append(required_value(f"{path}.policies", "must specify at least one Policy"))
    for index, policy in enumerate(policies):
        problems += _policy_problems(policy, f"{path}.policies[{index}]")
    return problems


def _policy_problems(policy: JsonObject, path: str) -> list[FieldProblem]:
    kinds = ("Percent", "Pods")
    problems: list[FieldProblem] = []
    if policy.get("type") not in kinds:
        problems.append(unsupported_value(f"{path}.type", policy.get("type") or "", kinds))
    for name in ("value", "periodSeconds"):
        number: Json = policy.get(name)
        if isinstance(number, int) and number <= 0:
            problems.append(invalid_value(f"{path}.{name}", number, "must be greater than zero"))
    period = policy.get("periodSeconds")
    if isinstance(period, int) and period > _MAX_PERIOD_SECONDS:
        why = f"must be less than or equal to {_MAX_PERIOD_SECONDS}"
        problems.append(invalid_value(f"{path}.periodSeconds", period, why))
    return problems


def _forbidden(path: str, why: str) -> FieldProblem:
    return FieldProblem("FieldValueForbidden", path, f"Forbidden: {why}")


def autoscaler_to_v1(item: JsonObject) -> JsonObject:
    """Converts a stored HorizontalPodAutoscaler (autoscaling/v2) to v1, which knows CPU only."""
    spec = dict(map_at(item, "spec"))
    for metric in maps_in(spec.pop("metrics", None)):
        resource = map_at(metric, "resource")
        percent = map_at(resource, "target").get("averageUtilization")
        if resource.get("name") == "cpu" and percent is not None:
            spec["targetCPUUtilizationPercentage"] = percent
    spec.pop("behavior", None)
    status = map_at(item, "status")
    known = ("observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas")
    kept: JsonObject = {"currentReplicas": 0, "desiredReplicas": 0}
    kept |= {key: status[key] for key in known if key in status}
    metadata = dict(map_at(item, "metadata"))
    made = {"apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": kept}
    return {**item, **made}


def autoscaler_from_v1(item: JsonObject) -> JsonObject:
    """Converts a HorizontalPodAutoscaler of autoscaling/v1 to v2, in which it is stored."""
    spec = dict(map_at(item, "spec"))
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    return {**item, "apiVersion": "autoscaling/v2", "spec": spec}


AUTOSCALER_STRATEGY = KindStrategy(
    prepare_for_create=_init_autoscaler,
    set_defaults=_set_autoscaler_defaults,
    problems=_autoscaler_problems,
    has_generation=False,
)
