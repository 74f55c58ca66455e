"""The old OpenAPI document, without definitions.

kubectl asks for it, as protobuf, only when a file holds a `kind: List`, which no server serves as a
kind. What the document does not define kubectl leaves to the server to check, and that is what we
want: the schemas are told once, by `/openapi/v3`. Field numbers: openapiv2/OpenAPIv2.proto of
gnostic-models.
"""

import msgspec

OPENAPI_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_PROTOBUF_ACCEPT_PARTS = ("proto-openapi.spec.v2", "protobuf")
_TITLE, _VERSION = "Kubernetes", "v1.36.0"


def encode_document(accept: str) -> tuple[str, bytes]:
    """Content type and body, protobuf where it is asked for."""
    if all(mark in accept for mark in _PROTOBUF_ACCEPT_PARTS):
        return OPENAPI_V2_PROTOBUF, _encode_protobuf()
    document = {
        "swagger": "2.0",
        "info": {"title": _TITLE, "version": _VERSION},
        "paths": {},
        "definitions": {},
    }
    return "application/json", msgspec.json.encode(document)


def _encode_protobuf() -> bytes:
    info = _encode_field(1, _TITLE.encode()) + _encode_field(2, _VERSION.encode())
    return _encode_field(1, b"2.0") + _encode_field(2, info) + _encode_field(8, b"")


def _encode_field(number: int, content: bytes) -> bytes:
    """A length-delimited field of less than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content
