"""Content that is stored under its own hash, compressed.

The digest covers the plain bytes, so that another compressor changes no digest.
"""

import zlib
from dataclasses import dataclass

from scheduler.model.canonical import canonical_json, digest_of_bytes
from scheduler.model.packed_manifests import deflate

_MAX_UNPACKED_BYTES = 64 << 20  # a forged blob must not unpack into all memory
# Level 1 shrinks the facts of sites to a quarter; level 9 saves a few percent more for six times
# the CPU.
_COMPRESSION_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes to store.

    Attributes:
        digest: `sha256:…` of the plain bytes.
        packed: the plain bytes, compressed with zlib.
    """

    digest: str
    packed: bytes


def blob_of(value: object) -> Blob:
    """Packs the canonical JSON of a JSON value or msgspec Struct."""
    plain = canonical_json(value)
    return Blob(digest_of_bytes(plain), deflate(plain, _COMPRESSION_LEVEL))


def unpack(packed: bytes) -> bytes:
    """The plain bytes of a stored blob.

    Raises:
        ValueError: the bytes are not one zlib stream, or unpack to more than any real blob.
    """
    reader = zlib.decompressobj()
    try:
        plain = reader.decompress(packed, _MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise ValueError(f"it is not a zlib stream ({error})") from error
    if not reader.eof or reader.unused_data:
        raise ValueError("it is truncated, has trailing bytes, or is too large")
    return plain
