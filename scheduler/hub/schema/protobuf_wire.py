"""Reads the protobuf wire format into field numbers and values, without a schema.

Source: protobuf.dev, "Encoding". Groups (wire types 3 and 4) are obsolete and refused.
"""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BITS = 70
_CONTINUATION_BIT = 0x80


class NotProtobuf(ValueError):
    """The bytes are not a protobuf message."""


def iter_wire_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields the fields of a message: the number, and a varint or bytes.

    Raises:
        NotProtobuf: the bytes are not a message.
    """
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        kind = tag & 7
        if kind == _VARINT:
            value, position = _read_varint(data, position)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, position = _read_varint(data, position)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise NotProtobuf(f"wire type {kind} is not supported")
        if position + size > len(data):
            raise NotProtobuf("the message is truncated")
        yield tag >> 3, data[position : position + size]
        position += size


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < _MAX_VARINT_BITS:
        byte = data[position]
        position += 1
        value |= (byte & (_CONTINUATION_BIT - 1)) << shift
        if byte < _CONTINUATION_BIT:
            return value, position
        shift += 7
    raise NotProtobuf("a varint is longer than 10 bytes or truncated")
