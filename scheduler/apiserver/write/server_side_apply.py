"""Server-side apply: merge what a manager wants, remove what it no longer wants, find conflicts.

Source: KEP-555 and "Server-Side Apply" of the Kubernetes documentation; the steps are those of
structured-merge-diff's `Updater.Apply`.
"""

import copy
import json
from dataclasses import dataclass, field

from scheduler.apiserver.base.errors import ApiError
from scheduler.apiserver.write.field_sets import (
    FieldSet,
    compare,
    difference,
    fields_of,
    intersection,
    is_member,
    item_key,
    paths,
    union,
)
from scheduler.apiserver.write.managed_fields import Writer, without_identity
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.structural import Node

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_FREE = Node(preserve=True)


@dataclass(slots=True)
class Applied:
    """The outcome of an apply."""

    item: JsonObject
    """The merged object, without managedFields."""
    wanted: FieldSet
    others: list[JsonObject] = field(default_factory=list)
    """The entries of the other managers."""
    before: JsonObject | None = None
    """The manager's own entry, as it was."""

    def entries(self, writer: Writer) -> list[JsonObject]:
        """The new managedFields; an unchanged entry keeps its time."""
        before = self.before
        if (
            before is not None
            and before.get("fieldsV1") == self.wanted
            and before.get("apiVersion") == writer.api_version
        ):
            return [*self.others, before]
        if not self.wanted:
            return self.others
        return [*self.others, writer.entry(self.wanted)]


def apply(
    node: Node, live: JsonObject, config: JsonObject, writer: Writer, *, force: bool
) -> Applied:
    """Applies a configuration to the live object; neither is changed.

    Raises:
        ApiError: 409 with one cause a field, when others own what the configuration changes.
    """
    entries: list[JsonObject] = live.get("metadata", {}).get("managedFields") or []
    own = next((entry for entry in entries if writer.owns(entry)), None)
    others = [entry for entry in entries if entry is not own]
    wanted = without_identity(fields_of(node, config, applied=True))
    merged = merge(node, _plain(live), config)
    last: FieldSet = (own or {}).get("fieldsV1") or {}
    gone = difference(last, wanted)
    if gone:
        keep = wanted
        for entry in others:
            keep = union(keep, entry.get("fieldsV1") or {})
        _remove(node, merged, gone, keep)
    found = compare(node, _plain(live), merged)
    changed, removed = without_identity(found.changed), without_identity(found.removed)
    conflicts = _conflicts(others, changed)
    if conflicts and not force and writer.manager == "kubectl":
        conflicts = _conflicts(others, difference(changed, _client_side(node, live)))
    if conflicts and not force:
        raise _conflict_error(conflicts)
    _note_last_applied(merged, config, writer)
    return Applied(merged, wanted, _after(others, changed, removed), own)


def _plain(item: JsonObject) -> JsonObject:
    plain = copy.copy(item)
    metadata = item.get("metadata")
    if isinstance(metadata, dict):
        plain["metadata"] = {
            key: value for key, value in metadata.items() if key != "managedFields"
        }
    return plain


def _last_applied(item: JsonObject) -> Json:
    annotations = item.get("metadata", {}).get("annotations") or {}
    try:
        return json.loads(annotations.get(LAST_APPLIED, "null"))
    except ValueError:
        return None


def _client_side(node: Node, live: JsonObject) -> FieldSet:
    """The fields that `kubectl apply` wrote from the client and that are still as it wrote them.

    Who moves from client-side to server-side apply does not conflict with himself.
    """
    last = _last_applied(live)
    if not isinstance(last, dict):
        return {}
    written = fields_of(node, last, applied=True)
    return difference(written, compare(node, last, live).changed)


def _note_last_applied(merged: JsonObject, config: JsonObject, writer: Writer) -> None:
    """Keeps the annotation of client-side apply up to date, for those who move back."""
    if writer.manager == "kubectl" and _last_applied(merged) is not None:
        text = json.dumps(config, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"
        metadata = dict(merged["metadata"])
        metadata["annotations"] = {**metadata["annotations"], LAST_APPLIED: text}
        merged["metadata"] = metadata


def _conflicts(others: list[JsonObject], changed: FieldSet) -> list[tuple[JsonObject, FieldSet]]:
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
        for path in paths(fields):
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


def _after(others: list[JsonObject], changed: FieldSet, removed: FieldSet) -> list[JsonObject]:
    """The others' entries: what was taken from them by force, or is gone, is theirs no more."""
    kept = []
    for entry in others:
        fields: FieldSet = entry.get("fieldsV1") or {}
        left = difference(difference(fields, changed), removed)
        if left:
            kept.append(entry if left == fields else {**entry, "fieldsV1": left})
    return kept


# ---------------------------------------------------------------- merging


def merge(node: Node | None, live: Json, config: Json) -> Json:
    """The live value with the configuration laid over it; shares nothing with the configuration."""
    node = node or _FREE
    if isinstance(live, dict) and isinstance(config, dict) and not node.atomic:
        merged = dict(live)
        for key, value in config.items():
            below = node.child(key)
            merged[key] = merge(below, live[key], value) if key in live else copy.deepcopy(value)
        return merged
    if isinstance(live, list) and isinstance(config, list) and node.list_type in {"map", "set"}:
        keys = [item_key(node, item) for item in (*live, *config)]
        if None not in keys:
            return _merge_items(node, live, config)
    return copy.deepcopy(config)


def _merge_items(node: Node, live: list[Json], config: list[Json]) -> list[Json]:
    """Merges by key: live items first, in their order, then the new ones in theirs."""
    wanted = {item_key(node, item): item for item in config}
    merged: list[Json] = []
    for item in live:
        key = item_key(node, item)
        new = wanted.pop(key, None)
        merged.append(item if new is None else merge(node.items, item, new))
    merged.extend(copy.deepcopy(item) for item in wanted.values())
    return merged


# ---------------------------------------------------------------- removing


def _remove(node: Node | None, value: Json, gone: FieldSet, keep: FieldSet) -> None:
    """Removes fields that nobody wants any more; containers go when nothing is left in them."""
    node = node or _FREE
    for step, below in gone.items():
        kept = keep.get(step)
        if step.startswith("f:") and isinstance(value, dict):
            _remove_key(node, value, step[2:], below, kept)
        elif step[:2] in {"k:", "v:"} and isinstance(value, list):
            _remove_item(node, value, step, below, kept)


def _remove_key(
    node: Node, value: JsonObject, key: str, below: FieldSet, kept: FieldSet | None
) -> None:
    if key not in value:
        return
    item = value[key]
    if not isinstance(item, dict | list) or not item or not _children_of(below):
        if kept is None and is_member(below):
            del value[key]
        return
    value[key] = copy.copy(item)
    _remove(node.child(key), value[key], below, kept or {})
    if not value[key] and kept is None:
        del value[key]


def _remove_item(
    node: Node, value: list[Json], step: str, below: FieldSet, kept: FieldSet | None
) -> None:
    for index, item in enumerate(value):
        if item_key(node, item) != step:
            continue
        if kept is None and is_member(below):
            del value[index]
        elif isinstance(item, dict):
            value[index] = copy.copy(item)
            _remove(node.items, value[index], below, kept or {})
        return


def _children_of(fields: FieldSet) -> bool:
    return any(key != "." for key in fields)
