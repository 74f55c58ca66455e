"""Server-side apply: merges a configuration, removes fields it no longer has, finds conflicts.

Source: KEP-555 and "Server-Side Apply" of the Kubernetes documentation; the steps are those of
structured-merge-diff's `Updater.Apply`.
"""

import copy
import json
from dataclasses import dataclass, field

from scheduler.apiserver.base.errors import ApiError
from scheduler.apiserver.write.field_sets import (
    SCHEMALESS,
    FieldSet,
    compare_fields,
    difference,
    fields_of,
    format_paths,
    intersection,
    is_member,
    path_element_of,
    union,
)
from scheduler.apiserver.write.managed_fields import (
    FieldManager,
    strip_system_fields,
    without_managed_fields,
)
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.structural import SchemaNode

LAST_APPLIED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(slots=True)
class ServerSideApplyResult:
    """The result of an apply."""

    item: JsonObject
    """The merged object, without managedFields."""
    applied_fields: FieldSet
    other_entries: list[JsonObject] = field(default_factory=list)
    """The managedFields entries of the other managers."""
    previous_entry: JsonObject | None = None
    """The manager's own entry before the apply."""

    def managed_fields_of(self, manager: FieldManager) -> list[JsonObject]:
        """The new managedFields; an unchanged entry keeps its timestamp."""
        before = self.previous_entry
        if (
            before is not None
            and before.get("fieldsV1") == self.applied_fields
            and before.get("apiVersion") == manager.api_version
        ):
            return [*self.other_entries, before]
        if not self.applied_fields:
            return self.other_entries
        return [*self.other_entries, manager.new_entry(self.applied_fields)]


def apply_configuration(
    node: SchemaNode, live: JsonObject, config: JsonObject, manager: FieldManager, *, force: bool
) -> ServerSideApplyResult:
    """Applies a configuration to the live object; changes neither.

    Raises:
        ApiError: 409 with one cause per field, if other managers own fields that would change.
    """
    entries: list[JsonObject] = live.get("metadata", {}).get("managedFields") or []
    own = next((entry for entry in entries if manager.owns(entry)), None)
    others = [entry for entry in entries if entry is not own]
    wanted = strip_system_fields(fields_of(node, config, for_apply=True))
    merged = merge_values(node, without_managed_fields(live), config)
    last: FieldSet = (own or {}).get("fieldsV1") or {}
    gone = difference(last, wanted)
    if gone:
        keep = wanted
        for entry in others:
            keep = union(keep, entry.get("fieldsV1") or {})
        _remove_fields(node, merged, gone, keep)
    found = compare_fields(node, without_managed_fields(live), merged)
    changed, removed = strip_system_fields(found.changed), strip_system_fields(found.removed)
    conflicts = _find_conflicts(others, changed)
    if conflicts and not force and manager.manager == "kubectl":
        conflicts = _find_conflicts(others, difference(changed, _client_side_fields(node, live)))
    if conflicts and not force:
        raise _conflict_error(conflicts)
    _update_last_applied(merged, config, manager)
    return ServerSideApplyResult(merged, wanted, _release_fields(others, changed, removed), own)


def _last_applied_of(item: JsonObject) -> Json:
    annotations = item.get("metadata", {}).get("annotations") or {}
    try:
        return json.loads(annotations.get(LAST_APPLIED_ANNOTATION, "null"))
    except ValueError:
        return None


def _client_side_fields(node: SchemaNode, live: JsonObject) -> FieldSet:
    """The fields that a client-side `kubectl apply` has written and that are unchanged since.

    They are no conflict when a user moves from client-side to server-side apply.
    """
    last = _last_applied_of(live)
    if not isinstance(last, dict):
        return {}
    written = fields_of(node, last, for_apply=True)
    return difference(written, compare_fields(node, last, live).changed)


