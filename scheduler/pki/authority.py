"""The authority of TLS certificates: a P-256 key that signs those of servers and clients.

The authority's key and those of servers are ECDSA P-256, which every TLS library takes; the key of
an agent is its Ed25519 report-signing key (RFC 8410), which mosquitto 2.0 with OpenSSL 3 takes as
a client's. Certificates are X.509 v3 (RFC 5280).
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_NAME = "Kapok authority"
_AUTHORITY_LIFETIME = timedelta(days=3650)
MAX_NAME_CHARACTERS = 64
"""Of a common name (X.520, ub-common-name)."""
BACKDATE = timedelta(hours=1)
"""How far validity begins in the past, for machines whose clock is behind."""
_RENEWAL_RATIO = 2 / 3
_CRL_LIFETIME = timedelta(days=3650)
_PEM = serialization.Encoding.PEM

_SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKeyOfClient = Ed25519PublicKey | ec.EllipticCurvePublicKey


class AuthorityError(ValueError):
    """The authority's certificate or key cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was issued.

    Attributes:
        pem: the certificate.
        serial: its serial number.
        not_after: when it ends.
    """

    pem: bytes
    serial: int
    not_after: datetime


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key of P-256 in PEM (PKCS #8), and its public half."""

    private_pem: bytes
    public: ec.EllipticCurvePublicKey


def new_key_pair() -> KeyPair:
    """A new P-256 key, for a server or for the scheduler as a client."""
    key = ec.generate_private_key(ec.SECP256R1())
    return KeyPair(_private_pem(key), key.public_key())


