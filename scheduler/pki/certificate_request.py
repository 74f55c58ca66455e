"""Reads a certificate request (CSR, PKCS #10, RFC 2986) of a machine that is not trusted yet.

Only its key counts: the name in it, alternative names and extensions are ignored, because the
authority alone says whose certificate it is. The request is signed by its key, which proves that
the sender holds it.
"""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_REQUEST_CHARACTERS = 4096
"""A request with an Ed25519 key and a name has about 400."""


class RequestRefused(ValueError):
    """The request cannot be used; the message says why."""


def read_request(text: str) -> Ed25519PublicKey:
    """The key of a request in PEM.

    Raises:
        RequestRefused: it is too long, no request, or its key is of another kind or has not
            signed it.
    """
    if len(text) > MAX_REQUEST_CHARACTERS:
        raise RequestRefused(
            f"the certificate request has {len(text)} characters; at most "
            f"{MAX_REQUEST_CHARACTERS} are read"
        )
    try:
        request = x509.load_pem_x509_csr(text.encode("ascii"))
        key = request.public_key()
        # Verified for a small key only: another kind is refused whatever has signed it.
        is_signed = isinstance(key, Ed25519PublicKey) and request.is_signature_valid
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise RequestRefused(f"not a certificate request in PEM: {str(error)[:200]}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise RequestRefused("the certificate request has no Ed25519 key")
    if not is_signed:
        raise RequestRefused("the certificate request is not signed by its own key")
    return key
