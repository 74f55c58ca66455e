"""Decodes protobuf bodies of the core kinds to JSON.

kubectl sends objects that it creates itself in this encoding; it accepts JSON responses. The field
numbers are in core_fields.json, which `build_fields.py` generates. Sources: the protobuf wire
format; "Protobuf encoding" of the Kubernetes API concepts (magic bytes and the envelope `Unknown`).
"""

import base64
import functools
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import msgspec

from scheduler.apiserver.base.errors import bad_request
from scheduler.apiserver.base.value_bounds import check_bounds
from scheduler.apiserver.kinds.core.schemas import load_definitions
from scheduler.hub.schema import protobuf_wire
from scheduler.hub.schema.json_types import Json, JsonObject

PROTOBUF = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_INT64_SIGN = 1 << 63
_POINTER_FIELDS = {
    *("replicas", "completions", "parallelism", "backoffLimit", "suspend", "partition"),
    *("progressDeadlineSeconds", "terminationGracePeriodSeconds", "gracePeriodSeconds"),
    *("revisionHistoryLimit", "automountServiceAccountToken", "enableServiceLinks", "optional"),
    *("immutable", "runAsNonRoot", "runAsUser", "runAsGroup", "privileged", "controller"),
    *("allowPrivilegeEscalation", "readOnlyRootFilesystem", "blockOwnerDeletion"),
    *("ttlSecondsAfterFinished", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"),
    "orphanDependents",
}
"""Fields that are pointers in Go, whose zero value means zero instead of absent."""
_KEEP_EMPTY_FIELDS = frozenset({"emptyDir", "data"})


def iter_message_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields the fields of a message: the number, and a varint or bytes.

    Raises:
        ApiError: 400, the bytes are not a message.
    """
    try:
        yield from protobuf_wire.iter_wire_fields(data)
    except protobuf_wire.NotProtobuf as error:
        raise bad_request(f"protobuf: {error}") from error


@functools.cache
def _field_names_by_number() -> dict[str, dict[int, str]]:
    table: dict[str, dict[str, str]] = msgspec.json.decode(
        (files(__package__) / "core_fields.json").read_bytes()
    )
    return {
        name: {int(number): field for number, field in fields.items()}
        for name, fields in table.items()
    }


def decode_protobuf(body: bytes, definition: str) -> JsonObject:
    """Decodes the object in a protobuf body.

    Args:
        body: the magic bytes and the envelope.
        definition: the OpenAPI name of the expected kind.

    Raises:
        ApiError: 400, the body cannot be decoded.
    """
    if not body.startswith(_MAGIC):
        raise bad_request("the body is not Kubernetes protobuf: the magic bytes are missing")
    try:
        item = _decode_envelope(definition, body)
    except (msgspec.DecodeError, ValueError, TypeError, OverflowError, OSError) as error:
        raise bad_request(f"protobuf: {str(error)[:200]}") from None
    except RecursionError:
        raise bad_request("protobuf: the messages are nested too deeply") from None
    check_bounds(item)
    return item


def _decode_envelope(definition: str, body: bytes) -> JsonObject:
    envelope = dict(iter_message_fields(body[len(_MAGIC) :]))
    type_meta = dict(iter_message_fields(_expect_bytes(envelope.get(1, b""))))
    item = _decode_message(definition, _expect_bytes(envelope.get(2, b"")))
    item["apiVersion"] = _expect_bytes(type_meta.get(1, b"")).decode()
    item["kind"] = _expect_bytes(type_meta.get(2, b"")).decode()
    return item


def _expect_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise bad_request("protobuf: found a number, expected bytes")
    return value


def _decode_message(definition: str, data: bytes) -> JsonObject:
    numbers = _field_names_by_number().get(definition)
    if numbers is None:
        raise bad_request(
            f"protobuf is not supported for {definition.rsplit('.', 1)[-1]}; send JSON"
        )
    found: JsonObject = {}
    for number, value in iter_message_fields(data):
        name = numbers.get(number)
        if name is None:
            short = definition.rsplit(".", 1)[-1]
            raise bad_request(f"protobuf: field {number} of {short} is not supported; send JSON")
        if name == "status":
            continue  # clients cannot write it in these kinds
        if name.startswith("+"):  # an inlined struct: its fields join those of this message
            found |= _decode_message(name[1:], _expect_bytes(value))
        else:
            _add_field(found, definition, name, value)
    return {
        key: value
        for key, value in found.items()
        if value not in ("", 0, {}, [], None) or key in _POINTER_FIELDS or key in _KEEP_EMPTY_FIELDS
    }


def _add_field(message: JsonObject, definition: str, name: str, value: int | bytes) -> None:
    schema = _property_schemas_of(definition).get(name)
    if schema is None:
        return
    if schema.get("type") == "array":
        message.setdefault(name, []).append(_decode_value(schema["items"], value))
    elif "additionalProperties" in schema:
        entry = dict(iter_message_fields(_expect_bytes(value)))  # 1 is the key, 2 the value
        key = _expect_bytes(entry.get(1, b"")).decode()
        message.setdefault(name, {})[key] = _decode_value(
            schema["additionalProperties"], entry.get(2, b"")
        )
    else:
        message[name] = _decode_value(schema, value)


@functools.cache
def _property_schemas_of(definition: str) -> dict[str, Any]:
    """The property schemas of a definition; for an inlined struct, those of the enclosing one."""
    known = load_definitions().get(definition)
    if known is not None:
        return dict(known.get("properties", {}))
    for name, fields in _field_names_by_number().items():
        if f"+{definition}" in fields.values():
            return _property_schemas_of(name)
    return {}


def _decode_value(schema: JsonObject, value: int | bytes) -> Json:
    reference = schema.get("$ref") or next(
        (one["$ref"] for one in schema.get("allOf", ()) if "$ref" in one), None
    )
    if reference:
        return _decode_referenced(reference.rsplit("/", 1)[-1], _expect_bytes(value))
    kind = schema.get("type")
    if isinstance(value, int):
        if kind == "boolean":
            return bool(value)
        # A varint holds a negative int64 as its two's complement in 64 bits.
        return value - (1 << 64) if value & _INT64_SIGN else value
    if schema.get("format") == "byte":
        return base64.b64encode(value).decode()
    return value.decode()


def _decode_referenced(name: str, data: bytes) -> Json:
    short = name.rsplit(".", 1)[-1]
    if short in {"Time", "MicroTime"}:
        return _decode_time(data, is_micro=short == "MicroTime")
    if short == "Quantity":
        return _expect_bytes(dict(iter_message_fields(data)).get(1, b"")).decode()
    if short == "IntOrString":
        parts = dict(iter_message_fields(data))
        # Field 1 is the type: 0 for an integer in field 2, 1 for a string in field 3.
        return _expect_bytes(parts.get(3, b"")).decode() if parts.get(1) else parts.get(2, 0)
    if short == "FieldsV1":
        raw = _expect_bytes(dict(iter_message_fields(data)).get(1, b"{}"))
        return msgspec.json.decode(raw)
    return _decode_message(name, data)


def _decode_time(data: bytes, *, is_micro: bool) -> str | None:
    parts = dict(iter_message_fields(data))
    seconds, nanos = parts.get(1, 0), parts.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int) or not parts:
        return None
    instant = datetime.fromtimestamp(seconds, UTC)
    if is_micro:
        return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{nanos // 1000:06d}Z"
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
