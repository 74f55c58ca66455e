"""Checks of this machine: files, disk, journal, certificate."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from agents.config.settings import AgentSettings
from agents.doctor.findings import DoctorFinding, error, warning
from agents.joining.credentials import Life
from agents.runtime.clock import AgentClock
from agents.runtime.data_checks import check_data_files, check_no_boots_lost
from agents.runtime.data_dir import JOURNAL_FILE, IdentityError, check_mounted_secret_mode

_LITTLE_BYTES: Final = 64 * 2**20
_NO_BYTES: Final = 2 * 2**20
_SECRETS: Final = ("broker.password_file", "broker.tls_key_file", "cluster.kubeconfig")
_CREDENTIALS: Final = "/run/credentials/"
_CERTIFICATE: Final = "broker.tls_certificate_file"


def examine_files(settings: AgentSettings) -> Iterator[DoctorFinding]:
    """The files that the settings name: readable, and secrets of their owner alone."""
    broker = settings.broker
    files = {
        "broker.password_file": broker.password_file,
        "broker.tls_ca_file": broker.tls_ca_file,
        _CERTIFICATE: broker.tls_certificate_file,
        "broker.tls_key_file": broker.tls_key_file,
        "cluster.kubeconfig": settings.cluster.kubeconfig,
        "replay.file": settings.replay.file,
    }
    for path, name in files.items():
        # What systemd hands to the service alone, no other process sees.
        if name and not (name.startswith(_CREDENTIALS) and not Path(name).exists()):
            yield from _examine_file(path, Path(name))


def _examine_file(path: str, file: Path) -> Iterator[DoctorFinding]:
    try:
        with file.open("rb"):
            pass
        if path in _SECRETS:
            check_mounted_secret_mode(file)
    except OSError as problem:
        yield error(path, f"{file}: {problem.strerror}", "name a readable file")
    except IdentityError as problem:
        yield error(path, str(problem), "follow the message")


def examine_data_dir(settings: AgentSettings) -> Iterator[DoctorFinding]:
    """The data directory: its files, the journal, room, and whether it can be written."""
    folder = Path(settings.data_dir)
    try:
        if folder.exists():
            check_data_files(folder)
            check_no_boots_lost(folder)
    except (IdentityError, OSError) as problem:
        yield error("data_dir", str(problem), "follow the message")
    journal = folder / JOURNAL_FILE
    if journal.is_file():
        yield from _examine_journal(journal)
    yield from _examine_disk(folder)


def _examine_journal(path: Path) -> Iterator[DoctorFinding]:
    try:
        address = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=1.0)) as database:
            [[verdict], *_] = database.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.Error as problem:
        verdict = str(problem)
    if verdict != "ok":
        instead = "restart the agent: it sets the file aside, and the hub sends its orders again"
        yield error("data_dir", f"{path}: {str(verdict)[:200]}", instead)


def _examine_disk(folder: Path) -> Iterator[DoctorFinding]:
    here = folder
    while not here.exists() and here != here.parent:
        here = here.parent
    found = os.statvfs(here)
    free = found.f_bavail * found.f_frsize
    instead = "make room: energy totals and orders have to be written"
    if free < _NO_BYTES:
        yield error("data_dir", f"{here}: the disk is full ({free // 1024} KiB free)", instead)
    elif free < _LITTLE_BYTES:
        yield warning("data_dir", f"{here}: {free // 2**20} MiB free", instead)
    if found.f_files and not found.f_favail:
        yield error("data_dir", f"{here}: no inode is free", instead)
    try:
        if here == folder:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"kapok")
                file.flush()
                os.fsync(file.fileno())
        elif not os.access(here, os.W_OK):
            raise PermissionError(None, "Permission denied")
    except OSError as problem:
        what = f"{here}: cannot be written: {problem.strerror}"
        yield error("data_dir", what, "run doctor as the agent's user, or mount it writable")


def examine_certificate(settings: AgentSettings, clock: AgentClock) -> Iterator[DoctorFinding]:
    """The client certificate: whose it is, whether the key fits, and when it ends."""
    broker = settings.broker
    if not broker.tls_certificate_file:
        return
    try:
        data = Path(broker.tls_certificate_file).read_bytes()
        certificate = x509.load_pem_x509_certificate(data)
        key_file = Path(broker.tls_key_file or broker.tls_certificate_file)
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except OSError:
        return  # said of the file
    except (ValueError, TypeError) as problem:
        what = f"certificate or key cannot be read: {str(problem)[:200]}"
        yield error(_CERTIFICATE, what, _again(settings))
        return
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        what = f"{key_file} is not the key of {broker.tls_certificate_file}"
        yield error("broker.tls_key_file", what, _again(settings))
    names = [each.value for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [settings.site]:
        what = (
            f"it is of {', '.join(map(str, names)) or 'no name'}, and the site is {settings.site}"
        )
        yield warning(_CERTIFICATE, what, "most brokers let a site use its own topics only")
    yield from _examine_life(settings, certificate, clock)


def _examine_life(
    settings: AgentSettings, certificate: x509.Certificate, clock: AgentClock
) -> Iterator[DoctorFinding]:
    life, now = Life(certificate.not_valid_before_utc, certificate.not_valid_after_utc), clock.now()
    is_renewed = bool(settings.joining.host)
    last = f"{life.last:%Y-%m-%d %H:%M} UTC"
    if now < life.first:
        what = f"the certificate begins at {life.first:%Y-%m-%d %H:%M} UTC: the clock is behind"
        yield error(_CERTIFICATE, what, "set the clock: timedatectl set-ntp true")
    elif life.last <= now and is_renewed:
        what = f"the certificate has ended at {last}"
        yield warning(_CERTIFICATE, what, "start the agent: it renews the certificate")
    elif life.last <= now:
        yield error(_CERTIFICATE, f"the certificate has ended at {last}", "put a new one there")
    elif life.needs_renewal(now):
        what = f"the certificate ends at {last} and is not renewed"
        instead = "start the agent, whose log says why not" if is_renewed else "renew it before"
        yield warning(_CERTIFICATE, what, instead)


def _again(settings: AgentSettings) -> str:
    if settings.joining.host:
        return "join again: kapok-agent join TOKEN --again"
    return "put the certificate and its key there again"
