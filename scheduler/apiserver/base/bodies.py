"""Decodes JSON and YAML bodies into values that every later step can process.

Bounds: those of `value_bounds.py`, int64 (larger integers become floats, as in Go), finite numbers,
and text that UTF-8 can encode. Source: "Request encodings" of the Kubernetes API concepts.
"""

import json
from dataclasses import dataclass
from http import HTTPStatus

import msgspec

from scheduler.apiserver.base.errors import ApiError, bad_request, unsupported_media_type
from scheduler.apiserver.base.value_bounds import (
    MAX_SHOWN_PATH_LENGTH,
    check_bounds,
    check_value_count,
    is_surely_within_bounds,
    without_strings,
)
from scheduler.apiserver.base.yaml_values import NotYamlValue, load_yaml
from scheduler.hub.schema.json_types import Json

JSON = "application/json"
YAML = "application/yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_YAML = "application/apply-patch+yaml"
APPLY_CBOR = "application/apply-patch+cbor"
MAX_BODY_BYTES = 3 * 1024 * 1024
"""The limit on request bodies, as on a real server."""
_DIGITS_TO_ZERO = bytes.maketrans(b"0123456789", b"0" * 10)
_MANY_DIGITS = b"0" * 19
_INT64 = 2**63
_MAX_DUPLICATE_KEYS = 1_000


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
    check_value_count(data)
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from None
    if not is_surely_within_bounds(data):
        check_bounds(value)
    if _has_many_digits(data) and _has_many_digits(without_strings(data)):
        value = _with_int64(value)
    if _has_no_duplicate_keys(data, value):
        return RequestBody(value)
    return RequestBody(value, tuple(_find_duplicate_keys(data)))


def _has_many_digits(data: bytes) -> bool:
    """Whether a text may hold an integer beyond int64; digests in strings look like one."""
    return _MANY_DIGITS in data.translate(_DIGITS_TO_ZERO)


def _decode_yaml(data: bytes) -> RequestBody:
    if data.lstrip()[:1] == b"{":
        try:
            return _decode_json(data)
        except ApiError as error:
            if error.code != HTTPStatus.BAD_REQUEST:
                raise
            # not JSON, but it may be flow style YAML
    try:
        value, duplicate_keys = load_yaml(data)
    except NotYamlValue as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from None
    check_bounds(value)
    return RequestBody(_with_int64(value), tuple(duplicate_keys))


def _with_int64(value: Json) -> Json:
    """The value with integers beyond int64 as floats; a real server decodes them in this way."""
    if isinstance(value, dict):
        return {key: _with_int64(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_int64(item) for item in value]
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        try:
            return float(value)
        except OverflowError:
            raise bad_request("json: a number is out of range") from None
    return value


def _has_no_duplicate_keys(data: bytes, value: Json) -> bool:
    """Whether a value surely holds every key of its text; False: they have to be compared.

    A key that occurs twice is in the value once, so that the value has fewer quotation marks.
    """
    try:
        again = msgspec.json.encode(value)
    except (OverflowError, ValueError):
        return False
    return again == data or (
        b"\\" not in data and b"\\" not in again and again.count(b'"') == data.count(b'"')
    )


class _KeyValuePairs(list[tuple[str, Json]]):
    """The pairs of a JSON map, in order and with repeated keys."""


def _find_duplicate_keys(data: bytes) -> list[str]:
    """The paths of keys that occur twice in a JSON map."""
    unique = True

    def check(pairs: list[tuple[str, Json]]) -> None:
        nonlocal unique
        unique = unique and len({key for key, _value in pairs}) == len(pairs)

    json.loads(data, object_pairs_hook=check, parse_int=len)
    if unique:
        return []
    found: dict[str, None] = {}
    pairs = json.loads(data, object_pairs_hook=_KeyValuePairs, parse_int=len)
    _collect_duplicate_keys(pairs, [], found)
    return list(found)


def _collect_duplicate_keys(value: Json, path: list[str], found: dict[str, None]) -> None:
    """Collects paths; a path is put together only when it is needed, because it can be long."""
    if isinstance(value, _KeyValuePairs):
        seen: set[str] = set()
        for key, item in value:
            path.append(f".{key}")
            if key in seen and len(found) < _MAX_DUPLICATE_KEYS:
                found["".join(path)[1:MAX_SHOWN_PATH_LENGTH]] = None
            seen.add(key)
            _collect_duplicate_keys(item, path, found)
            path.pop()
    elif isinstance(value, list):
        for index, item in enumerate(value):
            path.append(f"[{index}]")
            _collect_duplicate_keys(item, path, found)
            path.pop()
