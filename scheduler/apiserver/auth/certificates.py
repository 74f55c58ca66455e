"""The server certificate: generated at the first start and renewed before it expires.

The server uses TLS on loopback too, because kubectl sends no bearer token over plain HTTP. Each
generation makes a certificate authority, whose certificate is in the kubeconfig and whose key
exists only in memory while it signs.
"""

import ipaddress
import logging
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scheduler.apiserver.base.errors import DamagedFile

log = logging.getLogger(__name__)
_LIFETIME = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)
_BACKDATE = timedelta(hours=1)
"""How far validity begins in the past, for clients whose clock is behind."""


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """The files of a certificate."""

    chain_path: Path
    key_path: Path
    authority_path: Path

    def ssl_context(self) -> ssl.SSLContext:
        """A TLS context for the server, which requires TLS 1.2 or newer."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.chain_path, self.key_path)
        return context


def ensure_server_certificate(
    directory: Path, names: Sequence[str], now: datetime
) -> ServerCertificate:
    """The certificate in a directory; a new one if it is missing, about to expire or lacks a name.

    Args:
        directory: the directory of `tls.crt`, `tls.key` and `ca.crt`.
        names: the host names and addresses that the certificate must be valid for.
        now: the current time.

    Raises:
        DamagedFile: the files cannot be written.
    """
    found = ServerCertificate(directory / "tls.crt", directory / "tls.key", directory / "ca.crt")
    if not _is_usable(found, names, now):
        _generate_certificate(found, names, now)
    return found


def _is_usable(files: ServerCertificate, names: Sequence[str], now: datetime) -> bool:
    if not (
        files.chain_path.exists() and files.key_path.exists() and files.authority_path.exists()
    ):
        return False
    try:
        certificate = x509.load_pem_x509_certificate(files.chain_path.read_bytes())
        authority = x509.load_pem_x509_certificate(files.authority_path.read_bytes())
        certificate.verify_directly_issued_by(authority)
        files.ssl_context()
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception as error:  # noqa: BLE001 - a damaged file fails in any way; it is replaced
        log.warning(
            "%s: the certificate, its key or its authority is damaged (%s); a new one replaces it, "
            "and kubeconfigs that were given out have to be made again (kapok hub token)",
            files.chain_path,
            str(error) or type(error).__name__,
        )
        return False
    if certificate.not_valid_after_utc - _RENEW_BEFORE <= now:
        return False
    return all(name in san for name in map(_general_name, names))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _x509_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _generate_certificate(files: ServerCertificate, names: Sequence[str], now: datetime) -> None:
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _sign_authority(authority_key, now)
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = (
        _certificate_builder("kapok hub", "kapok hub authority", key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = serialization.Encoding.PEM
    for path in (files.key_path, files.chain_path, files.authority_path):
        if path.is_dir():
            raise DamagedFile(f"{path}: this is a folder where a file belongs; remove it")
    _write_private_file(files.key_path, private)
    _write_private_file(files.chain_path, certificate.public_bytes(pem))
    _write_private_file(files.authority_path, authority.public_bytes(pem))


def _sign_authority(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = "kapok hub authority"
    return (
        _certificate_builder(name, name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _certificate_builder(
    subject: str, issuer: str, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_x509_name(subject))
        .issuer_name(_x509_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + _LIFETIME)
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


def _write_private_file(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read; replaces an existing one."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
