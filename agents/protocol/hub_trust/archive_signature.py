"""How the hub's key vouches for an archive of the agent: a file `ARCHIVE.sig` beside it.

It holds one line, the key's id and the signature (Ed25519, base64) of a fixed text with the
archive's SHA-256, so that it can be taken for no other message of the hub.
"""

import base64
import binascii
from typing import Final

from agents.protocol.errors import WireError
from agents.protocol.keys import SigningKey, TrustedKeys

SIGNATURE_SUFFIX: Final = ".sig"
MAX_SIGNATURE_BYTES: Final = 1024


def sign_archive(key: SigningKey, sha256_hex: str) -> str:
    """The content of the file beside an archive."""
    signature = base64.b64encode(key.sign(_message(sha256_hex))).decode()
    return f"{key.public.kid} {signature}\n"


def check_archive_signature(text: str, sha256_hex: str, trusted: TrustedKeys) -> None:
    """Accepts a signature of a trusted key.

    Raises:
        WireError: it has another form, is of another key, or of another archive.
    """
    words = text.split()
    try:
        kid, encoded = words
        signature = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise WireError("malformed", "not a signature of an archive") from None
    key = trusted.find(kid)
    if key is None:
        raise WireError("unknown-key", f"signed by {kid[:16]!a}, which is no key of this hub")
    if not key.is_valid_signature(signature, _message(sha256_hex)):
        raise WireError("signature", "the signature is of another archive")


def _message(sha256_hex: str) -> bytes:
    return f"kapok-agent-archive-1\n{sha256_hex}\n".encode()
