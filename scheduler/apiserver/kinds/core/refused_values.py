"""Finds the values of a core kind's manifest that each API server refuses. Pure.

These are the checks beyond the schema, such as `maxReplicas` below `minReplicas` or a selector that
does not match its template. A missing field is not judged, since a webhook of the site may set it,
and neither is a word of a closed list, since a later version of Kubernetes may know it.
"""

from functools import cache

from scheduler.apiserver.kinds.core.core_kinds import core_resources
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.hub.schema.json_types import JsonObject

_JUDGED = "FieldValueInvalid"
_MAX_CHARACTERS = 300


def refused_value(item: JsonObject) -> str:
    """The first value that each API server refuses, with its path; empty if there is none.

    Args:
        item: a manifest that fits the schema of its kind; defaults are set in it.
    """
    identity = str(item.get("apiVersion", "")), str(item.get("kind", ""))
    resource = _resources().get(identity)
    if resource is None:
        return ""
    if resource.to_storage_version is not None:
        item = resource.to_storage_version(item)
    resource.strategy.set_defaults(item)
    for problem in resource.strategy.problems(item, None):
        if problem.reason == _JUDGED:
            return problem.full_message[:_MAX_CHARACTERS]
    return ""


@cache
def _resources() -> dict[tuple[str, str], ServerResource]:
    """The core kinds with checks of their own, by `apiVersion` and kind."""
    return {
        (f"{one.group_resource.group}/{one.version}".lstrip("/"), one.group_resource.kind): one
        for one in core_resources()
    }
