"""The signed envelope of every message.

JSON `{alg, kid, encoding, payload, signature[, publicKey]}`. The signature covers the algorithm,
the key id, the encoding, the topic (and with it the site and the kind of message) and the payload
as sent. A reader checks size, form, key and signature in this order, and only then inflates, up to
a bound: a small message that inflates to gigabytes is refused at the bound, and one with an unknown
key is not inflated at all.
"""

import base64
import binascii
import zlib
from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

from agents.protocol.bounds import MAX_ENVELOPE_BYTES, MAX_PAYLOAD_BYTES, AtMost, Word
from agents.protocol.codec import Codec
from agents.protocol.errors import WireError
from agents.protocol.keys import ALGORITHM, PublicKey, SigningKey, TrustedKeys

_SMALL_BYTES: Final = 4096
_SMALL_WINDOW_BITS: Final = 12
_SMALL_MEMORY: Final = 5
_MIN_DEFLATE_BYTES: Final = 128
_MAX_SIGNATURE_CHARACTERS: Final = 128
_MAX_KEY_CHARACTERS: Final = 128

Encoding = Literal["json", "deflate", "part"]
"""Form of a payload: JSON, deflated JSON (zlib, RFC 1950), or a slice of deflated JSON."""

_ENCODINGS: Final = frozenset(get_args(Encoding))


@dataclass(frozen=True, slots=True)
class Envelope:
    """The envelope as JSON fields.

    `public_key` introduces a sender whose key the reader may not know yet.
    """

    alg: Word
    kid: Word
    encoding: Word
    payload: Annotated[str, AtMost(MAX_ENVELOPE_BYTES)]
    signature: Annotated[str, AtMost(_MAX_SIGNATURE_CHARACTERS)]
    public_key: Annotated[str, AtMost(_MAX_KEY_CHARACTERS)] | None = None


_ENVELOPE_CODEC: Final = Codec(Envelope, max_bytes=MAX_ENVELOPE_BYTES)


def seal(
    payload: bytes,
    *,
    topic: str,
    key: SigningKey,
    encoding: Encoding | None = None,
    includes_public_key: bool = False,
) -> bytes:
    """Signs a payload and wraps it in an envelope.

    Args:
        payload: JSON bytes; with `encoding="part"`, a slice of deflated JSON, sent as it is.
        topic: topic to publish the envelope on; it is valid on no other.
        key: the sender's key.
        encoding: form of the payload; None deflates JSON if that makes it shorter.
        includes_public_key: adds the public key, for a hub that may not know the sender yet.

    Raises:
        WireError: the envelope is larger than a reader accepts.
    """
    if encoding is None:
        packed = deflate(payload, 6) if len(payload) >= _MIN_DEFLATE_BYTES else payload
        encoding, payload = ("deflate", packed) if len(packed) < len(payload) else ("json", payload)
    kid = key.public.kid
    signature = key.sign(_signed_bytes(ALGORITHM, kid, encoding, topic, payload))
    envelope = Envelope(
        alg=ALGORITHM,
        kid=kid,
        encoding=encoding,
        payload=base64.b64encode(payload).decode(),
        signature=base64.b64encode(signature).decode(),
        public_key=str(key.public) if includes_public_key else None,
    )
    return _ENVELOPE_CODEC.encode(envelope)


def unseal(
    data: bytes, *, topic: str, trusted: TrustedKeys, max_payload_bytes: int = MAX_PAYLOAD_BYTES
) -> bytes:
    """Verifies an envelope from a trusted sender and returns its payload, inflated.

    Args:
        data: the envelope as received.
        topic: topic on which it was received.
        trusted: keys of the senders that are trusted.
        max_payload_bytes: largest payload to accept, after inflating.

    Raises:
        WireError: the envelope is too large or malformed, its key is unknown, or its signature does
            not match.
    """
    return unseal_envelope(
        read_envelope(data), topic=topic, trusted=trusted, max_payload_bytes=max_payload_bytes
    )


def read_envelope(data: bytes) -> Envelope:
    """Reads an envelope, of which nothing is verified yet.

    Raises:
        WireError: the data is not an envelope.
    """
    return _ENVELOPE_CODEC.decode(data)


