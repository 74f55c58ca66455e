"""Canonical JSON: one encoding of a value, so that equal values have equal hashes.

The encoding is UTF-8 with sorted keys and no spaces. Defaults are left out, floats have the
shortest form that reads back equal, and NaN (unknown) is null.
"""

from hashlib import sha256
from typing import Any

import msgspec

from scheduler.model.packed_manifests import plain_manifests


def canonical_json(value: object) -> bytes:
    """The canonical JSON of a value of the model, or of plain JSON data."""
    return msgspec.json.encode(value, order="sorted", enc_hook=_plain)


def _plain(value: object) -> object:
    """A sentence as its text, packed manifests as a list; JSON has neither."""
    return str(value) if isinstance(value, str) else plain_manifests(value)


def canonical_digest(value: object) -> str:
    """`sha256:` and the hex digest of a value's canonical JSON."""
    return digest_of_bytes(canonical_json(value))


def digest_of_bytes(content: bytes) -> str:
    """`sha256:` and the hex digest of bytes."""
    return "sha256:" + sha256(content).hexdigest()


def stable_hash(text: str) -> int:
    """A 64-bit hash of a text that is equal on every run; for breaking ties, not for secrets."""
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big")


def to_plain_json(value: object) -> Any:  # noqa: ANN401 - JSON data has no better type
    """The value as plain dicts, lists and scalars, as JSON has them."""
    return msgspec.json.decode(canonical_json(value))
