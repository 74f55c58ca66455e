"""Field ownership: `metadata.managedFields` after each write.

Source: "Server-Side Apply" of the Kubernetes documentation; the algorithms are those of
structured-merge-diff's Updater.
"""

import copy
from dataclasses import dataclass

from scheduler.apiserver.write.field_sets import (
    FieldSet,
    compare_fields,
    difference,
    is_field_set,
    union,
)
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.structural import SchemaNode

_UNOWNED_METADATA = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "selfLink",
    "generation",
    "resourceVersion",
    "managedFields",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldManager:
    """The manager of a write, and its operation."""

    manager: str
    operation: str
    """`Apply` or `Update`."""
    api_version: str
    subresource: str
    time: str
    """The current time in RFC 3339, for new or changed entries."""
    owns_status: bool = True
    """False if the status is a subresource and this is a write to another endpoint."""

    def owns(self, entry: JsonObject) -> bool:
        """Whether an entry of managedFields belongs to this manager and operation."""
        return (
            entry.get("manager") == self.manager
            and entry.get("operation") == self.operation
            and (entry.get("subresource") or "") == self.subresource
            and (self.operation == "Apply" or entry.get("apiVersion") == self.api_version)
        )

    def new_entry(self, fields: FieldSet) -> JsonObject:
        """A new entry of managedFields."""
        made: JsonObject = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        if self.subresource:
            made["subresource"] = self.subresource
        return made


def strip_system_fields(fields: FieldSet) -> FieldSet:
    """The set without fields that cannot have an owner: apiVersion, kind, name, uid and so on."""
    kept = {key: node for key, node in fields.items() if key not in {"f:apiVersion", "f:kind"}}
    metadata = kept.get("f:metadata")
    if metadata is not None:
        left = {
            key: node
            for key, node in metadata.items()
            if key != "." and key.removeprefix("f:") not in _UNOWNED_METADATA
        }
        if left:
            kept["f:metadata"] = left
        else:
            del kept["f:metadata"]
    return kept


def parse_managed_fields(value: Json) -> list[JsonObject] | None:
    """A copy of the managedFields that a client sent; None if they are absent or invalid.

    A list with one empty entry resets the ownership; an empty list counts as absent.
    """
    if not isinstance(value, list) or not value:
        return None
    if value == [{}]:
        return []
    if not all(isinstance(entry, dict) and _is_valid_entry(entry) for entry in value):
        return None
    return [dict(entry) for entry in value]


def _is_valid_entry(entry: JsonObject) -> bool:
    texts = (entry.get(key, "") for key in ("manager", "apiVersion", "subresource", "time"))
    return (
        entry.get("operation") in ("Apply", "Update")
        and all(isinstance(text, str) for text in texts)
        and is_field_set(entry.get("fieldsV1", {}))
    )


def update_managed_fields(
    node: SchemaNode,
    old: JsonObject,
    new: JsonObject,
    entries: list[JsonObject],
    manager: FieldManager,
) -> list[JsonObject]:
    """The entries after an update; the manager becomes the only owner of the fields it changes.

    Args:
        node: the schema of the object.
        old: the object before; empty for a new one.
        new: the object after.
        entries: the entries before.
        manager: the manager of the update.
    """
    found = compare_fields(node, without_managed_fields(old), without_managed_fields(new))
    changed = strip_system_fields(found.changed)
    removed = strip_system_fields(found.removed)
    if not manager.owns_status:
        changed.pop("f:status", None)
    if not changed and not removed:
        return entries
    kept: list[JsonObject] = []
    mine: FieldSet = {}
    own: JsonObject | None = None
    for entry in entries:
        fields: FieldSet = entry.get("fieldsV1") or {}
        if own is None and manager.owns(entry):
            own, mine = entry, fields
            continue
        left = difference(difference(fields, removed), changed)
        if left:
            kept.append(entry if left == fields else {**entry, "fieldsV1": left})
    owned = union(difference(mine, removed), changed)
    if owned == mine and own is not None:
        return [*kept, own] if own else kept  # an unchanged entry keeps its timestamp
    return [*kept, manager.new_entry(owned)] if owned else kept


def sort_entries(entries: list[JsonObject]) -> list[JsonObject]:
    """Sorts entries as the real server does: applies first, then by time and name."""
    return sorted(
        entries,
        key=lambda entry: (
            entry.get("operation") or "",
            entry.get("time") or "",
            entry.get("manager") or "",
            entry.get("subresource") or "",
        ),
    )


def without_managed_fields(item: JsonObject) -> JsonObject:
    """The object without managedFields, which differ after each write; does not change it."""
    metadata = item.get("metadata")
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return item
    shown = copy.copy(item)
    shown["metadata"] = {key: value for key, value in metadata.items() if key != "managedFields"}
    return shown