def unseal_envelope(
    envelope: Envelope,
    *,
    topic: str,
    trusted: TrustedKeys,
    max_payload_bytes: int = MAX_PAYLOAD_BYTES,
) -> bytes:
    """Verifies an envelope that was read already; as `unseal`."""
    key = trusted.find(envelope.kid)
    if key is None:
        raise WireError("unknown-key", f"key {envelope.kid[:16]!r} is not trusted")
    return _verify_and_unpack(envelope, topic, key, max_payload_bytes)


def sender_key_id(data: bytes) -> str:
    """The key id in an envelope; not to be trusted before `unseal` has verified the envelope.

    Raises:
        WireError: the data is not an envelope.
    """
    return _ENVELOPE_CODEC.decode(data).kid


def unseal_unadmitted(
    data: bytes, *, topic: str, max_payload_bytes: int = MAX_PAYLOAD_BYTES
) -> tuple[bytes, PublicKey]:
    """Returns the payload of an envelope that carries its sender's public key, and that key.

    This proves only that the sender holds the key. It serves to list sites that an operator may
    admit; what the message says must not be acted on.

    Raises:
        WireError: as `unseal`; "unknown-key" if the envelope carries no public key.
    """
    envelope = _ENVELOPE_CODEC.decode(data)
    if envelope.public_key is None:
        raise WireError("unknown-key", "the message carries no public key")
    key = PublicKey.parse(envelope.public_key)
    if key.kid != envelope.kid:
        raise WireError(
            "unknown-key", "the public key in the message is not the one that signed it"
        )
    return _verify_and_unpack(envelope, topic, key, max_payload_bytes), key


def deflate(data: bytes, level: int) -> bytes:
    """A zlib stream of some bytes; equal bytes give an equal one.

    For the usual window zlib clears a quarter of a MiB of memory, which takes five times as long as
    to deflate a kilobyte. A small message needs no window that is larger than itself.
    """
    if len(data) > _SMALL_BYTES:
        return zlib.compress(data, level)
    stream = zlib.compressobj(level, zlib.DEFLATED, _SMALL_WINDOW_BITS, _SMALL_MEMORY)
    return stream.compress(data) + stream.flush()


def inflate(packed: bytes, max_bytes: int) -> bytes:
    """Inflates zlib data, up to a bound.

    Raises:
        WireError: the data is not zlib, inflates to more than `max_bytes`, is cut short, or has
            bytes after its end.
    """
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(packed, max_bytes + 1)  # one more shows that there is more
    except zlib.error as error:
        raise WireError("malformed", f"not deflated data: {error}") from None
    if len(data) > max_bytes:
        raise WireError("too-large", f"inflates to more than {max_bytes} bytes")
    if not inflater.eof or inflater.unused_data:
        raise WireError("malformed", "deflated data is cut short, or has bytes after its end")
    return data


def _verify_and_unpack(
    envelope: Envelope, topic: str, key: PublicKey, max_payload_bytes: int
) -> bytes:
    if envelope.alg != ALGORITHM:
        raise WireError(
            "algorithm", f"algorithm {envelope.alg[:32]!r} is not known; expected {ALGORITHM}"
        )
    if envelope.encoding not in _ENCODINGS:
        raise WireError("algorithm", f"encoding {envelope.encoding[:32]!r} is not known")
    payload = _decode_base64(envelope.payload, "payload")
    message = _signed_bytes(envelope.alg, envelope.kid, envelope.encoding, topic, payload)
    if not key.is_valid_signature(_decode_base64(envelope.signature, "signature"), message):
        raise WireError("signature", f"the signature does not match this message on {topic}")
    if envelope.encoding == "deflate":
        return inflate(payload, max_payload_bytes)
    if len(payload) > max_payload_bytes:
        raise WireError(
            "too-large", f"{len(payload)} bytes; at most {max_payload_bytes} are allowed"
        )
    return payload


def _signed_bytes(alg: str, kid: str, encoding: str, topic: str, payload: bytes) -> bytes:
    """The bytes that are signed.

    Of the fields before the payload none can hold a line feed: each is one of a closed list, a key
    id that was found, or a valid topic. So different messages never give the same bytes.
    """
    head = f"kapok-envelope\n{alg}\n{kid}\n{encoding}\n{topic}\n"
    return head.encode() + payload


def _decode_base64(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise WireError("malformed", "not base64", path) from None
