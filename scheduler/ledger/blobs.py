"""Content under its own hash, compressed on the disk.

The digest covers the plain bytes, so that a change of the compressor changes no digest.
"""

import zlib
from dataclasses import dataclass

from scheduler.model.canonical import canonical_json, digest_of_bytes

_MAX_UNPACKED_BYTES = 64 << 20  # a forged blob must not unpack into all memory
_COMPRESSION_LEVEL = (
    1  # facts shrink to a quarter at 1; level 9 wins a few percent at six times the CPU
)


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes ready to be stored.

    Attributes:
        digest: `sha256:…` of the plain bytes.
        packed: the plain bytes, compressed with zlib.
    """

    digest: str
    packed: bytes


def blob_of(value: object) -> Blob:
    """Packs a JSON value (or msgspec Struct) by its canonical bytes."""
    plain = canonical_json(value)
    return Blob(digest_of_bytes(plain), zlib.compress(plain, _COMPRESSION_LEVEL))


def unpack(packed: bytes) -> bytes:
    """The plain bytes of a stored blob.

    Raises:
        ValueError: it was not packed by zlib, has a tail, or is larger than any real one.
    """
    reader = zlib.decompressobj()
    try:
        plain = reader.decompress(packed, _MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise ValueError(f"it does not unpack ({error})") from error
    if not reader.eof or reader.unused_data:
        raise ValueError("it is cut short, has a tail, or is too large")
    return plain
