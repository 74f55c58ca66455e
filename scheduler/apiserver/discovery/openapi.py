"""OpenAPI: a v3 document for each group version, for explain and validation, and an empty v2 one.

Source: "OpenAPI V2" and "OpenAPI V3" of the Kubernetes documentation. kubectl reads v2, as
protobuf, only when a file holds a `kind: List`, which no server serves as a kind. A kind that the
v2 document does not define is checked by the server alone, so the schemas are published once, in
`/openapi/v3`.
"""

import copy
import hashlib
from collections.abc import Iterable

import msgspec

from scheduler.apiserver.kinds.core.schemas import OBJECT_META_DEFINITION, load_definitions
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.hub.schema.json_types import Json, JsonObject

_encode = msgspec.json.Encoder(order="sorted").encode
_REF = "#/components/schemas/"
_DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
_STATUS = "io.k8s.apimachinery.pkg.apis.meta.v1.Status"
_LIST_META = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_V2_TITLE, _V2_VERSION = "Kubernetes", "v1.36.0"
_V2_PROTOBUF_CONTENT_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_V2_PROTOBUF_ACCEPT_PARTS = ("proto-openapi.spec.v2", "protobuf")


def make_documents(resources: Iterable[ServerResource]) -> dict[str, bytes]:
    """All v3 documents, encoded, by their path below `/openapi/v3`, such as `apis/apps/v1`."""
    by_version: dict[str, list[ServerResource]] = {}
    for resource in resources:
        group = resource.group_resource.group
        path = f"apis/{group}/{resource.version}" if group else f"api/{resource.version}"
        by_version.setdefault(path, []).append(resource)
    return {path: _encode(_make_document(path, found)) for path, found in by_version.items()}


def make_index(documents: dict[str, bytes]) -> JsonObject:
    """The index at `/openapi/v3`: the URL of each document, with a hash of its content."""
    return {
        "paths": {
            path: {
                "serverRelativeURL": f"/openapi/v3/{path}?hash="
                + hashlib.sha256(data).hexdigest()[:32].upper()
            }
            for path, data in documents.items()
        }
    }


def _make_document(path: str, resources: list[ServerResource]) -> JsonObject:
    schemas: JsonObject = {}
    paths: JsonObject = {}
    for resource in resources:
        name = openapi_name_of(resource)
        schemas[name] = _resource_schema(resource)
        schemas[f"{name}List"] = _list_schema(resource, name)
        paths |= _resource_paths(path, resource, name)
    _add_referenced_definitions(schemas)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kapok hub", "version": "v1.36.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def openapi_name_of(resource: ServerResource) -> str:
    """The name of the schema of a resource: the reversed group, the version and the kind."""
    if resource.openapi_name:
        return resource.openapi_name
    domain = ".".join(reversed(resource.group_resource.group.split(".")))
    return f"{domain}.{resource.version}.{resource.group_resource.kind}"


def _gvks_of(resource: ServerResource, kind: str = "") -> list[JsonObject]:
    return [
        {
            "group": resource.group_resource.group,
            "kind": kind or resource.group_resource.kind,
            "version": resource.version,
        }
    ]


def _resource_schema(resource: ServerResource) -> JsonObject:
    if not resource.is_custom:
        return {
            **load_definitions()[resource.openapi_name],
            "x-kubernetes-group-version-kind": _gvks_of(resource),
        }
    schema = copy.deepcopy(resource.schema_node.schema)
    schema.setdefault("type", "object")
    schema["x-kubernetes-group-version-kind"] = _gvks_of(resource)
    metadata = load_definitions()["io.k8s.api.core.v1.ConfigMap"]["properties"]
    properties = schema.setdefault("properties", {})
    for key in ("apiVersion", "kind", "metadata"):
        properties[key] = metadata[key]
    return schema


def _list_schema(resource: ServerResource, name: str) -> JsonObject:
    return {
        "description": f"{resource.list_kind} is a list of {resource.group_resource.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": _LIST_META,
            "items": {"type": "array", "items": {"$ref": _REF + name}},
        },
        "x-kubernetes-group-version-kind": _gvks_of(resource, resource.list_kind),
    }


