"""Encodes the protocol's dataclasses as JSON and decodes them, with the standard library alone.

The agent has to stay small, so there is no msgspec here; the scheduler uses the same code, so that
the two programs cannot disagree. A `Codec` compiles its message type once, into closures that
decoding and encoding then run (`shapes.py`).

The types of the fields are what is checked: a field of type `X | None` or with a default may be
absent (null counts as absent), every other field is required, and unknown fields are ignored. Field
names become camel case. Bounds come from `bounds.py`, by the field's type; without one the defaults
there apply, so that nothing is unbounded. NaN, infinity,
lone surrogates and integers beyond 64 bits are refused: not every JSON reader can read them.
"""

import json
from functools import cached_property
from typing import Final, Generic, NoReturn, TypeVar

from agents.protocol.bounds import MAX_MESSAGE_BYTES
from agents.protocol.errors import WireError
from agents.protocol.shapes import Json, Reader, TypeHint, Writer, reader_of, writer_of

T = TypeVar("T")


class Codec(Generic[T]):
    """Decodes and encodes one message type."""

    def __init__(self, message_type: type[T], *, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._message_type: TypeHint = message_type
        self._max_bytes = max_bytes

    # Compiled at first use: an agent never decodes a report, and the hub never encodes one.
    @cached_property
    def _read(self) -> Reader:
        return reader_of(self._message_type)

    @cached_property
    def _write(self) -> Writer:
        return writer_of(self._message_type)

    def decode(self, data: bytes) -> T:
        """Decodes a value from UTF-8 JSON.

        Raises:
            WireError: the data is not a valid message; no other exception is raised.
        """
        if len(data) > self._max_bytes:
            raise WireError(
                "too-large", f"{len(data)} bytes; at most {self._max_bytes} are allowed"
            )
        return self.from_json(parse_json(data))

    def from_json(self, value: object) -> T:
        """Decodes a value from a parsed JSON tree; raises like `decode`."""
        result: T = self._read(value)
        return result

    def to_json(self, value: T) -> Json:
        """Returns the JSON tree of `value`, without the fields that are None."""
        return self._write(value)

    def encode(self, value: T) -> bytes:
        """Encodes `value` as canonical JSON (`dump_json`); equal values give equal bytes.

        Raises:
            WireError: a number that JSON cannot hold, or more bytes than `decode` accepts.
        """
        data = dump_json(self._write(value))
        if len(data) > self._max_bytes:
            raise WireError(
                "too-large", f"{len(data)} bytes; readers accept at most {self._max_bytes}"
            )
        return data


def dump_json(tree: object) -> bytes:
    """Encodes a JSON tree as canonical bytes: sorted keys, no spaces, UTF-8.

    Raises:
        WireError: the tree contains NaN, infinity or a lone surrogate.
    """
    try:
        return _ENCODER.encode(tree).encode()
    except ValueError as error:
        raise WireError("malformed", f"cannot be encoded as JSON: {error}") from None


def parse_json(data: bytes) -> object:
    """Parses JSON bytes.

    Raises:
        WireError: the data is not UTF-8 or not JSON, contains NaN or infinity, or is nested too
            deep.
    """
    try:
        return _DECODER.decode(data.decode())
    except RecursionError:
        raise WireError("too-deep", "nested too deep") from None
    except UnicodeDecodeError:
        raise WireError("malformed", "not UTF-8") from None
    except WireError:
        raise
    except ValueError as error:  # includes integers of more than 4,300 digits
        raise WireError("malformed", f"not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise WireError("malformed", f"{name} is not a JSON number; an unknown value is left out")


_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
)
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
"""One of each for all, as `json.dumps` and `json.loads` would make one each time."""
