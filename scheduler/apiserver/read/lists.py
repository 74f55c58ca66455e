"""Lists: selectors, pages, resource versions, and the representation that a client asks for.

Source: "Kubernetes API Concepts": resource versions, retrieving large results in chunks, Tables.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from scheduler.apiserver.base.errors import (
    ApiError,
    bad_request,
    expired,
    invalid_options,
    not_acceptable,
)
from scheduler.apiserver.base.requests import parse_integer, parse_revision
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.apiserver.read.selectors import (
    SelectionPredicate,
    parse_field_selector,
    parse_label_selector,
)
from scheduler.apiserver.storage.collection import ObjectCollection
from scheduler.apiserver.storage.stored_object import StoredObject
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.problems import FieldProblem

_encode = msgspec.json.Encoder().encode
_ACCEPTS_JSON = re.compile(r"application/json|application/\*|\*/\*")
_AS_KINDS = frozenset({"Table", "PartialObjectMetadata", "PartialObjectMetadataList"})


@dataclass(frozen=True, slots=True)
class ObjectRepresentation:
    """The form of objects in a response: plain, as a Table, or their metadata only."""

    as_kind: str = ""
    include_object: str = "Metadata"
    is_yaml: bool = False

    @staticmethod
    def negotiate(accept: str, query: Mapping[str, str]) -> "ObjectRepresentation":
        """The first supported representation of an Accept header.

        Raises:
            ApiError: 400 (invalid includeObject), 406 (no accepted media type is supported).
        """
        for part in accept.split(",") if accept else ("*/*",):
            as_kind = _parse_as_kind(part)
            if as_kind and "json" in part:
                return ObjectRepresentation(as_kind, _parse_include_object(query))
            if "as=" not in part and _ACCEPTS_JSON.search(part):
                return ObjectRepresentation()
            if "as=" not in part and "application/yaml" in part:
                return ObjectRepresentation(is_yaml=True)
        raise not_acceptable()

    def check_fits(self, kind: str, *, is_list: bool) -> None:
        """Checks that the metadata of a list are asked for as a list, and those of one object not.

        Raises:
            ApiError: 406.
        """
        wrong_kind = "PartialObjectMetadata" if is_list else "PartialObjectMetadataList"
        if self.as_kind == wrong_kind:
            what = f"a list ({kind})" if is_list else f"not a list ({kind})"
            raise not_acceptable(f"you requested {wrong_kind}, but the requested object is {what}")

    @property
    def needs_decoding(self) -> bool:
        """Whether the objects have to be decoded, instead of being sent as they are stored."""
        return bool(self.as_kind) or self.is_yaml

    @property
    def content_type(self) -> str:
        """The content type of a response in this representation."""
        return "application/yaml" if self.is_yaml else "application/json"


def _parse_as_kind(media_range: str) -> str:
    """The kind that a media range asks for; "" for none, or one of another group or version."""
    words = (word.strip().partition("=") for word in media_range.split(";")[1:])
    found = {name.lower(): value for name, _, value in words}
    is_served = (found.get("g"), found.get("v")) == ("meta.k8s.io", "v1")
    as_kind = found.get("as", "")
    return as_kind if is_served and as_kind in _AS_KINDS else ""


def _parse_include_object(query: Mapping[str, str]) -> str:
    found = query.get("includeObject") or "Metadata"
    if found not in {"Metadata", "Object", "None"}:
        raise bad_request(
            f'Unable to convert to Table as requested: includeObject: Invalid value: "{found}": '
            "must be 'Metadata', 'Object', 'None', or empty"
        )
    return found


def parse_selectors(resource: ServerResource, query: Mapping[str, str]) -> SelectionPredicate:
    """The label and field selectors of a request.

    Raises:
        ApiError: 400, a selector is invalid.
    """
    return SelectionPredicate(
        parse_label_selector(query.get("labelSelector", "")),
        parse_field_selector(query.get("fieldSelector", ""), resource.supports_field_selector),
    )


def encode_in_version(resource: ServerResource, stored: StoredObject) -> bytes:
    """The JSON of a stored object in the version of a resource."""
    if resource.from_storage_version is None:
        return stored.data
    return _encode(resource.from_storage_version(stored.decode()))


def decode_in_version(resource: ServerResource, stored: StoredObject) -> JsonObject:
    """A stored object in the version of a resource, decoded."""
    return resource.to_served_version(stored.decode())


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a list."""

    items: list[StoredObject]
    revision: int
    continue_token: str
    remaining_count: int | None

    @property
    def size_bytes(self) -> int:
        """The bytes of the stored objects."""
        return sum(stored.size for stored in self.items)


