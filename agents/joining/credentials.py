"""The machine's certificate: its request, and the files that TLS reads.

One Ed25519 key signs reports and identifies the machine at the broker (RFC 8410). `agent.key` has
its raw bytes; `tls.key` is the same key in PEM, because TLS libraries read no other form.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from agents.protocol.joining.messages import JoinAnswer
from agents.protocol.joining.token import FINGERPRINT_BYTES
from agents.protocol.keys import SigningKey
from agents.runtime.data_dir import write_durably

TLS_KEY_FILE: Final = "tls.key"
CERTIFICATE_FILE: Final = "tls.crt"
AUTHORITY_FILE: Final = "hub-ca.crt"
_BACKDATE: Final = timedelta(hours=1)
_RENEWAL_RATIO: Final = 2 / 3
_PUBLIC_MODE: Final = 0o644


class CertificateRefused(ValueError):
    """What the hub has sent is not this machine's certificate; the message says why."""


@dataclass(frozen=True, slots=True)
class Life:
    """From when to when a certificate is valid."""

    first: datetime
    last: datetime

    def needs_renewal(self, now: datetime) -> bool:
        """Whether two thirds of the life are over."""
        first = self.first + _BACKDATE  # it was issued then
        return now >= first + (self.last - first) * _RENEWAL_RATIO


def request_for(key: SigningKey, site: str) -> str:
    """A certificate request in PEM, signed by the key; the hub takes nothing of it but the key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, site[:64])])
    private = Ed25519PrivateKey.from_private_bytes(key.raw())
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(private, None)
    return request.public_bytes(serialization.Encoding.PEM).decode()


def is_authority_of(pem: str, fingerprint: bytes) -> bool:
    """Whether a certificate is the one that a token names."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return False
    digest = sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()
    return digest[:FINGERPRINT_BYTES] == fingerprint


def check_certificate(answer: JoinAnswer, key: SigningKey, site: str) -> None:
    """Refuses a certificate that is not for this key and this site.

    Raises:
        CertificateRefused: it is another's, or cannot be read.
    """
    try:
        certificate = x509.load_pem_x509_certificate(answer.certificate.encode())
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        public = certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except (ValueError, TypeError) as error:
        raise CertificateRefused(f"the hub sent no certificate: {str(error)[:200]}") from None
    own = Ed25519PrivateKey.from_private_bytes(key.raw()).public_key()
    expected = own.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if public != expected:
        raise CertificateRefused("the hub sent the certificate of another key")
    if [one.value for one in names] != [site] or answer.site != site:
        raise CertificateRefused(f"the hub sent the certificate of another site than {site}")


def read_life(data_dir: Path) -> Life | None:
    """The life of the certificate in a data directory; None if there is none to read."""
    try:
        certificate = x509.load_pem_x509_certificate((data_dir / CERTIFICATE_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return Life(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def write_key(data_dir: Path, key: SigningKey) -> None:
    """Writes the key in the form that TLS reads, mode 0600."""
    pem = Ed25519PrivateKey.from_private_bytes(key.raw()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_durably(data_dir / TLS_KEY_FILE, pem)


def write_certificate(data_dir: Path, answer: JoinAnswer) -> None:
    """Writes the certificate and the authority's."""
    write_durably(data_dir / AUTHORITY_FILE, answer.authority.encode(), mode=_PUBLIC_MODE)
    write_durably(data_dir / CERTIFICATE_FILE, answer.certificate.encode(), mode=_PUBLIC_MODE)
