"""The signed wrapping of every message.

JSON `{alg, kid, encoding, payload, signature[, publicKey]}`. The signature covers algorithm, key
id, encoding, the topic (so: what it is for, and which site) and the payload as sent. A reader
checks in this order: size, form, key, signature, and only then unpacks, up to a bound: a small
message that unpacks to gigabytes ("bomb") is refused after the bound, and a stranger's is not
unpacked at all.
"""

import base64
import binascii
import zlib
from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

from agents.protocol.codec import Codec
from agents.protocol.errors import WireError
from agents.protocol.keys import ALGORITHM, PublicKey, SigningKey, TrustedKeys
from agents.protocol.shapes import AtMost

MAX_ENVELOPE_BYTES: Final = 4 * 1024 * 1024
MAX_PAYLOAD_BYTES: Final = 8 * 1024 * 1024

_MIN_DEFLATE_BYTES: Final = 512
_MAX_SIGNATURE_CHARACTERS: Final = 128

Encoding = Literal["json", "deflate", "part"]
"""How to read a payload: JSON, deflated (zlib, RFC 1950) JSON, or a slice of deflated JSON."""

_ENCODINGS: Final = frozenset(get_args(Encoding))


@dataclass(frozen=True, slots=True)
class Envelope:
    """What lies on the topic. `public_key` introduces a sender that may not be known yet."""

    alg: str
    kid: str
    encoding: str
    payload: Annotated[str, AtMost(MAX_ENVELOPE_BYTES)]
    signature: Annotated[str, AtMost(_MAX_SIGNATURE_CHARACTERS)]
    public_key: str | None = None


_ENVELOPE_CODEC: Final = Codec(Envelope, max_bytes=MAX_ENVELOPE_BYTES)


def seal(
    payload: bytes,
    *,
    topic: str,
    key: SigningKey,
    encoding: Encoding | None = None,
    includes_public_key: bool = False,
) -> bytes:
    """Wraps and signs a message.

    Args:
        payload: JSON bytes; or with `encoding="part"` a slice of deflated ones, sent as it is.
        topic: the topic it will be published on, and is only good for.
        key: the sender's.
        encoding: None chooses: deflate if that is shorter.
        includes_public_key: adds the public key, for a hub that may not know the sender yet.

    Raises:
        WireError: larger than a reader takes.
    """
    if encoding is None:
        packed = zlib.compress(payload, 6) if len(payload) >= _MIN_DEFLATE_BYTES else payload
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
    """The payload of a message by someone trusted, unpacked.

    Raises:
        WireError: too large, malformed, by nobody known, changed, or meant for another topic.
    """
    envelope = _ENVELOPE_CODEC.decode(data)
    key = trusted.find(envelope.kid)
    if key is None:
        raise WireError("unknown-key", f"key {envelope.kid[:16]!r} is not among the trusted ones")
    return _verify_and_unpack(envelope, topic, key, max_payload_bytes)


def sender_key_id(data: bytes) -> str:
    """The key id that a message names; trusted only after `unseal` has taken that message.

    Raises:
        WireError: not an envelope.
    """
    return _ENVELOPE_CODEC.decode(data).kid


def unseal_unadmitted(
    data: bytes, *, topic: str, max_payload_bytes: int = MAX_PAYLOAD_BYTES
) -> tuple[bytes, PublicKey]:
    """The payload of a message that introduces its sender, and the key to ask an operator about.

    Proves only that the sender holds that key. For listing sites that wait to be admitted; never a
    ground for acting on what the message says.

    Raises:
        WireError: as `unseal`; "unknown-key" if it introduces nobody.
    """
    envelope = _ENVELOPE_CODEC.decode(data)
    if envelope.public_key is None:
        raise WireError("unknown-key", "the message does not introduce its sender")
    key = PublicKey.parse(envelope.public_key)
    if key.kid != envelope.kid:
        raise WireError("unknown-key", "the introduced key is not the one that signed")
    return _verify_and_unpack(envelope, topic, key, max_payload_bytes), key


def inflate(packed: bytes, max_bytes: int) -> bytes:
    """Inflates zlib data up to a bound.

    Raises:
        WireError: it would be larger than `max_bytes`, is cut short, or is followed by something.
    """
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(packed, max_bytes + 1)
    except zlib.error as error:
        raise WireError("malformed", f"not deflated data: {error}") from None
    if len(data) > max_bytes:
        raise WireError("too-large", f"unpacks to more than {max_bytes} bytes")
    if not inflater.eof or inflater.unused_data:
        raise WireError("malformed", "deflated data is cut short or followed by something")
    return data


def _verify_and_unpack(
    envelope: Envelope, topic: str, key: PublicKey, max_payload_bytes: int
) -> bytes:
    if envelope.alg != ALGORITHM:
        raise WireError("algorithm", f"signed with {envelope.alg[:32]!r}; known: {ALGORITHM}")
    if envelope.encoding not in _ENCODINGS:
        raise WireError("algorithm", f"encoding {envelope.encoding[:32]!r} is not known")
    payload = _decode_base64(envelope.payload, "payload")
    message = _signed_bytes(envelope.alg, envelope.kid, envelope.encoding, topic, payload)
    if not key.is_valid_signature(_decode_base64(envelope.signature, "signature"), message):
        raise WireError("signature", f"the signature does not fit this message on {topic}")
    if envelope.encoding == "deflate":
        return inflate(payload, max_payload_bytes)
    if len(payload) > max_payload_bytes:
        raise WireError("too-large", f"{len(payload)} bytes; at most {max_payload_bytes}")
    return payload


def _signed_bytes(alg: str, kid: str, encoding: str, topic: str, payload: bytes) -> bytes:
    """What is signed; fields with a line feed never get here, so no two messages share it."""
    head = f"kapok-envelope\n{alg}\n{kid}\n{encoding}\n{topic}\n"
    return head.encode() + payload


def _decode_base64(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise WireError("malformed", "not base64", path) from None
