"""Manifests in little memory: as JSON that is deflated, and decoded when they are read.

Decoded manifests take five times the memory of their JSON, and ten times and more of what that
deflates to. Of most workloads nothing is read for hours, so only those that were read last are kept
decoded, with what was computed of them.
"""

import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final, TypeVar, cast, overload

import msgspec

_MIN_DEFLATED_BYTES = 1024
"""Deflating saves little of a smaller text."""
_LEVEL = 1
_SMALL_BYTES = 4096
_SMALL_WINDOW_BITS = 12
_SMALL_MEMORY = 5
_MAX_DECODED: Final = 2048
_MAX_DECODED_BYTES: Final = 2 * 2**20
"""Of JSON; enough for what is between its decision and its first running replica."""

Answer = TypeVar("Answer")


class PackedManifests(Sequence[dict[str, Any]]):
    """A tuple of manifests that is decoded when it is read; what is read must not be changed."""

    __slots__ = ("_answers", "_data", "_decoded", "_is_deflated", "_length", "digest", "size")

    def __init__(self, text: bytes, digest: bytes, manifests: Sequence[dict[str, Any]]) -> None:
        self._is_deflated = len(text) >= _MIN_DEFLATED_BYTES
        self._data = deflate(text, _LEVEL) if self._is_deflated else text
        self._length, self.digest, self.size = len(manifests), digest, len(text)
        self._decoded: tuple[dict[str, Any], ...] | None = None
        self._answers: dict[Callable[..., Any], Any] = {}
        self._keep_decoded(tuple(manifests))  # who packs it reads it in most cases

    def answer(self, compute: Callable[["PackedManifests"], Answer]) -> Answer:
        """What a pure function says of these manifests; computed once while they are decoded.

        The answer must not be changed.
        """
        self._items()  # so that the answer goes with them
        answers = self._answers  # a thread may drop it meanwhile
        if compute not in answers:
            answers[compute] = compute(self)
        return cast(Answer, answers[compute])

    def _items(self) -> tuple[dict[str, Any], ...]:
        decoded = self._decoded
        if decoded is None:
            text = zlib.decompress(self._data) if self._is_deflated else self._data
            decoded = tuple(msgspec.json.decode(text))
            self._keep_decoded(decoded)
        return decoded

    def _keep_decoded(self, decoded: tuple[dict[str, Any], ...]) -> None:
        self._decoded = decoded
        _recent.add(self)

    def drop_decoded(self) -> None:
        """Keeps no more than the packed form."""
        self._decoded, self._answers = None, {}

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._items())

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[dict[str, Any], ...]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | tuple[dict[str, Any], ...]:
        return self._items()[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PackedManifests):
            return self.digest == other.digest
        if isinstance(other, tuple | list):
            return len(other) == self._length and self.digest == _digest_of(_encode(other))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"PackedManifests({self._items()!r})"


class _Recent:
    """Those that are decoded, the one that was decoded first at the left."""

    def __init__(self) -> None:
        self._decoded: deque[PackedManifests] = deque()
        self._bytes = 0

    def add(self, one: PackedManifests) -> None:
        """Adds one, and drops the decoded form of the oldest where there are too many."""
        self._decoded.append(one)
        self._bytes += one.size
        while self._bytes > _MAX_DECODED_BYTES or len(self._decoded) > _MAX_DECODED:
            if len(self._decoded) <= 1:
                self._bytes = one.size  # what threads that add at once have miscounted ends here
                break
            oldest = self._decoded.popleft()
            self._bytes -= oldest.size
            oldest.drop_decoded()


_recent = _Recent()


def pack_manifests(manifests: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The same manifests, in little memory; to a reader the result is a tuple.

    What cannot be encoded, such as an integer of more than 64 bits, stays as it is.
    """
    if isinstance(manifests, PackedManifests) or not manifests:
        return cast(tuple[dict[str, Any], ...], manifests)
    try:
        text = _encode(manifests)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return tuple(manifests)
    packed = PackedManifests(text, _digest_of(text), manifests)
    return cast(tuple[dict[str, Any], ...], packed)


def deflate(data: bytes, level: int) -> bytes:
    """A zlib stream of some bytes; equal bytes give an equal one.

    For the usual window zlib clears a quarter of a MiB of memory, which takes five times as long as
    to deflate a kilobyte. A small text needs no window that is larger than itself.
    """
    if len(data) > _SMALL_BYTES:
        return zlib.compress(data, level)
    stream = zlib.compressobj(level, zlib.DEFLATED, _SMALL_WINDOW_BITS, _SMALL_MEMORY)
    return stream.compress(data) + stream.flush()


def plain_manifests(value: object) -> object:
    """For encoders: packed manifests as a list.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, PackedManifests):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be encoded")


def _encode(manifests: Sequence[dict[str, Any]]) -> bytes:
    return msgspec.json.encode(manifests)


def _digest_of(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).digest()
