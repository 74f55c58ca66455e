"""A certificate authority, and mosquitto with settings of a test, as real processes."""

import datetime as dt
import getpass
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import aiomqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.member_clusters import wait_until

SCHEDULER = "kapok-scheduler"
_HOUR = dt.timedelta(hours=1)


class Authority:
    """Issues certificates into a folder: `NAME.crt` and `NAME.key`, its own as `ca`."""

    def __init__(self, folder: Path, *, life: dt.timedelta = _HOUR) -> None:
        self.folder = folder
        self.since = life
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's authority")])
        basic = x509.BasicConstraints(ca=True, path_length=0)
        own = self._builder(self.name, self.key, life).add_extension(basic, critical=True)
        self._write("ca", own.sign(self.key, hashes.SHA256()), self.key)

    def issue(
        self,
        name: str,
        *,
        addresses: tuple[str, ...] = ("127.0.0.1",),
        life: dt.timedelta = _HOUR,
    ) -> None:
        """A certificate whose common name is `name`, good for these addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative = x509.SubjectAlternativeName(
            [x509.IPAddress(ip_address(one)) for one in addresses]
        )
        builder = self._builder(subject, key, life).add_extension(alternative, critical=False)
        self._write(name, builder.sign(self.key, hashes.SHA256()), key)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, life: dt.timedelta
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)  # noqa: TID251 - certificates are of the real time
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - self.since)
            .not_valid_after(now + life)
        )

    def _write(self, name: str, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        pem = serialization.Encoding.PEM
        (self.folder / f"{name}.crt").write_bytes(cert.public_bytes(pem))
        (self.folder / f"{name}.key").touch(mode=0o600)
        (self.folder / f"{name}.key").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


@dataclass(frozen=True)
class ProductionBroker:
    """A running broker with its papers.

    Attributes:
        port: of MQTT over TLS.
        folder: the papers.
        host: its address.
    """

    port: int
    folder: Path
    host: str = "127.0.0.1"

    def tls(self, name: str | None) -> ssl.SSLContext:
        """The TLS context of a client; None: one without a certificate."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        if name:
            context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        return context

    @asynccontextmanager
    async def client(
        self, name: str | None, *, client_id: str | None = None
    ) -> AsyncIterator[aiomqtt.Client]:
        """A session as somebody."""
        async with aiomqtt.Client(
            self.host,
            self.port,
            identifier=client_id,
            clean_start=client_id is None,
            tls_context=self.tls(name),
            protocol=aiomqtt.ProtocolVersion.V5,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            timeout=30 if name else 1,  # a client that TLS refuses gets no other answer
        ) as client:
            yield client


def accepts(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def mosquitto(
    folder: Path, port: int, files: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs mosquitto with these files, its `mosquitto.conf` among them, until the block ends."""
    for name, text in files.items():
        (folder / name).write_text(text)
    settings = folder / "mosquitto.conf"
    text = settings.read_text().replace("/var/lib/mosquitto/", f"{folder}/")
    settings.write_text(f"{text}user {getpass.getuser()}\n")
    command = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") or "mosquitto"
    with subprocess.Popen([command, "-c", str(settings)], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: accepts(port) or process.poll() is not None)
            assert process.poll() is None, f"mosquitto does not take {settings.read_text()}"
            yield process
        finally:
            process.terminate()
