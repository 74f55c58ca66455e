"""Turns the wire's dataclasses into JSON and back, with the standard library alone.

The agent must stay small, so there is no msgspec here; the scheduler uses the same code, so that
the two cannot disagree. A `Codec` is compiled once per message type into closures; decoding then
only runs them.

What a field's type says is what is checked: `X | None` may be absent (null counts as absent), a
field with a default may be absent, everything else is required. Unknown fields are ignored. Snake
case becomes camel case. Bounds come from `Annotated[…, AtMost(n)]` and `Annotated[…, Between(low,
high)]`; without one the defaults below hold, so that nothing is unbounded. NaN, infinity, lone
surrogates and integers beyond 64 bits are refused: none of them survives every JSON reader.
"""

import json
from functools import cached_property
from typing import Final, Generic, NoReturn, TypeVar

from agents.protocol.errors import WireError
from agents.protocol.shapes import Json, Reader, TypeHint, Writer, reader_of, writer_of

T = TypeVar("T")

MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024


class Codec(Generic[T]):
    """Reads and writes one message type."""

    def __init__(self, message_type: type[T], *, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._message_type: TypeHint = message_type
        self._max_bytes = max_bytes

    # Compiled at first use: an agent never reads a report, the hub never writes one.
    @cached_property
    def _read(self) -> Reader:
        return reader_of(self._message_type)

    @cached_property
    def _write(self) -> Writer:
        return writer_of(self._message_type)

    def decode(self, data: bytes) -> T:
        """The value that `data` (UTF-8 JSON) holds.

        Raises:
            WireError: anything is wrong with it; the only exception that can leave here.
        """
        if len(data) > self._max_bytes:
            raise WireError("too-large", f"{len(data)} bytes; at most {self._max_bytes} are read")
        return self.from_json(parse_json(data))

    def from_json(self, value: object) -> T:
        """The value that an already parsed JSON value holds; raises as `decode`."""
        result: T = self._read(value)
        return result

    def to_json(self, value: T) -> Json:
        """The JSON tree of `value`: absent fields are left out."""
        return self._write(value)

    def encode(self, value: T) -> bytes:
        """Canonical bytes: sorted keys, no spaces, UTF-8; equal values give equal bytes.

        Raises:
            WireError: a number that JSON cannot hold, or more bytes than a reader would take.
        """
        data = dump_json(self._write(value))
        if len(data) > self._max_bytes:
            raise WireError("too-large", f"{len(data)} bytes; readers take {self._max_bytes}")
        return data


def dump_json(tree: object) -> bytes:
    """Canonical bytes of a JSON tree: sorted keys, no spaces, UTF-8.

    Raises:
        WireError: NaN, infinity or a lone surrogate is in it.
    """
    try:
        text = json.dumps(
            tree, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
        )
        return text.encode()
    except ValueError as error:
        raise WireError("malformed", f"cannot be written as JSON: {error}") from None


def parse_json(data: bytes) -> object:
    """The JSON tree in `data`.

    Raises:
        WireError: not UTF-8, not JSON, NaN or infinity in it, or nested too deep.
    """
    try:
        return json.loads(data.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise WireError("too-deep", "nested deeper than any message of ours") from None
    except UnicodeDecodeError:
        raise WireError("malformed", "not UTF-8") from None
    except WireError:
        raise
    except ValueError as error:  # includes integers of more than 4,300 digits
        raise WireError("malformed", f"not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise WireError("malformed", f"{name} is not a JSON number; leave the field out instead")
