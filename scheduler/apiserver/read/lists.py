"""Lists: selectors, pages, resource versions; and how objects are shown (plain, Table, metadata).

Source: "Kubernetes API Concepts": resource versions, retrieving large results in chunks, Tables.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
import yaml

from scheduler.apiserver.base.errors import (
    ApiError,
    bad_request,
    expired,
    not_acceptable,
    options_invalid,
)
from scheduler.apiserver.base.requests import integer
from scheduler.apiserver.kinds.resources import Resource
from scheduler.apiserver.read.selectors import Selection, parse_fields, parse_labels
from scheduler.apiserver.read.tables import partial, table
from scheduler.apiserver.storage.collection import Collection, Stored
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.problems import FieldProblem

_encode = msgspec.json.Encoder().encode
_ANY_JSON = re.compile(r"application/json|application/\*|\*/\*")
_AS = re.compile(r"as=(Table|PartialObjectMetadata(?:List)?)")


@dataclass(frozen=True, slots=True)
class Shape:
    """How the client wants objects: plain, as a Table, or their metadata alone."""

    form: str = ""
    include: str = "Metadata"
    yaml: bool = False

    @staticmethod
    def of(accept: str, query: Mapping[str, str]) -> "Shape":
        """Reads the Accept header: the first form that we serve.

        Raises:
            ApiError: 400 (includeObject), 406 (nothing that the client takes is served).
        """
        for part in accept.split(",") if accept else ("*/*",):
            found = _AS.search(part)
            if found and "g=meta.k8s.io" in part and "json" in part:
                return Shape(found[1], _include(query))
            if "as=" not in part and _ANY_JSON.search(part):
                return Shape()
            if "as=" not in part and "application/yaml" in part:
                return Shape(yaml=True)
        raise not_acceptable()

    def encoded(self, body: bytes) -> tuple[bytes, str]:
        """The body of an answer in this shape, and its content type."""
        if not self.yaml:
            return body, "application/json"
        return _as_yaml(body), "application/yaml"


def _include(query: Mapping[str, str]) -> str:
    found = query.get("includeObject") or "Metadata"
    if found not in {"Metadata", "Object", "None"}:
        raise bad_request(
            f'Unable to convert to Table as requested: includeObject: Invalid value: "{found}": '
            "must be 'Metadata', 'Object', 'None', or empty"
        )
    return found


def _as_yaml(body: bytes) -> bytes:
    text: str = yaml.safe_dump(msgspec.json.decode(body), allow_unicode=True)
    return text.encode()


def selection(resource: Resource, query: Mapping[str, str]) -> Selection:
    """The selectors of a request.

    Raises:
        ApiError: 400.
    """
    return Selection(
        parse_labels(query.get("labelSelector", "")),
        parse_fields(query.get("fieldSelector", ""), resource.supports_field),
    )


def view(resource: Resource, stored: Stored) -> bytes:
    """The JSON of an object in the version of a resource."""
    if resource.to_view is None:
        return stored.data
    return _encode(resource.to_view(stored.decoded()))


def viewed(resource: Resource, stored: Stored) -> JsonObject:
    """The object in the version of a resource, decoded."""
    item = stored.decoded()
    return resource.to_view(item) if resource.to_view else item


def one(resource: Resource, stored: Stored, shape: Shape, now: datetime) -> bytes:
    """A single object in the form that was asked for."""
    if not shape.form:
        return view(resource, stored)
    item = viewed(resource, stored)
    if shape.form == "Table":
        metadata = {"resourceVersion": item["metadata"]["resourceVersion"]}
        return _encode(table(resource, [item], metadata, include=shape.include, now=now))
    return _encode(partial(item))


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    items: list[Stored]
    revision: int
    token: str
    remaining: int | None


def _decode_token(token: str) -> tuple[int, str]:
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(found["rv"]), str(found["start"])
    except (ValueError, KeyError, TypeError, binascii.Error, msgspec.DecodeError):
        raise bad_request(f"continue key is not valid: {token[:80]!r}") from None


def _encode_token(revision: int, start: str) -> str:
    return base64.urlsafe_b64encode(_encode({"rv": revision, "start": start})).decode().rstrip("=")


def _list_option(reason: str, why: str) -> ApiError:
    return options_invalid("ListOptions", [FieldProblem(reason, "resourceVersionMatch", why)])


def requested_revision(query: Mapping[str, str], newest: int) -> int | None:
    """The resource version that a list asks for; None for the newest.

    Raises:
        ApiError: 400 (no number), 422 (a wrong match), 504 (it lies in the future).
    """
    version = query.get("resourceVersion", "")
    match = query.get("resourceVersionMatch", "")
    if match not in {"", "Exact", "NotOlderThan"}:
        raise _list_option(
            "FieldValueNotSupported",
            f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""',
        )
    if match and not version:
        why = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        raise _list_option("FieldValueForbidden", why)
    if not version:
        return None
    if not version.isdigit():
        raise bad_request(
            f'resourceVersion: Invalid value: "{version}": must be a number as a string'
        )
    revision = int(version)
    if match == "Exact" and revision == 0:
        why = 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        raise _list_option("FieldValueForbidden", why)
    if revision > newest:
        raise ApiError(
            504,
            "Timeout",
            f"Timeout: Too large resource version: {revision}, current: {newest}",
            {
                "causes": [
                    {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
                ],
                "retryAfterSeconds": 1,
            },
        )
    return revision if match == "Exact" else None


def page(
    collection: Collection,
    namespace: str,
    selected: Selection,
    query: Mapping[str, str],
    newest: int,
) -> Page:
    """Reads one page of a list.

    Raises:
        ApiError: 400, 410 (the snapshot of a continue token is gone), 504.
    """
    limit = integer(query, "limit") or 0
    token = query.get("continue", "")
    if token:
        if query.get("resourceVersion", "") not in {"", "0"}:
            raise bad_request("specifying resource version is not allowed when using continue")
        revision, start = _decode_token(token)
    else:
        revision, start = requested_revision(query, newest) or newest, ""
    try:
        snapshot = collection.at(revision)
    except ApiError:
        if not token:
            raise
        raise expired(
            "The provided continue parameter is too old to display a consistent list result. "
            "You can start a new list without the continue parameter."
        ) from None
    prefix = f"{namespace}/" if namespace else ""
    items: list[Stored] = []
    more = False
    for stored in snapshot.after(start, prefix):
        if selected and not selected.matches(stored.decoded()):
            continue
        if limit and len(items) == limit:
            more = True
            break
        items.append(stored)
    if not more:
        return Page(items, revision, "", None)
    last = items[-1].key
    remaining = None if selected else snapshot.count(last, prefix)
    return Page(items, revision, _encode_token(revision, last), remaining)


def listed(resource: Resource, found: Page, shape: Shape, now: datetime) -> bytes:
    """A page as the body of an answer."""
    metadata: JsonObject = {"resourceVersion": str(found.revision)}
    if resource.custom:
        metadata["continue"] = ""  # always there for custom resources, as on a real server
    if found.token:
        metadata["continue"] = found.token
        if found.remaining is not None:
            metadata["remainingItemCount"] = found.remaining
    if not shape.form:
        head = _encode(
            {
                "kind": resource.list_kind,
                "apiVersion": resource.api_version,
                "metadata": metadata,
            }
        )
        items = b",".join(view(resource, stored) for stored in found.items)
        return b"".join((head[:-1], b',"items":[', items, b"]}\n"))
    items_ = [viewed(resource, stored) for stored in found.items]
    if shape.form == "Table":
        return _encode(table(resource, items_, metadata, include=shape.include, now=now))
    return _encode(
        {
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": [partial(item) for item in items_],
        }
    )
