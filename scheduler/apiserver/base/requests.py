"""Parses the path, the query parameters and the body of a request.

Source: "Kubernetes API Concepts", sections on resource URIs, patch types and request encodings.
"""

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import msgspec
import yaml

from scheduler.apiserver.base.errors import (
    ApiError,
    bad_request,
    server_error,
    unsupported_media_type,
)
from scheduler.hub.schema.json_types import Json

JSON = "application/json"
YAML = "application/yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_YAML = "application/apply-patch+yaml"
APPLY_CBOR = "application/apply-patch+cbor"
_MAX_DEPTH = 1000
"""The deepest nesting of a body; deeper ones are refused before recursive functions see them."""
_MIN_PATH_PARTS = 2


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """The parts of a resource URI; absent parts are empty strings."""

    group: str
    version: str
    namespace: str
    plural: str
    name: str
    subresource: str


def parse_resource_path(path: str) -> ResourcePath | None:
    """Parses `/api/v1/...` or `/apis/GROUP/VERSION/...`; None if the path names no resource."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > _MIN_PATH_PARTS:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > _MIN_PATH_PARTS + 1:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if (
        rest[0] == "namespaces"
        and len(rest) > _MIN_PATH_PARTS
        and rest[2] not in {"status", "finalize"}  # subresources of the namespace itself
    ):
        namespace, rest = rest[1], rest[2:]
    rest += [""] * (3 - len(rest))
    return ResourcePath(group, version, namespace, rest[0], rest[1], "/".join(rest[2:]))


@dataclass(frozen=True, slots=True)
class RequestBody:
    """A decoded body, and the paths of the keys that it contains twice."""

    value: Json
    duplicate_fields: tuple[str, ...] = ()


def media_type_of(header: str) -> str:
    """The media type of a Content-Type header, without parameters."""
    return header.partition(";")[0].strip().lower()


def decode_body(data: bytes, content_type: str) -> RequestBody:
    """Decodes a JSON or YAML body.

    Raises:
        ApiError: 400 if the body does not parse, 415 for other media types.
    """
    kind = media_type_of(content_type) or JSON
    if kind in {YAML, "text/yaml", "application/x-yaml", APPLY_YAML}:
        return _decode_yaml(data)
    if kind == JSON or kind.endswith("+json"):
        return _decode_json(data)
    raise unsupported_media_type([JSON, YAML])


def _decode_json(data: bytes) -> RequestBody:
    if not data.strip():
        raise bad_request("the request has no body")
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from None
    _check_depth(value)
    return RequestBody(value, tuple(_find_duplicate_keys(data)))


def _decode_yaml(data: bytes) -> RequestBody:
    if data.lstrip()[:1] == b"{":
        try:
            return _decode_json(data)
        except ApiError:
            pass  # not JSON, but it may be flow style YAML
    try:
        loader = _YamlLoader(data)
        try:
            value = loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from None
    _check_depth(value)
    return RequestBody(value, tuple(loader.duplicate_keys))


class _YamlLoader(yaml.SafeLoader):
    """Loads YAML as Kubernetes does, with timestamps as strings; aliases are refused.

    Nested aliases can expand to an exponential size.
    """

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.duplicate_keys: list[str] = []

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not supported; repeat the value instead")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Json]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen: set[str] = set()
        for key_node, _value in node.value:
            key = str(key_node.value)
            if key in seen:
                self.duplicate_keys.append(key)
            seen.add(key)
        made = super().construct_mapping(node, deep=deep)
        return {str(key): value for key, value in made.items()}


def _construct_text(loader: _YamlLoader, node: yaml.ScalarNode) -> Json:
    return loader.construct_scalar(node)


_YamlLoader.add_constructor("tag:yaml.org,2002:timestamp", _construct_text)


def _check_depth(value: Json) -> None:
    level = [value]
    for _depth in range(_MAX_DEPTH):
        below: list[Json] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(child for child in item.values() if isinstance(child, dict | list))
            elif isinstance(item, list):
                below.extend(child for child in item if isinstance(child, dict | list))
        if not below:
            return
        level = below
    raise bad_request(f"the body is nested deeper than {_MAX_DEPTH} levels")


class _KeyValuePairs(list[tuple[str, Json]]):
    """The pairs of a JSON map, in order and with repeated keys."""


def _find_duplicate_keys(data: bytes) -> list[str]:
    """The paths of keys that occur twice in a JSON map."""
    unique = True

    def check(pairs: list[tuple[str, Json]]) -> None:
        nonlocal unique
        unique = unique and len({key for key, _value in pairs}) == len(pairs)

    json.loads(data, object_pairs_hook=check)
    if unique:
        return []
    found: list[str] = []
    _collect_duplicate_keys(json.loads(data, object_pairs_hook=_KeyValuePairs), "", found)
    return found


def _collect_duplicate_keys(value: Json, path: str, found: list[str]) -> None:
    if isinstance(value, _KeyValuePairs):
        seen: set[str] = set()
        for key, item in value:
            where = f"{path}.{key}" if path else key
            if key in seen and where not in found:
                found.append(where)
            seen.add(key)
            _collect_duplicate_keys(item, where, found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _collect_duplicate_keys(item, f"{path}[{index}]", found)


def parse_flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean query parameter, parsed as Go does; absent or invalid counts as false."""
    return query.get(name, "").lower() in {"1", "t", "true"}


def check_resource_version(query: Mapping[str, str]) -> None:
    """Refuses a `resourceVersion` that is not a number.

    Raises:
        ApiError: 500 without a reason, as the real server responds.
    """
    version = query.get("resourceVersion", "")
    if version and not version.isdigit():
        raise server_error(
            f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing "{version}": '
            "invalid syntax"
        )


def parse_integer(query: Mapping[str, str], name: str) -> int | None:
    """An integer query parameter; None if it is absent.

    Raises:
        ApiError: 400, the parameter is not a number.
    """
    text = query.get(name, "")
    if not text:
        return None
    if not text.lstrip("-").isdigit():
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax (query {name})')
    return int(text)
