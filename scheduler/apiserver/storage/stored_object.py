"""One version of an object in memory: its JSON, with a large spec held once for all versions.

A Workload carries its manifests in its spec, and only its status changes: what is decided, ordered
and running. So the versions of an object share the text of a spec that did not change, and a write
of the status neither decodes nor encodes it. Texts that were not written lately are deflated; who
reads such an object pays for that with some ten microseconds.
"""

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from scheduler.hub.schema.json_types import JsonObject

_MIN_SPEC_BYTES: Final = 1024
"""A smaller spec is part of each version: sharing it would cost as much as it saves."""
_MAX_PLAIN_BYTES: Final = 4 * 2**20
"""Texts that are not deflated: enough for what is written between a create and the last status."""
_LEVEL: Final = 1
_SPEC: Final = "spec"
_encode = msgspec.json.Encoder().encode
_decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode: Callable[[bytes], JsonObject] = msgspec.json.decode


class SpecText:
    """The JSON of a spec, which the versions of an object share; any thread may read it."""

    __slots__ = ("_deflated", "_plain", "size")

    def __init__(self, text: bytes) -> None:
        self.size = len(text)
        self._plain: bytes | None = text
        self._deflated: bytes | None = None

    @property
    def text(self) -> bytes:
        """The JSON."""
        plain = self._plain  # another thread may deflate it meanwhile
        return zlib.decompress(self._deflated or b"") if plain is None else plain

    @property
    def is_deflated(self) -> bool:
        """Whether reading it takes more than a copy."""
        return self._plain is None

    def keep_plain(self, text: bytes) -> None:
        """Holds the text as it is for a while, because it is about to be read."""
        self._plain = text
        _recent.add(self)

    def deflate(self) -> None:
        """Holds the text in little memory."""
        if self._deflated is None:
            self._deflated = zlib.compress(self.text, _LEVEL)
        self._plain = None


class _Recent:
    """The texts that are plain, the one that was added first at the left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: OrderedDict[SpecText, None] = OrderedDict()
        self._bytes = 0

    def add(self, one: SpecText) -> None:
        """Adds a text as the newest, and deflates the oldest where there are too many."""
        with self._lock:
            if one in self._texts:
                self._texts.move_to_end(one)
                return
            self._texts[one] = None
            self._bytes += one.size
            while self._bytes > _MAX_PLAIN_BYTES and len(self._texts) > 1:
                oldest, _ = self._texts.popitem(last=False)
                self._bytes -= oldest.size
                oldest.deflate()


_recent = _Recent()


class StoredObject:
    """One version of an object: its JSON, including the resource version.

    Args:
        key: `namespace/name`; the name alone for cluster-scoped resources.
        revision: the revision of the write.
        data: the JSON; with a spec, what stands before it.
        spec: the text of its spec, where that is held apart.
        tail: what stands after the spec.
    """

    __slots__ = ("_head", "_spec", "_tail", "key", "revision", "size")

    def __init__(
        self,
        key: str,
        revision: int,
        data: bytes,
        spec: SpecText | None = None,
        tail: bytes = b"",
    ) -> None:
        self.key = key
        self.revision = revision
        self._head, self._spec, self._tail = data, spec, tail
        self.size = len(data) + len(tail) + (spec.size if spec else 0)
        """The bytes of its JSON."""

    @property
    def data(self) -> bytes:
        """The JSON."""
        spec = self._spec
        return self._head if spec is None else b"".join((self._head, spec.text, self._tail))

    @property
    def has_spec_apart(self) -> bool:
        """Whether `decode_around_spec` leaves the spec out."""
        return self._spec is not None

    @property
    def size_around_spec(self) -> int:
        """The bytes without a spec that is held apart."""
        return self.size - (self._spec.size if self._spec else 0)

    def size_beside(self, other: "StoredObject | None") -> int:
        """The bytes that it adds to another version, with which it may share its spec."""
        shares = other is not None and other._spec is self._spec  # noqa: SLF001 - the same class
        return self.size_around_spec if shares else self.size

    def decode(self) -> JsonObject:
        """The decoded object; each call returns a new copy, which the caller may change."""
        return _decode(self.data)

    def decode_around_spec(self) -> tuple[JsonObject, JsonObject]:
        """Two copies of the object, in which a spec that is held apart is one `msgspec.Raw`."""
        spec = self._spec
        if spec is None:
            return self.decode(), self.decode()
        text = b"".join((self._head, b"null", self._tail))
        first, second = _decode(text), _decode(text)
        first[_SPEC] = second[_SPEC] = msgspec.Raw(spec.text)
        return first, second

    @classmethod
    def of_item(
        cls, key: str, revision: int, item: JsonObject, before: "StoredObject | None"
    ) -> tuple["StoredObject", bytes]:
        """A new version and its JSON; it shares an equal spec with the version before it.

        Args:
            key: its key.
            revision: its revision.
            item: the object; its spec may be a `msgspec.Raw`.
            before: the version before it; None: it is new.
        """
        spec = item.get(_SPEC)
        if not isinstance(spec, dict | msgspec.Raw):
            data = _encode(item)
            return cls(key, revision, data), data
        text = _encode(spec)
        if len(text) < _MIN_SPEC_BYTES:
            data = _encode({**item, _SPEC: msgspec.Raw(text)})
            return cls(key, revision, data), data
        keys = list(item)
        place = keys.index(_SPEC)
        head = _encode({name: item[name] for name in keys[:place]})[:-1]
        tail = _encode({name: item[name] for name in keys[place + 1 :]})[1:]
        head += b',"spec":' if place else b'"spec":'
        tail = b"," + tail if place + 1 < len(keys) else tail
        known = before._spec if before is not None else None  # noqa: SLF001 - the same class
        is_same = known is not None and known.size == len(text) and known.text == text
        shared = known if known is not None and is_same else SpecText(text)
        shared.keep_plain(text)
        return cls(key, revision, head, shared, tail), b"".join((head, text, tail))

    @classmethod
    def of_data(cls, key: str, revision: int, data: bytes) -> "StoredObject":
        """An object as it was read from disk.

        Raises:
            ValueError: it is no JSON object.
        """
        if len(data) < _MIN_SPEC_BYTES:
            return cls(key, revision, data)
        text = bytes(_decode_parts(data).get(_SPEC, b""))
        if len(text) < _MIN_SPEC_BYTES or not text.startswith(b"{"):
            return cls(key, revision, data)
        # Also right where the same bytes stand before: what stands around them is kept.
        place = data.index(text)
        spec = SpecText(text)
        spec.keep_plain(text)
        return cls(key, revision, data[:place], spec, data[place + len(text) :])
