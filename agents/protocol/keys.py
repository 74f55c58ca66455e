"""Ed25519 keys (RFC 8032) and their text form in the protocol.

An agent generates its key on first start; an operator gives the hub the public key in
`Site.spec.delivery.agentKeys`, as `ed25519:BASE64` of the 32 raw bytes. A key id is the first 16
hex digits of the SHA-256 of those bytes: it selects among trusted keys and proves nothing itself.
"""

import base64
import binascii
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agents.protocol.errors import WireError

ALGORITHM: Final = "Ed25519"
_KEY_PREFIX: Final = "ed25519:"
_RAW_BYTES: Final = 32
_KEY_ID_DIGITS: Final = 16


def _key_id(raw_public: bytes) -> str:
    return sha256(raw_public).hexdigest()[:_KEY_ID_DIGITS]


class PublicKey:
    """A public key; verifies signatures."""

    def __init__(self, raw: bytes) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(raw)
        self._raw = raw
        self.kid = _key_id(raw)

    @classmethod
    def parse(cls, text: str) -> "PublicKey":
        """Parses `ed25519:BASE64`.

        Raises:
            WireError: the text has another form or length, or is not a key.
        """
        try:
            raw = base64.b64decode(text.removeprefix(_KEY_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if not text.startswith(_KEY_PREFIX) or len(raw) != _RAW_BYTES:
            raise WireError("malformed", "a key is written ed25519:BASE64 of its 32 raw bytes")
        try:
            return cls(raw)
        except ValueError:  # some OpenSSL builds refuse points that are not on the curve
            raise WireError("malformed", "these 32 bytes are not an Ed25519 key") from None

    def is_valid_signature(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is this key's signature of `message`."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def __str__(self) -> str:
        return _KEY_PREFIX + base64.b64encode(self._raw).decode()

    def __repr__(self) -> str:
        return f"PublicKey({self.kid})"


class SigningKey:
    """A private key; signs. It is never shown, not even by `repr`."""

    def __init__(self, raw: bytes) -> None:
        """Takes the 32 raw private bytes; raises ValueError for any other length."""
        self._key = Ed25519PrivateKey.from_private_bytes(raw)
        self.public = PublicKey(self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> "SigningKey":
        """Generates a key from the system's random source."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    def raw(self) -> bytes:
        """The 32 private bytes, to be stored with mode 0600 and nowhere else."""
        return self._key.private_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.kid}, hidden)"


class TrustedKeys:
    """The keys that may sign: usually one, two while a key is being replaced."""

    def __init__(self, keys: Iterable[PublicKey] = ()) -> None:
        self._by_id = {key.kid: key for key in keys}

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "TrustedKeys":
        """Parses keys in the form `ed25519:BASE64`; raises like `PublicKey.parse`."""
        return cls(PublicKey.parse(text) for text in texts)

    def ids(self) -> frozenset[str]:
        """The ids of all trusted keys."""
        return frozenset(self._by_id)

    def find(self, kid: str) -> PublicKey | None:
        """The trusted key with this id; None if there is none."""
        return self._by_id.get(kid)
