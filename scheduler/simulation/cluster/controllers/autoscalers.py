"""The HorizontalPodAutoscaler controller, with a simulated source of metrics.

The load of a target is what the cluster description or the annotation says, in all; its ready pods
share it equally. The controller writes the target's `scale`, as the real one does, so that field
ownership of `replicas` is the same. It acts on metrics of type Resource (cpu and memory); other
types are reported as `ScalingActive=False`. Of `behavior` it reads the stabilisation window of
scaling down. Sources: "Horizontal Pod Autoscaling" (algorithm, tolerance, default scaling policies)
and the API reference of autoscaling/v2.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler.control.ports.hub import ApiResource
from scheduler.model.formatters import format_rfc3339
from scheduler.model.quantities import NotAQuantity, requested_amount
from scheduler.simulation.cluster.description import LoadDescription
from scheduler.simulation.cluster.mirror import Mirror, NamespacedName
from scheduler.simulation.cluster.objects import (
    AUTOSCALERS,
    RESOURCES_BY_KIND,
    AppsObject,
    Autoscaler,
    MetricTarget,
    Pod,
)
from scheduler.simulation.cluster.plan import (
    NO_CHANGE,
    ControllerPlan,
    Patch,
    Write,
    merge_conditions,
    status_patch,
)
from scheduler.simulation.cluster.pods import is_active, is_ready
from scheduler.simulation.cluster.requests import requests_of

LOAD_ANNOTATION = "kapok.dev/simulated-load"

_SYNC_SECONDS = 15.0
_TOLERANCE = 0.1
_DEFAULT_SCALE_DOWN_WINDOW_SECONDS = 300
_MIN_LIMIT_OF_SCALE_UP = 4
_HUNDRED_PERCENT = 100


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one metric says: the current value for the status, and the replicas that it asks for."""

    status: dict[str, Any]
    replicas: int


def plan_autoscaler(
    mirror: Mirror,
    name: NamespacedName,
    now: datetime,
    loads: Sequence[LoadDescription] = (),
) -> ControllerPlan:
    """Scales the target within its bounds, and updates the status; again after 15 seconds.

    Args:
        mirror: the cluster.
        name: namespace and name of the autoscaler.
        now: the current time.
        loads: the loads that the description of the cluster gives.
    """
    autoscaler = mirror.find(AUTOSCALERS, name)
    if not isinstance(autoscaler, Autoscaler) or autoscaler.metadata.deletion_timestamp:
        return NO_CHANGE
    reference = autoscaler.spec.scale_target_ref
    resource = RESOURCES_BY_KIND.get(reference.kind)
    target = mirror.find(resource, (name[0], reference.name)) if resource is not None else None
    if resource is None or not isinstance(target, AppsObject):
        why = f'{reference.kind} "{reference.name}" not found'
        found = [("AbleToScale", False, "FailedGetScale", why)]
        return _with_status(autoscaler, name, now, {}, found)
    current = target.spec.replicas
    if current == 0:
        why = "scaling is disabled since the replica count of the target is zero"
        found = [("ScalingActive", False, "ScalingDisabled", why)]
        return _with_status(autoscaler, name, now, {}, found)
    pods = [pod for pod in _pods_of(mirror, target) if is_active(pod)]
    load = _load_of(autoscaler, target, loads)
    readings, problem = _read_metrics(autoscaler, current, pods, load)
    if not readings:
        found = [("ScalingActive", False, "FailedGetResourceMetric", problem)]
        return _with_status(autoscaler, name, now, {"currentReplicas": current}, found)
    asked = max(reading.replicas for reading in readings)
    desired, limited = _within_bounds(autoscaler, current, asked)
    desired = _stabilised(autoscaler, current, desired, now)
    return _scale(
        autoscaler,
        name,
        now,
        resource=resource,
        current=current,
        desired=desired,
        readings=readings,
        limited=limited,
    )


def _scale(
    autoscaler: Autoscaler,
    name: NamespacedName,
    now: datetime,
    *,
    resource: ApiResource,
    current: int,
    desired: int,
    readings: list[_Reading],
    limited: str,
) -> ControllerPlan:
    writes: list[Write] = []
    status: dict[str, Any] = {
        "observedGeneration": autoscaler.metadata.generation,
        "currentReplicas": current,
        "desiredReplicas": desired,
        "currentMetrics": [reading.status for reading in readings],
    }
    if desired != current:
        target = (name[0], autoscaler.spec.scale_target_ref.name)
        body = {"spec": {"replicas": desired}}
        writes.append(Patch(resource=resource, name=target, body=body, subresource="scale"))
        status["lastScaleTime"] = format_rfc3339(now)
    conditions = [
        ("AbleToScale", True, "ReadyForNewScale", ""),
        ("ScalingActive", True, "ValidMetricFound", ""),
        ("ScalingLimited", bool(limited), limited or "DesiredWithinRange", ""),
    ]
    plan = _with_status(autoscaler, name, now, status, conditions)
    return ControllerPlan([*writes, *plan.writes], plan.requeue_after_seconds)


