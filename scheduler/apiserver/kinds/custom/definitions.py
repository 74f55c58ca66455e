"""CustomResourceDefinitions: checked as the real server would, then served.

A definition is accepted when its schema is structural, its rules compile and their cost is bounded
(see `crd_checks`); its conditions are written at once, and discovery follows when it is on disk.
"""

from collections.abc import Callable
from datetime import datetime

from scheduler.apiserver.base.errors import Subject
from scheduler.apiserver.kinds.core.schemas import with_metadata
from scheduler.apiserver.kinds.custom.checks import definition_problems
from scheduler.apiserver.kinds.jsonpath import JsonPathError, parse
from scheduler.apiserver.kinds.metadata import rfc3339
from scheduler.apiserver.kinds.resources import Behaviour, Column, Resource, ScalePaths
from scheduler.apiserver.kinds.table_cells import AGE, NAME, Age
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.structural import Node, compile_schema

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that keeps a definition until its objects are gone."""


def behaviour(now: Callable[[], datetime]) -> Behaviour:
    """What the kind CustomResourceDefinition does beyond its schema."""

    def on_create(item: JsonObject) -> None:
        _accept(item, rfc3339(now()))

    def on_update(item: JsonObject, _old: JsonObject) -> None:
        _accept(item, rfc3339(now()))

    return Behaviour(
        on_create=on_create,
        on_update=on_update,
        defaults=_defaults,
        problems=definition_problems,
        deletion_finalizer=CLEANUP,
        returns_deleted=True,
    )


def _defaults(item: JsonObject) -> None:
    spec = item.get("spec")
    if not isinstance(spec, dict):
        return
    names = spec.get("names")
    if isinstance(names, dict):
        kind = str(names.get("kind", ""))
        names.setdefault("singular", kind.lower())
        names.setdefault("listKind", f"{kind}List")
    if not spec.get("conversion"):
        spec["conversion"] = {"strategy": "None"}


def _accept(item: JsonObject, at: str) -> None:
    """Writes the status that the controllers of a real cluster would write."""
    spec: Json = item.get("spec") or {}
    status: Json = item.get("status") or {}
    known = {one.get("type"): one for one in status.get("conditions") or ()}
    reasons = (
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    )
    storage = [v["name"] for v in spec.get("versions") or () if v.get("storage")]
    stored = [*(status.get("storedVersions") or ())]
    item["status"] = {
        "conditions": [
            known.get(kind)
            or {
                "type": kind,
                "status": "True",
                "reason": reason,
                "message": message,
                "lastTransitionTime": at,
            }
            for kind, reason, message in reasons
        ],
        "acceptedNames": spec.get("names", {}),
        "storedVersions": stored + [name for name in storage if name not in stored],
    }


def custom_resources(definition: JsonObject) -> list[Resource]:
    """The resources of an accepted definition, one a served version."""
    spec = definition["spec"]
    stored = next(version["name"] for version in spec["versions"] if version["storage"])
    return [
        _resource(definition, version, stored)
        for version in spec["versions"]
        if version.get("served")
    ]


def _resource(definition: JsonObject, version: JsonObject, stored: str) -> Resource:
    spec = definition["spec"]
    names, group = spec["names"], spec["group"]
    schema = version.get("schema", {}).get("openAPIV3Schema", {})
    subresources = version.get("subresources") or {}
    resource = Resource(
        subject=Subject(group, names["plural"], names["kind"]),
        version=version["name"],
        singular=names["singular"],
        list_kind=names["listKind"],
        namespaced=spec["scope"] == "Namespaced",
        node=_node(schema, preserve=bool(spec.get("preserveUnknownFields"))),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(subresources),
        columns=_columns(version.get("additionalPrinterColumns")),
        custom=True,
        fields=frozenset(
            field["jsonPath"].removeprefix(".") for field in version.get("selectableFields") or ()
        ),
        scale=_scale(subresources.get("scale")),
        owner=definition["metadata"]["name"],
        is_terminating=bool(definition["metadata"].get("deletionTimestamp")),
        warning=_warning(group, version, names["kind"]),
    )
    if version["name"] != stored:
        resource.to_view = _to_version(f"{group}/{version['name']}")
        resource.from_view = _to_version(f"{group}/{stored}")
    return resource


def _node(schema: JsonObject, *, preserve: bool) -> Node:
    node = with_metadata(compile_schema(schema))
    node.preserve = node.preserve or preserve
    return node


def _to_version(api_version: str) -> Callable[[JsonObject], JsonObject]:
    def convert(item: JsonObject) -> JsonObject:
        return {**item, "apiVersion": api_version, "metadata": dict(item["metadata"])}

    return convert


def _warning(group: str, version: JsonObject, kind: str) -> str:
    if not version.get("deprecated"):
        return ""
    default = f"{group}/{version['name']} {kind} is deprecated"
    return str(version.get("deprecationWarning") or default)


def _scale(paths: Json) -> ScalePaths | None:
    if not isinstance(paths, dict):
        return None

    def keys(name: str) -> tuple[str, ...]:
        return tuple(filter(None, str(paths.get(name) or "").split(".")))

    return ScalePaths(
        keys("specReplicasPath"), keys("statusReplicasPath"), keys("labelSelectorPath")
    )


def _columns(columns: Json) -> tuple[Column, ...]:
    if not columns:
        return (NAME, AGE)
    return (NAME, *(_column(column) for column in columns))


def _column(column: JsonObject) -> Column:
    kind = column["type"]
    try:
        path = parse(column["jsonPath"])
    except JsonPathError:
        path = parse("")  # refused when the definition is applied; kept harmless here

    def value(item: JsonObject) -> Json:
        found = path.find(item) if path.steps else []
        if not found:
            return None
        if kind == "date":
            return Age(str(found[0])) if found[0] else None
        if kind == "string" and len(found) > 1:
            return ",".join(map(str, found))
        return _shown(found[0], kind)

    return Column(
        column["name"],
        value,
        kind,
        column.get("format", ""),
        column.get("description")
        or f"Custom resource definition column (in JSONPath format): {column['jsonPath']}",
        int(column.get("priority") or 0),
    )


def _shown(value: Json, kind: str) -> Json:
    if kind == "string" and not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if kind == "integer" and isinstance(value, float | int) and not isinstance(value, bool):
        return int(value)
    return value
