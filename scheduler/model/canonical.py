"""One way to write a value as bytes, so that equal values have equal hashes.

Canonical JSON here is: UTF-8, keys sorted, no spaces, defaults left out, floats in their shortest
form that reads back equal, NaN as null (unknown).
"""

from hashlib import sha256
from typing import Any

import msgspec


def canonical_json(value: object) -> bytes:
    """The canonical JSON of a value of this vocabulary, or of plain JSON data."""
    return msgspec.json.encode(value, order="sorted")


def canonical_digest(value: object) -> str:
    """`sha256:` and the hex digest of a value's canonical JSON."""
    return digest_of_bytes(canonical_json(value))


def digest_of_bytes(content: bytes) -> str:
    """`sha256:` and the hex digest of bytes."""
    return "sha256:" + sha256(content).hexdigest()


def stable_hash(text: str) -> int:
    """A stable 64-bit number of a text, for breaking ties; never for anything secret."""
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big")


def to_plain_json(value: object) -> Any:  # noqa: ANN401 - JSON data has no better type
    """The value as plain dicts, lists and scalars, as JSON would hold it."""
    return msgspec.json.decode(msgspec.json.encode(value, order="sorted"))
