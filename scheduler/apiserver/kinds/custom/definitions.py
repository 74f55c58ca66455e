"""CustomResourceDefinitions: their strategy, and the resources that they define.

A definition is accepted if its schema is structural, its rules compile and their cost is limited
(see `checks.py`). The write itself sets its conditions; its resources are served once it is on
disk.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from scheduler.apiserver.base.errors import GroupResource
from scheduler.apiserver.kinds.core.schemas import OBJECT_META_DEFINITION, schema_node_of
from scheduler.apiserver.kinds.custom.checks import definition_problems
from scheduler.apiserver.kinds.jsonpath import JsonPathError, parse_json_path
from scheduler.apiserver.kinds.metadata import format_rfc3339
from scheduler.apiserver.kinds.resources import (
    KindStrategy,
    ScalePaths,
    ServerResource,
    TableColumn,
)
from scheduler.apiserver.kinds.table_cells import AGE_COLUMN, NAME_COLUMN, AgeCell
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.structural import SchemaNode, compile_schema

CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that keeps a definition until all its objects are deleted."""


def definition_strategy(
    now: Callable[[], datetime],
    on_accepted: Callable[[JsonObject, JsonObject | None], None],
) -> KindStrategy:
    """The strategy of the kind CustomResourceDefinition."""

    def on_create(item: JsonObject) -> None:
        _set_accepted_status(item, format_rfc3339(now()))

    def on_update(item: JsonObject, _old: JsonObject) -> None:
        _set_accepted_status(item, format_rfc3339(now()))

    return KindStrategy(
        prepare_for_create=on_create,
        prepare_for_update=on_update,
        set_defaults=_set_name_defaults,
        problems=definition_problems,
        on_accepted=on_accepted,
        deletion_finalizer=CLEANUP_FINALIZER,
        returns_deleted=True,
    )


def _set_name_defaults(item: JsonObject) -> None:
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


def _set_accepted_status(item: JsonObject, transition_at: str) -> None:
    """Sets the status that the controllers of a real cluster would set."""
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
                "lastTransitionTime": transition_at,
            }
            for kind, reason, message in reasons
        ],
        "acceptedNames": spec.get("names", {}),
        "storedVersions": stored + [name for name in storage if name not in stored],
    }


def custom_resources_of(definition: JsonObject) -> list[ServerResource]:
    """The resources of an accepted definition, one per served version."""
    spec = definition["spec"]
    stored = next(version["name"] for version in spec["versions"] if version["storage"])
    return [
        _custom_resource(definition, version, stored)
        for version in spec["versions"]
        if version.get("served")
    ]


def _custom_resource(
    definition: JsonObject, version: JsonObject, storage_version: str
) -> ServerResource:
    spec = definition["spec"]
    names, group = spec["names"], spec["group"]
    schema = version.get("schema", {}).get("openAPIV3Schema", {})
    subresources = version.get("subresources") or {}
    is_stored = version["name"] == storage_version
    return ServerResource(
        group_resource=GroupResource(group, names["plural"], names["kind"]),
        version=version["name"],
        singular=names["singular"],
        list_kind=names["listKind"],
        namespaced=spec["scope"] == "Namespaced",
        schema_node=_compile_node(
            schema, preserves_unknown=bool(spec.get("preserveUnknownFields"))
        ),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(subresources),
        columns=_printer_columns(version.get("additionalPrinterColumns")),
        is_custom=True,
        selectable_fields=frozenset(
            field["jsonPath"].removeprefix(".") for field in version.get("selectableFields") or ()
        ),
        scale_paths=_scale_paths(subresources.get("scale")),
        crd_name=definition["metadata"]["name"],
        is_terminating=bool(definition["metadata"].get("deletionTimestamp")),
        deprecation_warning=_deprecation_warning(group, version, names["kind"]),
        from_storage_version=(
            None if is_stored else _version_converter(f"{group}/{version['name']}")
        ),
        to_storage_version=None if is_stored else _version_converter(f"{group}/{storage_version}"),
    )


def _compile_node(schema: JsonObject, *, preserves_unknown: bool) -> SchemaNode:
    node = compile_schema(schema)
    return replace(
        node,
        properties={**node.properties, "metadata": schema_node_of(OBJECT_META_DEFINITION)},
        preserves_unknown=node.preserves_unknown or preserves_unknown,
    )


def _version_converter(api_version: str) -> Callable[[JsonObject], JsonObject]:
    def convert(item: JsonObject) -> JsonObject:
        return {**item, "apiVersion": api_version, "metadata": dict(item["metadata"])}

    return convert


def _deprecation_warning(group: str, version: JsonObject, kind: str) -> str:
    if not version.get("deprecated"):
        return ""
    default = f"{group}/{version['name']} {kind} is deprecated"
    return str(version.get("deprecationWarning") or default)


def _scale_paths(paths: Json) -> ScalePaths | None:
    if not isinstance(paths, dict):
        return None

    def keys(name: str) -> tuple[str, ...]:
        return tuple(filter(None, str(paths.get(name) or "").split(".")))

    return ScalePaths(
        spec=keys("specReplicasPath"),
        status=keys("statusReplicasPath"),
        selector=keys("labelSelectorPath"),
    )


def _printer_columns(columns: Json) -> tuple[TableColumn, ...]:
    if not columns:
        return (NAME_COLUMN, AGE_COLUMN)
    return (NAME_COLUMN, *(_printer_column(column) for column in columns))


def _printer_column(column: JsonObject) -> TableColumn:
    kind = column["type"]
    try:
        path = parse_json_path(column["jsonPath"])
    except JsonPathError:
        path = parse_json_path("")  # writes refuse such a path; a stored one gives no cells

    def value(item: JsonObject) -> Json:
        found = path.find(item) if path.steps else []
        if not found:
            return None
        if kind == "date":
            return AgeCell(str(found[0])) if found[0] else None
        if kind == "string" and len(found) > 1:
            return ",".join(map(str, found))
        return _printable(found[0], kind)

    return TableColumn(
        column["name"],
        value,
        kind,
        column.get("format", ""),
        column.get("description")
        or f"Custom resource definition column (in JSONPath format): {column['jsonPath']}",
        int(column.get("priority") or 0),
    )


def _printable(value: Json, kind: str) -> Json:
    if kind == "string" and not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if kind == "integer" and isinstance(value, float | int) and not isinstance(value, bool):
        return int(value)
    return value
