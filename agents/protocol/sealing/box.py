"""Seals content for the key of one site: X25519 (RFC 7748), HKDF-SHA-256, ChaCha20-Poly1305.

The agent of a site makes the key and keeps the private half on its disk; its signed reports name
the public half. A sender makes a new X25519 key for each content, agrees with the site's key on a
secret (ephemeral-static), and derives the key of the cipher from it.

The same content for the same site is sealed to the same bytes, so that an order does not change
because it is published again: the sender's key of a content is derived from a secret of the hub,
the content and all that it is bound to. Each content has another key, so that the fixed nonce of
the cipher is used once with each. An observer sees whether a content has changed, and its length;
without the hub's secret it cannot try guesses of the content.

A box is bound to its site and its order: opened for another one, it is refused.
"""

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agents.protocol.bounds import AtMost, Word
from agents.protocol.errors import WireError

_KEY_PREFIX: Final = "x25519:"
_RAW_BYTES: Final = 32
_MAX_SEALED_CHARACTERS: Final = 4 * 1024 * 1024
_NONCE: Final = bytes(12)
_SENDER_INFO: Final = b"kapok/v1 sealed content: key of the sender"
_CIPHER_INFO: Final = b"kapok/v1 sealed content: key of the cipher"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedBox:
    """A content that one site can open.

    Attributes:
        recipient: the public key that it is sealed for, `x25519:BASE64`.
        sender: the public key that was made for it, in the same form.
        data: the encrypted content with its tag, in base64.
    """

    recipient: Word
    sender: Word
    data: Annotated[str, AtMost(_MAX_SEALED_CHARACTERS)]


class SealingKey:
    """The private key of a site; opens boxes. It is never shown, not even by `repr`."""

    def __init__(self, raw: bytes) -> None:
        """Takes the 32 raw private bytes; raises ValueError for any other length."""
        self._key = X25519PrivateKey.from_private_bytes(raw)
        self.public = _format_key(self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> "SealingKey":
        """Generates a key from the system's random source."""
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    def raw(self) -> bytes:
        """The 32 private bytes, to be stored with mode 0600 and nowhere else."""
        return self._key.private_bytes_raw()

    def open(self, box: SealedBox, *, site: str, order_id: str) -> bytes:
        """The content of a box.

        Args:
            box: as it came.
            site: name of this site.
            order_id: id of the order that the box came with.

        Raises:
            WireError: "unknown-key": it is sealed for another key; "signature": it was changed, or
                belongs to another site or order.
        """
        if box.recipient != self.public:
            raise WireError("unknown-key", "the content is sealed for another key of this site")
        sender = _parse_key(box.sender)
        cipher, bound = _cipher_of(self._key, sender, _binding(box, site, order_id))
        try:
            return cipher.decrypt(_NONCE, base64.b64decode(box.data, validate=True), bound)
        except (InvalidTag, binascii.Error, ValueError):
            raise WireError("signature", "the sealed content cannot be opened") from None

    def __repr__(self) -> str:
        return f"SealingKey({self.public}, hidden)"


def is_sealing_key(text: str) -> bool:
    """Whether a text is a public key for which content can be sealed."""
    try:
        _parse_key(text)
    except WireError:
        return False
    return True


def sealing_secret_of(private: bytes) -> bytes:
    """The hub's secret for sealing, which follows from its signing key.

    Args:
        private: the raw private bytes of the signing key.
    """
    return _derive(private, salt=b"", info=b"kapok/v1 sealed content: secret of the hub")


def seal_content(
    content: bytes, *, recipient: str, site: str, order_id: str, secret: bytes
) -> SealedBox:
    """Seals a content; the same one for the same recipient and order gives the same box.

    Args:
        content: what to seal.
        recipient: public key of the site, `x25519:BASE64`.
        site: name of the site.
        order_id: id of the order that the box goes out with.
        secret: the hub's secret for sealing.

    Raises:
        WireError: the recipient's key cannot be used.
    """
    public = _parse_key(recipient)
    about = _joined(recipient.encode(), site.encode(), order_id.encode(), content)
    sender = X25519PrivateKey.from_private_bytes(
        _derive(secret, salt=sha256(about).digest(), info=_SENDER_INFO)
    )
    box = SealedBox(
        recipient=recipient, sender=_format_key(sender.public_key().public_bytes_raw()), data=""
    )
    cipher, bound = _cipher_of(sender, public, _binding(box, site, order_id))
    data = base64.b64encode(cipher.encrypt(_NONCE, content, bound)).decode()
    return SealedBox(recipient=box.recipient, sender=box.sender, data=data)


def _cipher_of(
    private: X25519PrivateKey, public: X25519PublicKey, bound: bytes
) -> tuple[ChaCha20Poly1305, bytes]:
    try:
        shared = private.exchange(public)
    except ValueError:  # a point of low order, with which every secret is the same
        raise WireError("malformed", "the sealing key cannot be used") from None
    key = _derive(shared, salt=sha256(bound).digest(), info=_CIPHER_INFO)
    return ChaCha20Poly1305(key), bound


def _binding(box: SealedBox, site: str, order_id: str) -> bytes:
    """What a box is bound to, without ambiguity."""
    return _joined(
        b"kapok/v1", box.recipient.encode(), box.sender.encode(), site.encode(), order_id.encode()
    )


def _joined(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def _derive(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=_RAW_BYTES, salt=salt or None, info=info).derive(secret)


def _format_key(raw: bytes) -> str:
    return _KEY_PREFIX + base64.b64encode(raw).decode()


def _parse_key(text: str) -> X25519PublicKey:
    try:
        raw = base64.b64decode(text.removeprefix(_KEY_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not text.startswith(_KEY_PREFIX) or len(raw) != _RAW_BYTES:
        raise WireError("malformed", "a sealing key is written x25519:BASE64 of its 32 raw bytes")
    return X25519PublicKey.from_public_bytes(raw)