def _with_status(
    autoscaler: Autoscaler,
    name: NamespacedName,
    now: datetime,
    status: dict[str, Any],
    conditions: Sequence[tuple[str, bool | None, str, str]],
) -> ControllerPlan:
    current = autoscaler.status
    merged = merge_conditions(current.get("conditions") or [], conditions, now)
    wanted = {**status, "conditions": merged}
    writes = status_patch(AUTOSCALERS, name, current, wanted)
    return ControllerPlan(writes, requeue_after_seconds=_SYNC_SECONDS)


def _pods_of(mirror: Mirror, target: AppsObject) -> list[Pod]:
    """The pods of a target; those of a Deployment belong to its ReplicaSets."""
    found = mirror.pods_of(target.metadata.uid)
    for replica_set in mirror.replica_sets_of(target.metadata.uid):
        found += mirror.pods_of(replica_set.metadata.uid)
    return found


def _load_of(
    autoscaler: Autoscaler, target: AppsObject, loads: Sequence[LoadDescription]
) -> dict[str, int]:
    """The load of a target by resource, as whole amounts; empty: nothing measures it."""
    described: dict[str, str | int | float] = {}
    for load in loads:
        if (load.namespace, load.name) == (target.metadata.namespace, target.metadata.name):
            described |= load.usage
    for metadata in (target.metadata, autoscaler.metadata):
        for pair in metadata.annotations.get(LOAD_ANNOTATION, "").split(","):
            resource, equals, quantity = pair.partition("=")
            if equals:
                described[resource.strip()] = quantity.strip()
    found: dict[str, int] = {}
    for measured, amount in described.items():
        try:
            found[measured] = requested_amount(measured, amount)
        except NotAQuantity:
            continue  # an unreadable load is no load that anything measured
    return found


def _read_metrics(
    autoscaler: Autoscaler, current: int, pods: list[Pod], load: Mapping[str, int]
) -> tuple[list[_Reading], str]:
    """What each readable metric asks for, and why one could not be read."""
    readings: list[_Reading] = []
    problem = "no pods are ready"
    ready = sum(is_ready(pod) for pod in pods)
    for metric in autoscaler.spec.metrics:
        if metric.type != "Resource" or metric.resource is None:
            problem = f"metrics of type {metric.type} are not simulated"
            continue
        name = metric.resource.name
        if name not in load:
            problem = f"no load is known for {name}: set the annotation {LOAD_ANNOTATION}"
        elif ready:
            request = max(requests_of(pod).get(name, 0) for pod in pods)
            found = _read(name, metric.resource.target, load[name] / ready, request)
            if found is None:
                problem = f"missing request for {name}"
                continue
            status, ratio = found
            steady = abs(ratio - 1) <= _TOLERANCE
            readings.append(_Reading(status, current if steady else math.ceil(ratio * ready)))
    return readings, problem


def _read(
    resource: str, target: MetricTarget, average: float, request: int
) -> tuple[dict[str, Any], float] | None:
    """The status of a metric, and its ratio to the target; None: the pods request nothing of it."""
    unit = "m" if resource == "cpu" else ""
    shown: dict[str, Any] = {"averageValue": f"{round(average)}{unit}"}
    if target.average_utilization is not None:
        if not request:
            return None
        percent = int(average * _HUNDRED_PERCENT / request)  # whole percents, as the real one
        shown["averageUtilization"] = percent
        ratio = percent / max(1, target.average_utilization)
    elif target.average_value is not None:
        ratio = average / max(1, requested_amount(resource, target.average_value))
    else:
        return None
    return {"type": "Resource", "resource": {"name": resource, "current": shown}}, ratio


def _within_bounds(autoscaler: Autoscaler, current: int, asked: int) -> tuple[int, str]:
    """The replicas within the bounds and the rate of growth, and the reason of what limits them."""
    spec = autoscaler.spec
    if asked > spec.max_replicas:
        asked, limited = spec.max_replicas, "TooManyReplicas"
    elif asked < spec.min_replicas:
        asked, limited = spec.min_replicas, "TooFewReplicas"
    else:
        limited = ""
    fastest = max(2 * current, current + _MIN_LIMIT_OF_SCALE_UP)
    return (fastest, "ScaleUpLimit") if asked > fastest else (asked, limited)


def _stabilised(autoscaler: Autoscaler, current: int, desired: int, now: datetime) -> int:
    """The desired replicas; fewer than now only after the window since the last change.

    The real controller takes the highest recommendation within the window; this one has no memory
    but the object, and waits for the window to pass.
    """
    if desired >= current:
        return desired
    window = autoscaler.spec.behavior.scale_down.stabilization_window_seconds
    last = autoscaler.status.get("lastScaleTime")
    if not last or current > autoscaler.spec.max_replicas:
        return desired
    seconds = (now - datetime.fromisoformat(str(last))).total_seconds()
    least = _DEFAULT_SCALE_DOWN_WINDOW_SECONDS if window is None else window
    return desired if seconds >= least else current
