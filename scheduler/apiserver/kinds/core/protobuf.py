"""Protobuf bodies of the core kinds, decoded to JSON.

kubectl sends objects that it makes itself in this encoding; answers are always JSON, which it
takes as well. Sources: the protobuf wire format; "Protobuf encoding" of the Kubernetes API
concepts (magic bytes and the envelope `Unknown`). Field numbers: core_fields.json, see
build_core_fields.
"""

import base64
import functools
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import msgspec

from scheduler.apiserver.base.errors import bad_request
from scheduler.apiserver.kinds.core.schemas import definitions
from scheduler.hub.schema import protobuf_wire
from scheduler.hub.schema.json_types import Json, JsonObject

PROTOBUF = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_INT64_SIGN = 1 << 63
_POINTERS = {
    *("replicas", "completions", "parallelism", "backoffLimit", "suspend", "partition"),
    *("progressDeadlineSeconds", "terminationGracePeriodSeconds", "gracePeriodSeconds"),
    *("revisionHistoryLimit", "automountServiceAccountToken", "enableServiceLinks", "optional"),
    *("immutable", "runAsNonRoot", "runAsUser", "runAsGroup", "privileged", "controller"),
    *("allowPrivilegeEscalation", "readOnlyRootFilesystem", "blockOwnerDeletion"),
    *("ttlSecondsAfterFinished", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"),
    "orphanDependents",
}
"""Fields that are pointers in Go: their zero means zero, not absent."""
_KEPT_EMPTY = frozenset({"emptyDir", "data"})


def fields_of(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: number, and a varint or bytes.

    Raises:
        ApiError: 400, the bytes are no message.
    """
    try:
        yield from protobuf_wire.fields_of(data)
    except protobuf_wire.NotProtobuf as error:
        raise bad_request(f"protobuf: {error}") from error


@functools.cache
def _numbers() -> dict[str, dict[int, str]]:
    table: dict[str, dict[str, str]] = msgspec.json.decode(
        (files(__package__) / "core_fields.json").read_bytes()
    )
    return {
        name: {int(number): field for number, field in fields.items()}
        for name, fields in table.items()
    }


def decode_protobuf(body: bytes, definition: str) -> JsonObject:
    """The object of a protobuf body.

    Args:
        body: magic bytes and the envelope.
        definition: the OpenAPI name of the expected kind.

    Raises:
        ApiError: 400, it cannot be read.
    """
    if not body.startswith(_MAGIC):
        raise bad_request("the body is no Kubernetes protobuf: the magic bytes are missing")
    envelope = dict(fields_of(body[len(_MAGIC) :]))
    type_meta = dict(fields_of(_bytes(envelope.get(1, b""))))
    item = _message(definition, _bytes(envelope.get(2, b"")))
    item["apiVersion"] = _bytes(type_meta.get(1, b"")).decode()
    item["kind"] = _bytes(type_meta.get(2, b"")).decode()
    return item


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise bad_request("protobuf: a number where bytes are expected")
    return value


def _message(definition: str, data: bytes) -> JsonObject:
    numbers = _numbers().get(definition)
    if numbers is None:
        raise bad_request(f"protobuf is not served for {definition.rsplit('.', 1)[-1]}; send JSON")
    found: JsonObject = {}
    for number, value in fields_of(data):
        name = numbers.get(number)
        if name is None:
            short = definition.rsplit(".", 1)[-1]
            raise bad_request(f"protobuf: field {number} of {short} is not served; send JSON")
        if name == "status":
            continue  # clients of these kinds cannot write it here
        if name.startswith("+"):
            found |= _message(name[1:], _bytes(value))
        else:
            _add(found, definition, name, value)
    return {
        key: value
        for key, value in found.items()
        if value not in ("", 0, {}, [], None) or key in _POINTERS or key in _KEPT_EMPTY
    }


def _add(found: JsonObject, definition: str, name: str, value: int | bytes) -> None:
    schema = _schemas(definition).get(name)
    if schema is None:
        return
    if schema.get("type") == "array":
        found.setdefault(name, []).append(_value(schema["items"], value))
    elif "additionalProperties" in schema:
        entry = dict(fields_of(_bytes(value)))
        key = _bytes(entry.get(1, b"")).decode()
        found.setdefault(name, {})[key] = _value(schema["additionalProperties"], entry.get(2, b""))
    else:
        found[name] = _value(schema, value)


@functools.cache
def _schemas(definition: str) -> dict[str, Any]:
    """The property schemas of a definition; of an inlined struct, those of who inlines it."""
    known = definitions().get(definition)
    if known is not None:
        return dict(known.get("properties", {}))
    for name, fields in _numbers().items():
        if f"+{definition}" in fields.values():
            return _schemas(name)
    return {}


def _value(schema: JsonObject, value: int | bytes) -> Json:
    reference = schema.get("$ref") or next(
        (one["$ref"] for one in schema.get("allOf", ()) if "$ref" in one), None
    )
    if reference:
        return _referenced(reference.rsplit("/", 1)[-1], _bytes(value))
    kind = schema.get("type")
    if isinstance(value, int):
        if kind == "boolean":
            return bool(value)
        return value - (1 << 64) if value & _INT64_SIGN else value
    if schema.get("format") == "byte":
        return base64.b64encode(value).decode()
    return value.decode("utf-8", "replace")


def _referenced(name: str, data: bytes) -> Json:
    short = name.rsplit(".", 1)[-1]
    if short in {"Time", "MicroTime"}:
        return _instant(data, micro=short == "MicroTime")
    if short == "Quantity":
        return _bytes(dict(fields_of(data)).get(1, b"")).decode()
    if short == "IntOrString":
        parts = dict(fields_of(data))
        return _bytes(parts.get(3, b"")).decode() if parts.get(1) else parts.get(2, 0)
    if short == "FieldsV1":
        raw = _bytes(dict(fields_of(data)).get(1, b"{}"))
        return msgspec.json.decode(raw)
    return _message(name, data)


def _instant(data: bytes, *, micro: bool) -> str | None:
    parts = dict(fields_of(data))
    seconds, nanos = parts.get(1, 0), parts.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int) or not parts:
        return None
    instant = datetime.fromtimestamp(seconds, UTC)
    if micro:
        return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{nanos // 1000:06d}Z"
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
