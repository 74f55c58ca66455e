"""Keys and certificates in a folder: made at the first start, renewed before they end.

A key has mode 0600. Every file is replaced at once, so that a crash leaves the old one or the new
one. The authority is made once and never replaced: every site has pinned it.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from scheduler.pki.authority import (
    Authority,
    AuthorityError,
    Issued,
    names_of,
    needs_renewal,
    new_key_pair,
)

AUTHORITY_CERTIFICATE_FILE = "ca.crt"
"""The certificate alone."""
AUTHORITY_FILE = "authority.pem"
"""Key and certificate of the authority, mode 0600."""
REVOCATION_FILE = "crl.pem"
_OTHERS_MASK = 0o077


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate and its key, PEM."""

    certificate: Path
    key: Path


def write_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replaces a file at once.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def load_or_make_authority(folder: Path, now: datetime) -> Authority:
    """The authority of a data directory; made if it was never there.

    Key and certificate are one file, so that no crash can leave one without the other; the
    certificate is also in a file of its own, for readers that may not have the key.

    Raises:
        AuthorityError: the file is lost or damaged, or others may read it.
        OSError: it cannot be read or written.
    """
    file, certificate = folder / AUTHORITY_FILE, folder / AUTHORITY_CERTIFICATE_FILE
    if file.exists():
        if file.stat().st_mode & _OTHERS_MASK:
            raise AuthorityError(
                f"{file}: other users may read or change it; run: chmod 600 {file}"
            )
        authority = load_authority(file, file)
    elif certificate.exists():
        raise AuthorityError(
            f"{file} is lost: sites trust the authority of {certificate} and no other; bring the "
            f"file back from a backup, or remove {certificate} too and let every site join again"
        )
    else:
        folder.mkdir(mode=0o700, exist_ok=True)
        authority = Authority.create(now)
        write_file(file, authority.key_pem + authority.certificate_pem)
    if not certificate.exists() or certificate.read_bytes() != authority.certificate_pem:
        write_file(certificate, authority.certificate_pem, mode=0o644)
    return authority


def load_authority(certificate: Path, key: Path) -> Authority:
    """An authority that an operator names.

    Raises:
        AuthorityError: the message names the files.
        OSError: a file cannot be read.
    """
    try:
        return Authority.load(certificate.read_bytes(), key.read_bytes())
    except AuthorityError as error:
        raise AuthorityError(f"{certificate}, {key}: {error}") from None


def ensure_server_files(
    folder: Path,
    name: str,
    authority: Authority,
    names: Sequence[str],
    *,
    now: datetime,
    lifetime: timedelta,
) -> tuple[CertificateFiles, bool]:
    """A server's certificate in a folder; issued if it is missing, old, or lacks a name.

    Returns:
        The files, and whether the certificate is new.
    """

    def issue(public: EllipticCurvePublicKey) -> Issued:
        return authority.issue_server(public, names, now=now, lifetime=lifetime)

    files = CertificateFiles(folder / f"{name}.crt", folder / f"{name}.key")
    return _ensure(files, authority, issue, names=frozenset(names), now=now)


def ensure_client_files(
    folder: Path, name: str, authority: Authority, *, now: datetime, lifetime: timedelta
) -> tuple[CertificateFiles, bool]:
    """A client's certificate of that common name; as `ensure_server_files`."""

    def issue(public: EllipticCurvePublicKey) -> Issued:
        return authority.issue_client(name, public, now=now, lifetime=lifetime)

    files = CertificateFiles(folder / f"{name}.crt", folder / f"{name}.key")
    return _ensure(files, authority, issue, names=frozenset(), now=now)


def _ensure(
    files: CertificateFiles,
    authority: Authority,
    issue: Callable[[EllipticCurvePublicKey], Issued],
    *,
    names: frozenset[str],
    now: datetime,
) -> tuple[CertificateFiles, bool]:
    if files.certificate.exists() and files.key.exists():
        pem = files.certificate.read_bytes()
        is_good = authority.has_issued(pem) and names <= names_of(pem)
        if is_good and not needs_renewal(pem, now):
            return files, False
    pair = new_key_pair()
    issued = issue(pair.public)
    write_file(files.key, pair.private_pem)
    write_file(files.certificate, issued.pem + authority.certificate_pem, mode=0o644)
    return files, True
