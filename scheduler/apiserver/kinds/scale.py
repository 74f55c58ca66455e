"""The scale subresource: autoscaling/v1 Scale as a common view on the replicas of all kinds."""

import math

from scheduler.apiserver.base.errors import bad_request, internal_error, invalid
from scheduler.apiserver.kinds.resources import ScalePaths, ServerResource
from scheduler.apiserver.kinds.unstructured import map_at, maps_in, value_at
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import FieldProblem, invalid_value


def _format_selector(value: Json) -> str:
    """A label selector in the form of a query parameter."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    terms = [f"{key}={text}" for key, text in sorted(map_at(value, "matchLabels").items())]
    for term in maps_in(value.get("matchExpressions")):
        listed = term.get("values")
        key = term.get("key")
        values = ",".join(sorted(map(str, listed))) if isinstance(listed, list) else ""
        terms.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": f"{key}",
                "DoesNotExist": f"!{key}",
            }.get(str(term.get("operator", "")), "")
        )
    return ",".join(filter(None, terms))


def scale_problems(resource: ServerResource, item: JsonObject) -> list[FieldProblem]:
    """The problems of the replicas of a custom resource, which must be a non-negative integer."""
    if resource.scale_paths is None or not resource.is_custom:
        return []
    replicas = value_at(item, *resource.scale_paths.spec)
    path = "." + ".".join(resource.scale_paths.spec)
    if replicas is None or isinstance(replicas, bool):
        return []
    if not isinstance(replicas, int):
        kind = "float64" if isinstance(replicas, float) else "string"
        shown = f"{replicas:g}" if isinstance(replicas, float) else replicas
        why = f"{path} accessor error: {shown} is of the type {kind}, expected int64"
        return [invalid_value(path, 0, why)]
    if replicas < 0:
        return [invalid_value(path, replicas, "should be a non-negative integer")]
    return []


def _scale_paths_of(resource: ServerResource) -> ScalePaths:
    if resource.scale_paths is None:
        raise bad_request(f"{resource.group_resource.plural} cannot be scaled")
    return resource.scale_paths


_NOT_SET = -(2**31)
"""What a patch of a Scale finds where the object has no replicas; a client cannot mean it."""


def check_has_replicas(resource: ServerResource, item: JsonObject) -> None:
    """Checks that the Scale of an object can be read: a custom resource needs its replicas set.

    Raises:
        ApiError: 500, as kube-apiserver answers: autoscalers distinguish "not yet" from 0 by it.
    """
    paths = _scale_paths_of(resource)
    if resource.is_custom and value_at(item, *paths.spec) is None:
        path = "." + ".".join(paths.spec)
        raise internal_error(f'the spec replicas field "{path}" does not exist')


def scale_of(resource: ServerResource, item: JsonObject) -> JsonObject:
    """The Scale of an object; 0 replicas where it has none."""
    paths, metadata = _scale_paths_of(resource), item["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: JsonObject = {"replicas": _count_at(item, paths.status)}
    selector = _format_selector(value_at(item, *paths.selector)) if paths.selector else ""
    if selector:
        status["selector"] = selector
    replicas = _count_at(item, paths.spec)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _count_at(item: JsonObject, path: tuple[str, ...]) -> int:
    """The whole number at a path; 0 where there is none."""
    found = value_at(item, *path)
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return int(found) if is_number and math.isfinite(found) else 0


def scale_to_patch(resource: ServerResource, item: JsonObject) -> JsonObject:
    """The Scale of an object for a change of it, which must set replicas that are not set."""
    scale = scale_of(resource, item)
    if resource.is_custom and value_at(item, *_scale_paths_of(resource).spec) is None:
        scale["spec"] = {"replicas": _NOT_SET}
    return scale


def apply_scale(resource: ServerResource, item: JsonObject, scale: Json) -> JsonObject:
    """Returns a copy of the object with the replicas of a Scale.

    Raises:
        ApiError: 400 or 422, the Scale is invalid.
    """
    if not isinstance(scale, dict) or scale.get("kind", "Scale") != "Scale":
        raise bad_request("the object provided is not a Scale")
    spec: Json = scale.get("spec") or {}
    if not isinstance(spec, dict):
        raise bad_request("Scale: spec is not an object")
    replicas = spec.get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request("Scale: spec.replicas is not a whole number")
    if replicas == _NOT_SET:
        path = "." + ".".join(_scale_paths_of(resource).spec)
        raise bad_request(f'the spec replicas field "{path}" cannot be empty')
    if replicas < 0:
        why = "must be greater than or equal to 0"
        problem = invalid_value("spec.replicas", replicas, why)
        raise invalid(resource.group_resource, item["metadata"]["name"], [problem])
    changed = dict(item)
    version = map_at(scale, "metadata").get("resourceVersion")
    if version:
        if not isinstance(version, str):
            raise bad_request("Scale: metadata.resourceVersion is not a string")
        changed["metadata"] = {**item["metadata"], "resourceVersion": version}
    target = changed
    for key in _scale_paths_of(resource).spec[:-1]:
        target[key] = dict(map_at(target, key))
        target = target[key]
    target[_scale_paths_of(resource).spec[-1]] = replicas
    return changed
