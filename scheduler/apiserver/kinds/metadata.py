"""Metadata: the fields that the server sets, and the checks of those that clients set."""

import secrets
import uuid
from dataclasses import replace
from datetime import UTC, datetime

from scheduler.apiserver.base.errors import ApiError, bad_request, conflict, invalid
from scheduler.apiserver.base.requests import parse_revision
from scheduler.apiserver.kinds.names import (
    annotations_problems,
    dns_label_problems,
    finalizers_problems,
    labels_problems,
)
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.apiserver.kinds.unstructured import map_at
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import FieldProblem, invalid_value, quote_value, required_value

_GENERATED_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_GENERATED_SUFFIX_LENGTH = 5
_MAX_GENERATED_BASE_LENGTH = 58
_SYSTEM_METADATA_FIELDS = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
)
_STRING_MAP_FIELDS = ("labels", "annotations")
_STRING_FIELDS = ("name", "generateName", "namespace", "resourceVersion", "uid")
_LIST_FIELDS = ("finalizers", "ownerReferences", "managedFields")
_METADATA_TYPES: dict[str, tuple[type, str]] = {
    **dict.fromkeys(_STRING_FIELDS, (str, "string")),
    **dict.fromkeys(_STRING_MAP_FIELDS, (dict, "map of strings")),
    **dict.fromkeys(_LIST_FIELDS, (list, "list")),
}

_OWNER_TYPES: dict[str, tuple[type, str]] = {
    **dict.fromkeys(("apiVersion", "kind", "name", "uid"), (str, "string")),
    **dict.fromkeys(("controller", "blockOwnerDeletion"), (bool, "bool")),
}