def _add_referenced_definitions(schemas: JsonObject) -> None:
    """Adds every definition that the schemas refer to, directly or indirectly."""
    wanted = {_DELETE_OPTIONS, _STATUS, OBJECT_META_DEFINITION}
    wanted |= set(_referenced_names(list(schemas.values())))
    while wanted:
        name = wanted.pop()
        if name not in schemas:
            schemas[name] = load_definitions()[name]
            wanted |= set(_referenced_names(schemas[name]))


def _referenced_names(node: Json) -> Iterable[str]:
    if isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(_REF)
        for child in node.values():
            yield from _referenced_names(child)
    elif isinstance(node, list):
        for child in node:
            yield from _referenced_names(child)


# ---------------------------------------------------------------- paths of v3 documents


def _parameter(name: str, kind: str = "string") -> JsonObject:
    return {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}


_WRITE_PARAMETERS = [
    _parameter("dryRun"),
    _parameter("fieldManager"),
    _parameter("fieldValidation"),
    _parameter("pretty"),
]
_FORCE_PARAMETER = _parameter("force", "boolean")
_PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
)


def _content(reference: str, *types: str) -> JsonObject:
    return {kind: {"schema": {"$ref": reference}} for kind in types or ("application/json",)}


def _operation(
    resource: ServerResource,
    action: str,
    name: str,
    parameters: list[JsonObject],
    body: JsonObject | None,
) -> JsonObject:
    found: JsonObject = {
        "operationId": f"{action}{resource.group_resource.kind}",
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": _content(_REF + name)}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvks_of(resource)[0],
    }
    if body is not None:
        found["requestBody"] = {"content": body, "required": True}
    return found


def _resource_paths(path: str, resource: ServerResource, name: str) -> JsonObject:
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    many = f"/{path}{scope}/{resource.group_resource.plural}"
    types = list(_PATCH_TYPES)
    if not resource.is_custom:
        types.append("application/strategic-merge-patch+json")
    patch_body = {kind: {"schema": {"type": "object"}} for kind in types}
    one = {
        "get": _operation(resource, "get", name, [], None),
        "put": _operation(resource, "put", name, _WRITE_PARAMETERS, _content(_REF + name)),
        "patch": _operation(
            resource, "patch", name, [*_WRITE_PARAMETERS, _FORCE_PARAMETER], patch_body
        ),
        "delete": _operation(
            resource, "delete", _STATUS, [_parameter("dryRun")], _content(_REF + _DELETE_OPTIONS)
        ),
    }
    paths: JsonObject = {
        many: {
            "get": _operation(resource, "list", f"{name}List", [], None),
            "post": _operation(resource, "post", name, _WRITE_PARAMETERS, _content(_REF + name)),
        },
        f"{many}/{{name}}": one,
    }
    if "status" in resource.subresources:
        paths[f"{many}/{{name}}/status"] = {key: one[key] for key in ("get", "put", "patch")}
    return paths


# ---------------------------------------------------------------- OpenAPI v2


def encode_v2_document(accept: str) -> tuple[str, bytes]:
    """Content type and body of `/openapi/v2`: protobuf where the client accepts it, else JSON."""
    if all(part in accept for part in _V2_PROTOBUF_ACCEPT_PARTS):
        return _V2_PROTOBUF_CONTENT_TYPE, _encode_v2_protobuf()
    document = {
        "swagger": "2.0",
        "info": {"title": _V2_TITLE, "version": _V2_VERSION},
        "paths": {},
        "definitions": {},
    }
    return "application/json", msgspec.json.encode(document)


def _encode_v2_protobuf() -> bytes:
    """The `Document` message; field numbers of openapiv2/OpenAPIv2.proto in gnostic-models."""
    info = _encode_bytes_field(1, _V2_TITLE.encode()) + _encode_bytes_field(2, _V2_VERSION.encode())
    return (
        _encode_bytes_field(1, b"2.0") + _encode_bytes_field(2, info) + _encode_bytes_field(8, b"")
    )


def _encode_bytes_field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field of less than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content  # the tag: number, then wire type 2