class Authority:
    """An authority, which signs; its key is never shown, not even by `repr`."""

    def __init__(self, certificate: x509.Certificate, key: _SigningKey) -> None:
        self.certificate = certificate
        self._key = key

    @classmethod
    def create(cls, now: datetime) -> "Authority":
        """A new authority, which signs itself and is valid for ten years."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(AUTHORITY_NAME)
        certificate = (
            _builder(name, name, key.public_key(), now - BACKDATE, now + _AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes) -> "Authority":
        """An authority from its certificate and its key without a passphrase.

        Raises:
            AuthorityError: they are damaged, do not belong together, or are no authority's.
        """
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            key = serialization.load_pem_private_key(key_pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise AuthorityError(f"not a certificate and a key in PEM: {error}") from None
        kinds = ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey
        if isinstance(key, ed448.Ed448PrivateKey) or not isinstance(key, kinds):
            raise AuthorityError("the key is none of ECDSA, RSA or Ed25519")
        if _spki(key.public_key()) != _spki(certificate.public_key()):
            raise AuthorityError("the key is not that of the certificate")
        try:
            basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        except (x509.ExtensionNotFound, ValueError):
            raise AuthorityError("the certificate is none of an authority (CA:TRUE)") from None
        if not basic.ca:
            raise AuthorityError("the certificate is none of an authority (CA:TRUE)")
        if certificate.issuer != certificate.subject:
            raise AuthorityError(
                "the certificate is signed by another authority, which no site would know; make a "
                "self-signed authority for this hub"
            )
        return cls(certificate, key)

    @property
    def certificate_pem(self) -> bytes:
        """The authority's certificate."""
        return self.certificate.public_bytes(_PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key, to be stored with mode 0600 or in a Secret, and nowhere else."""
        return _private_pem(self._key)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the certificate in DER; 32 bytes."""
        return sha256(self.certificate.public_bytes(serialization.Encoding.DER)).digest()

    def issue_server(
        self,
        public_key: ec.EllipticCurvePublicKey,
        names: Sequence[str],
        *,
        now: datetime,
        lifetime: timedelta,
    ) -> Issued:
        """A certificate of a server.

        Args:
            public_key: its key.
            names: host names and IP addresses that clients may call it by; at least one.
            now: the time.
            lifetime: how long it is valid; never longer than the authority.
        """
        general = x509.SubjectAlternativeName([_general_name(name) for name in names])
        builder = self._leaf(names[0][:64], public_key, now, lifetime).add_extension(
            general, critical=False
        )
        return self._sign(builder, ExtendedKeyUsageOID.SERVER_AUTH)

    def issue_client(
        self, common_name: str, public_key: PublicKeyOfClient, *, now: datetime, lifetime: timedelta
    ) -> Issued:
        """A certificate of a client: the broker takes its common name for the user name.

        Args:
            common_name: the name of the Site; at most `MAX_NAME_CHARACTERS`.
            public_key: its key.
            now: the time.
            lifetime: how long it is valid; never longer than the authority.
        """
        return self._sign(
            self._leaf(common_name, public_key, now, lifetime), ExtendedKeyUsageOID.CLIENT_AUTH
        )

    def has_issued(self, certificate_pem: bytes) -> bool:
        """Whether a certificate is signed by this authority."""
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def revocation_list(
        self, revoked: Iterable[tuple[int, datetime]], *, number: int, now: datetime
    ) -> bytes:
        """The list of revoked certificates (CRL), PEM.

        Args:
            revoked: serial numbers, and since when each is revoked.
            number: grows with each list.
            now: the time.
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - BACKDATE)
            .next_update(now + _CRL_LIFETIME)
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for serial, since in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(serial)
                .revocation_date(since)
                .build()
            )
        return builder.sign(self._key, self._hash()).public_bytes(_PEM)

    def _leaf(
        self, name: str, public_key: PublicKeyOfClient, now: datetime, lifetime: timedelta
    ) -> x509.CertificateBuilder:
        last = min(now + lifetime, self.certificate.not_valid_after_utc)
        first = max(now - BACKDATE, self.certificate.not_valid_before_utc)
        return (
            _builder(_name(name), self.certificate.subject, public_key, first, last)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.certificate.public_key()),  # type: ignore[arg-type]  # one of the kinds of `load`
                critical=False,
            )
        )

    def _sign(self, builder: x509.CertificateBuilder, usage: x509.ObjectIdentifier) -> Issued:
        certificate = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False).sign(
            self._key, self._hash()
        )
        return Issued(
            certificate.public_bytes(_PEM),
            certificate.serial_number,
            certificate.not_valid_after_utc,
        )

    def _hash(self) -> hashes.SHA256 | None:
        return None if isinstance(self._key, ed25519.Ed25519PrivateKey) else hashes.SHA256()

    def __repr__(self) -> str:
        return f"Authority({self.fingerprint.hex()[:16]}, key hidden)"


def needs_renewal(certificate_pem: bytes, now: datetime) -> bool:
    """Whether two thirds of a certificate's life are over; also if it cannot be read."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        return True
    first = certificate.not_valid_before_utc + BACKDATE
    last = certificate.not_valid_after_utc
    return now >= first + (last - first) * _RENEWAL_RATIO


def names_of(certificate_pem: bytes) -> frozenset[str]:
    """The host names and addresses of a server's certificate; none if it cannot be read."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return frozenset()
    return frozenset(
        (
            *names.get_values_for_type(x509.DNSName),
            *map(str, names.get_values_for_type(x509.IPAddress)),
        )
    )


def common_names_of(certificate_pem: bytes) -> frozenset[str]:
    """The common names of a certificate; none if it cannot be read."""
    try:
        subject = x509.load_pem_x509_certificate(certificate_pem).subject
    except ValueError:
        return frozenset()
    named = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return frozenset(str(each.value) for each in named)


def instant(seconds: int) -> datetime:
    """The instant of a POSIX time."""
    return datetime.fromtimestamp(seconds, UTC)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: PublicKeyOfClient,
    first: datetime,
    last: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _spki(key: object) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    data: bytes = key.public_bytes(serialization.Encoding.DER, form)  # type: ignore[attr-defined]  # a public key
    return data


def _private_pem(key: _SigningKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