def format_rfc3339(instant: datetime) -> str:
    """Formats an instant as Kubernetes does: RFC 3339 in UTC with whole seconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_type_meta(resource: ServerResource, item: Json) -> JsonObject:
    """Checks apiVersion, kind and the types in metadata; returns the object with a metadata map.

    Raises:
        ApiError: 400 or 422, the object is not of this resource or metadata has a wrong type.
    """
    if not isinstance(item, dict):
        raise bad_request("the object provided is not a JSON object")
    kind = resource.group_resource.kind
    for key, expected in (("apiVersion", resource.api_version), ("kind", kind)):
        found = item.get(key)
        if found is not None and not isinstance(found, str):
            raise _unmarshal_error(kind, key, "string", found)
        if not found:
            if resource.is_custom:
                raise bad_request(
                    f"the object provided is unrecognized (must be of type {kind}): Object "
                    f"'{key[0].upper()}{key[1:]}' is missing in '{quote_value(item)[:256]}'"
                )
            item[key] = expected
        elif found != expected and key == "kind" and resource.is_custom:
            subject = replace(resource.group_resource, kind=str(found))
            name = str(map_at(item, "metadata").get("name") or "")
            raise invalid(subject, name, [invalid_value("kind", found, f"must be {expected}")])
        elif found != expected:
            raise bad_request(
                f"the {'API version' if key == 'apiVersion' else 'kind'} in the data ({found}) "
                f"does not match the expected {'API version' if key == 'apiVersion' else 'kind'} "
                f"({expected})"
            )
    if item.get("metadata") is None:
        item["metadata"] = {}
    _check_metadata_types(kind, item["metadata"])
    return item


def _check_metadata_types(kind: str, metadata: Json) -> None:
    if not isinstance(metadata, dict):
        raise _unmarshal_error(kind, "metadata", "object", metadata)
    for key, (expected, words) in _METADATA_TYPES.items():
        value = metadata.get(key)
        if value is None:
            metadata.pop(key, None)
        elif not isinstance(value, expected):
            raise _unmarshal_error(kind, f"metadata.{key}", words, value)
    for key in _STRING_MAP_FIELDS:
        for name, text in metadata.get(key, {}).items():
            if not isinstance(text, str):
                raise _unmarshal_error(kind, f"metadata.{key}.{name}", "string", text)
    _check_list_types(kind, metadata)


def _check_list_types(kind: str, metadata: JsonObject) -> None:
    for name in metadata.get("finalizers", ()):
        if not isinstance(name, str):
            raise _unmarshal_error(kind, "metadata.finalizers", "string", name)
    for owner in metadata.get("ownerReferences", ()):
        _check_owner_types(kind, owner)
    for entry in metadata.get("managedFields", ()):
        if not isinstance(entry, dict):
            raise _unmarshal_error(kind, "metadata.managedFields", "object", entry)


def _check_owner_types(kind: str, owner: Json) -> None:
    path = "metadata.ownerReferences"
    if not isinstance(owner, dict):
        raise _unmarshal_error(kind, path, "object", owner)
    for key, (expected, words) in _OWNER_TYPES.items():
        value = owner.get(key)
        if value is not None and not isinstance(value, expected):
            raise _unmarshal_error(kind, f"{path}.{key}", words, value)


def _unmarshal_error(kind: str, path: str, expected: str, value: Json) -> ApiError:
    return bad_request(
        f"{kind} cannot be handled as a {kind}: json: cannot unmarshal {quote_value(value)[:80]}"
        f" into field {path} of type {expected}"
    )


def ensure_name_and_namespace(
    resource: ServerResource, item: JsonObject, namespace: str, name: str = ""
) -> None:
    """Fills in name and namespace from the path, or generates the name.

    Raises:
        ApiError: 400, path and object contradict each other.
    """
    metadata = item["metadata"]
    if not resource.namespaced:
        metadata.pop("namespace", None)
    elif metadata.get("namespace") in {None, ""}:
        metadata["namespace"] = namespace
    elif metadata["namespace"] != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if name:
        if metadata.get("name") in {None, ""}:
            metadata["name"] = name
        elif metadata["name"] != name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL "
                f"({name})"
            )


def generate_name(base: str) -> str:
    """A name for `generateName`: the base and five random characters without vowels."""
    suffix = "".join(
        secrets.choice(_GENERATED_SUFFIX_ALPHABET) for _ in range(_GENERATED_SUFFIX_LENGTH)
    )
    return base[:_MAX_GENERATED_BASE_LENGTH] + suffix


def fill_system_metadata(resource: ServerResource, item: JsonObject, now: datetime) -> None:
    """Sets uid, creation timestamp and generation of a new object."""
    metadata = item["metadata"]
    for key in _SYSTEM_METADATA_FIELDS:
        metadata.pop(key, None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = generate_name(metadata["generateName"])
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = format_rfc3339(now)
    if resource.strategy.has_generation:
        metadata["generation"] = 1


def keep_system_metadata(
    resource: ServerResource, item: JsonObject, old: JsonObject, *, is_patch: bool = False
) -> None:
    """Restores the metadata fields that only the server sets.

    Raises:
        ApiError: 409, the uid or the resource version of the client differs.
    """
    metadata, before = item["metadata"], old["metadata"]
    name = before["name"]
    uid = metadata.get("uid")
    if uid and uid != before["uid"] and is_patch and resource.is_custom:
        raise_if_invalid(resource, item, [invalid_value("metadata.uid", uid, "field is immutable")])
    if uid and uid != before["uid"]:
        raise conflict(
            resource.group_resource,
            name,
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {before['uid']}",
        )
    version = metadata.get("resourceVersion")
    if version and parse_revision(version) is None:
        raise bad_request(f'strconv.ParseUint: parsing "{version[:80]}": invalid syntax')
    if version and version not in {before["resourceVersion"], "0"}:
        raise conflict(resource.group_resource, name)
    for key in (*_SYSTEM_METADATA_FIELDS, "resourceVersion"):
        if key in before:
            metadata[key] = before[key]
        else:
            metadata.pop(key, None)


def metadata_problems(
    resource: ServerResource, item: JsonObject, old: JsonObject | None
) -> list[FieldProblem]:
    """The problems of the metadata of an object."""
    metadata = item["metadata"]
    problems: list[FieldProblem] = []
    if old is None:
        problems += _name_problems(resource, metadata)
    before = old["metadata"] if old else {}
    if metadata.get("labels") != before.get("labels"):
        problems += labels_problems(metadata.get("labels"), "metadata.labels")
    if metadata.get("annotations") != before.get("annotations"):
        problems += annotations_problems(metadata.get("annotations"), "metadata.annotations")
    problems += finalizers_problems(metadata)
    problems += _owner_reference_problems(metadata)
    if before.get("deletionTimestamp"):
        new = [
            name
            for name in metadata.get("finalizers") or ()
            if name not in (before.get("finalizers") or ())
        ]
        if new:
            problems.append(
                FieldProblem(
                    "FieldValueForbidden",
                    "metadata.finalizers",
                    "Forbidden: no new finalizers can be added if the object is being deleted, "
                    "found new finalizers []string{" + ", ".join(map(quote_value, new)) + "}",
                )
            )
    return problems


def _name_problems(resource: ServerResource, metadata: JsonObject) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    name = metadata.get("name")
    if not name:
        return [required_value("metadata.name", "name or generateName is required")]
    problems += [
        invalid_value("metadata.name", name, why) for why in resource.strategy.name_problems(name)
    ]
    if resource.namespaced:
        namespace = metadata.get("namespace", "")
        problems += [
            invalid_value("metadata.namespace", namespace, why)
            for why in dns_label_problems(namespace)
        ]
    return problems


def _owner_reference_problems(metadata: JsonObject) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    controllers = 0
    for owner in metadata.get("ownerReferences") or ():
        path = "metadata.ownerReferences"
        problems += [
            required_value(f"{path}.{key}", f"{key} must not be empty")
            for key in ("apiVersion", "kind", "name", "uid")
            if not owner.get(key)
        ]
        controllers += owner.get("controller") is True
    if controllers > 1:
        why = "Only one reference can have Controller set to true"
        problems.append(invalid_value("metadata.ownerReferences", controllers, why))
    return problems


def raise_if_invalid(
    resource: ServerResource, item: JsonObject, problems: list[FieldProblem]
) -> None:
    """Refuses an object if it has problems.

    Raises:
        ApiError: 422, with one cause per problem.
    """
    if problems:
        metadata = item["metadata"]
        name = metadata.get("name") or metadata.get("generateName") or ""
        raise invalid(resource.group_resource, name, problems)