def _decode_continue(token: str) -> tuple[int, str]:
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        revision, start = parse_revision(str(found["rv"])), found["start"]
    except (ValueError, KeyError, TypeError, binascii.Error, msgspec.DecodeError, RecursionError):
        revision, start = None, ""
    if revision is None or not isinstance(start, str):
        raise bad_request(f"continue key is not valid: {token[:80]!r}")
    return revision, start


def _encode_continue(revision: int, start: str) -> str:
    return base64.urlsafe_b64encode(_encode({"rv": revision, "start": start})).decode().rstrip("=")


def _list_option_error(reason: str, why: str) -> ApiError:
    return invalid_options("ListOptions", [FieldProblem(reason, "resourceVersionMatch", why)])


def parse_requested_revision(query: Mapping[str, str], current_revision: int) -> int | None:
    """The exact revision that a list requests; None for the current one.

    Raises:
        ApiError: 400 (not a number), 422 (invalid resourceVersionMatch), 504 (in the future).
    """
    version = query.get("resourceVersion", "")
    match = query.get("resourceVersionMatch", "")
    if match not in {"", "Exact", "NotOlderThan"}:
        raise _list_option_error(
            "FieldValueNotSupported",
            f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""',
        )
    if match and not version:
        why = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        raise _list_option_error("FieldValueForbidden", why)
    if not version:
        return None
    revision = parse_revision(version)
    if revision is None:
        raise bad_request(
            f'resourceVersion: Invalid value: "{version[:80]}": must be a number as a string'
        )
    if match == "Exact" and revision == 0:
        why = 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        raise _list_option_error("FieldValueForbidden", why)
    if revision > current_revision:
        raise ApiError(
            504,
            "Timeout",
            f"Timeout: Too large resource version: {revision}, current: {current_revision}",
            {
                "causes": [
                    {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
                ],
                "retryAfterSeconds": 1,
            },
        )
    return revision if match == "Exact" else None


def read_page(
    collection: ObjectCollection,
    namespace: str,
    predicate: SelectionPredicate,
    query: Mapping[str, str],
    current_revision: int,
) -> ListPage:
    """Reads one page of a list.

    Raises:
        ApiError: 400, 410 (the revision of the continue token is too old), 422, 504.
    """
    limit = parse_integer(query, "limit") or 0
    token = query.get("continue", "")
    if token:
        if query.get("resourceVersion", "") not in {"", "0"}:
            raise bad_request("specifying resource version is not allowed when using continue")
        revision, start = _decode_continue(token)
    else:
        revision, start = parse_requested_revision(query, current_revision) or current_revision, ""
    try:
        snapshot = collection.snapshot_at(revision)
    except ApiError:
        if not token:
            raise
        raise expired(
            "The provided continue parameter is too old to display a consistent list result. "
            "You can start a new list without the continue parameter."
        ) from None
    prefix = f"{namespace}/" if namespace else ""
    items: list[StoredObject] = []
    more = False
    for stored in snapshot.iter_after(start, prefix):
        if predicate and not predicate.matches_stored(stored.data):
            continue
        if limit and len(items) == limit:
            more = True
            break
        items.append(stored)
    if not more:
        return ListPage(items, revision, "", None)
    last = items[-1].key
    remaining = None if predicate else snapshot.count_after(last, prefix)
    return ListPage(items, revision, _encode_continue(revision, last), remaining)