def _update_last_applied(merged: JsonObject, config: JsonObject, manager: FieldManager) -> None:
    """Updates the annotation of client-side apply, so that a user can move back to it."""
    if manager.manager == "kubectl" and _last_applied_of(merged) is not None:
        text = json.dumps(config, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"
        metadata = dict(merged["metadata"])
        metadata["annotations"] = {**metadata["annotations"], LAST_APPLIED_ANNOTATION: text}
        merged["metadata"] = metadata


def _find_conflicts(
    others: list[JsonObject], changed: FieldSet
) -> list[tuple[JsonObject, FieldSet]]:
    found = []
    for entry in others:
        shared = intersection(entry.get("fieldsV1") or {}, changed)
        if shared:
            found.append((entry, shared))
    return found


def _conflict_error(conflicts: list[tuple[JsonObject, FieldSet]]) -> ApiError:
    causes = []
    by_manager: dict[str, list[str]] = {}
    for entry, fields in conflicts:
        who = f'"{entry.get("manager")}"'
        if entry.get("subresource"):
            who += f' with subresource "{entry["subresource"]}"'
        if entry.get("operation") == "Update":
            who += f" using {entry.get('apiVersion')}"
        for path in format_paths(fields):
            by_manager.setdefault(who, []).append(path)
            causes.append(
                {
                    "reason": "FieldManagerConflict",
                    "message": f"conflict with {who}",
                    "field": path,
                }
            )
    return ApiError(409, "Conflict", _conflict_message(by_manager), {"causes": causes})


def _conflict_message(by_manager: dict[str, list[str]]) -> str:
    total = sum(map(len, by_manager.values()))
    if total == 1:
        who, found = next(iter(by_manager.items()))
        return f"Apply failed with 1 conflict: conflict with {who}: {found[0]}"
    lines = [
        f"conflicts with {who}:\n" + "\n".join(f"- {path}" for path in found)
        for who, found in by_manager.items()
    ]
    return f"Apply failed with {total} conflicts: " + "\n".join(lines)


def _release_fields(
    others: list[JsonObject], changed: FieldSet, removed: FieldSet
) -> list[JsonObject]:
    """The other managers' entries without fields that were forced or removed."""
    kept = []
    for entry in others:
        fields: FieldSet = entry.get("fieldsV1") or {}
        left = difference(difference(fields, changed), removed)
        if left:
            kept.append(entry if left == fields else {**entry, "fieldsV1": left})
    return kept


# ---------------------------------------------------------------- merging


def merge_values(node: SchemaNode | None, live: Json, config: Json) -> Json:
    """The live value merged with the configuration; shares no mutable parts with the latter."""
    node = node or SCHEMALESS
    if isinstance(live, dict) and isinstance(config, dict) and not node.is_atomic:
        merged = dict(live)
        for key, value in config.items():
            below = node.child(key)
            merged[key] = (
                merge_values(below, live[key], value) if key in live else copy.deepcopy(value)
            )
        return merged
    if isinstance(live, list) and isinstance(config, list) and node.list_type in {"map", "set"}:
        keys = [path_element_of(node, item) for item in (*live, *config)]
        if None not in keys:
            return _merge_items(node, live, config)
    return copy.deepcopy(config)


def _merge_items(node: SchemaNode, live: list[Json], config: list[Json]) -> list[Json]:
    """Merges lists by key: the live items in their order, then new items in theirs."""
    wanted = {path_element_of(node, item): item for item in config}
    merged: list[Json] = []
    for item in live:
        key = path_element_of(node, item)
        new = wanted.pop(key, None)
        merged.append(item if new is None else merge_values(node.items, item, new))
    merged.extend(copy.deepcopy(item) for item in wanted.values())
    return merged


# ---------------------------------------------------------------- removing


def _remove_fields(node: SchemaNode | None, value: Json, gone: FieldSet, keep: FieldSet) -> None:
    """Removes the fields in `gone`, in place, and containers that become empty, except `keep`."""
    node = node or SCHEMALESS
    for step, below in gone.items():
        kept = keep.get(step)
        if step.startswith("f:") and isinstance(value, dict):
            _remove_key(node, value, step[2:], below, kept)
        elif step[:2] in {"k:", "v:"} and isinstance(value, list):
            _remove_item(node, value, step, below, kept)


def _remove_key(
    node: SchemaNode, value: JsonObject, key: str, below: FieldSet, kept: FieldSet | None
) -> None:
    if key not in value:
        return
    item = value[key]
    if not isinstance(item, dict | list) or not item or not _has_children(below):
        if kept is None and is_member(below):
            del value[key]
        return
    value[key] = copy.copy(item)
    _remove_fields(node.child(key), value[key], below, kept or {})
    if not value[key] and kept is None:
        del value[key]


def _remove_item(
    node: SchemaNode, value: list[Json], step: str, below: FieldSet, kept: FieldSet | None
) -> None:
    for index, item in enumerate(value):
        if path_element_of(node, item) != step:
            continue
        if kept is None and is_member(below):
            del value[index]
        elif isinstance(item, dict):
            value[index] = copy.copy(item)
            _remove_fields(node.items, value[index], below, kept or {})
        return


def _has_children(fields: FieldSet) -> bool:
    return any(key != "." for key in fields)
