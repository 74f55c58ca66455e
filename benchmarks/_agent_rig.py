"""A real agent for its benchmark: mosquitto with TLS and client certificates, and a byte counter.

The hub is a subscriber that decodes nothing, and asks for proof of freshness as often as the
scheduler does; what the agent signs, it signs as ever. All traffic between agent and broker passes
a proxy that counts the bytes of both directions, TLS included.
"""

import asyncio
import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import aiomqtt
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agents.protocol.envelope import seal
from agents.protocol.heartbeat.chain import is_heartbeat
from agents.protocol.hub_requests import HUB_REQUEST, WANT_FULL_REPORT, HubNonce, HubRequest
from agents.protocol.keys import SigningKey
from agents.protocol.topics import site_topic
from scheduler.runtime.clock import SystemClock

CLOCK = SystemClock()
SITE = "bench-site"
_START_SECONDS = 30.0
_CHUNK_BYTES = 65_536
_ASK_SECONDS = 300.0

# Started by root, mosquitto changes to another user, who could not read the key.
_BROKER = """user {user}
listener {port} 127.0.0.1
cafile {folder}/ca.crt
certfile {folder}/server.crt
keyfile {folder}/server.key
require_certificate true
use_identity_as_username true
allow_anonymous false
persistence false
log_type error
"""
_KUBECONFIG = """apiVersion: v1
kind: Config
current-context: member
contexts: [{{name: member, context: {{cluster: member, user: agent}}}}]
clusters:
- name: member
  cluster: {{server: "https://127.0.0.1:{port}", certificate-authority: {folder}/ca.crt}}
users: [{{name: agent, user: {{token: secret}}}}]
"""


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_certificates(folder: Path) -> None:
    """A CA, a certificate of the server 127.0.0.1, and one for each client."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark CA")])
    _write(folder, "ca", ca_name, ca_key.public_key(), ca_name, ca_key, ca_key)
    for stem, name in (("server", "127.0.0.1"), ("agent", SITE), ("hub", "kapok-scheduler")):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        _write(folder, stem, subject, key.public_key(), ca_name, ca_key, key)


def _write(  # noqa: PLR0917 - the parts of a certificate
    folder: Path,
    stem: str,
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
) -> None:
    now = SystemClock().now()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=12))
        .add_extension(x509.BasicConstraints(ca=stem == "ca", path_length=None), critical=True)
    )
    if stem == "server":
        names = [x509.IPAddress(ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(issuer_key, hashes.SHA256())
    (folder / f"{stem}.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    path = folder / f"{stem}.key"
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


@dataclass(slots=True)
class Traffic:
    """What passed between agent and broker.

    Attributes:
        bytes: of both directions, with TLS.
        report_bytes: payload of each report, in order.
        status_bytes: payload of each status.
        heartbeats: number of heartbeats.
        hub_key: the hub's key.
        first_report_at: monotonic seconds of the first report.
    """

    bytes: int = 0
    report_bytes: list[int] = field(default_factory=list)
    status_bytes: list[int] = field(default_factory=list)
    first_report_at: float | None = None
    reported: asyncio.Event = field(default_factory=asyncio.Event)
    heartbeats: int = 0
    hub_key: SigningKey = field(default_factory=SigningKey.generate)
    asked: int = 0
    next_ask_at: float = 0.0

    async def relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        """Passes one connection on to the broker and counts it."""
        with contextlib.suppress(OSError, ExceptionGroup):
            upstream = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, upstream[1]))
                group.create_task(self._pump(upstream[0], writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            self.bytes += len(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def listen(self, folder: Path, port: int) -> None:
        """Receives what the agent sends, as the hub does."""
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        context.load_cert_chain(folder / "hub.crt", folder / "hub.key")
        async with aiomqtt.Client(
            "127.0.0.1", port, tls_context=context, protocol=aiomqtt.ProtocolVersion.V5
        ) as client:
            await client.subscribe("kapok/v1/+/#", qos=1)
            async for message in client.messages:
                kind, size = str(message.topic).rpartition("/")[2], len(message.payload)
                if kind == "report" and is_heartbeat(message.payload):
                    self.heartbeats += 1
                elif kind == "report":
                    self.report_bytes.append(size)
                    self.first_report_at = self.first_report_at or CLOCK.monotonic()
                    self.reported.set()
                elif kind == "status":
                    self.status_bytes.append(size)
                if self.reported.is_set() and CLOCK.monotonic() >= self.next_ask_at:
                    await self._ask(client)

    async def _ask(self, client: aiomqtt.Client) -> None:
        """Sends a nonce, as the scheduler does after a first report and every few minutes."""
        self.asked += 1
        self.next_ask_at = CLOCK.monotonic() + _ASK_SECONDS
        value = f"{self.asked}.{secrets.token_hex(16)}"
        nonce = HubNonce(asker="scheduler-1", number=self.asked, value=value, takes_heartbeats=True)
        wants = (WANT_FULL_REPORT,) if self.asked == 1 else ()
        request = HubRequest(site=SITE, epoch=1, wants=wants, nonce=nonce)
        topic = site_topic(SITE, "hub")
        await client.publish(
            topic, seal(HUB_REQUEST.encode(request), topic=topic, key=self.hub_key), qos=1
        )


@dataclass(frozen=True, slots=True)
class AgentProcess:
    """The agent under measurement.

    Attributes:
        pid: its process.
        started_at: monotonic seconds at which it was started.
        traffic: what it sent.
    """

    pid: int
    started_at: float
    traffic: Traffic

    def cpu_seconds(self) -> float:
        """CPU seconds of all its threads so far, to the nanosecond."""
        return time.clock_gettime((~self.pid << 3) | 2)  # CPUCLOCK_SCHED of a process (Linux)

    def memory_mib(self, name: str) -> float:
        """A figure of /proc/PID/status, such as VmRSS."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        line = next(each for each in text.splitlines() if each.startswith(f"{name}:"))
        return int(line.split()[1]) / 1024


@asynccontextmanager
async def running_agent(
    folder: Path, *, nodes: int = 0, pods: int = 0, churn: float = 0.0
) -> AsyncIterator[AgentProcess]:
    """Runs broker, member and agent; yields the agent once its first report has arrived.

    Args:
        folder: an empty folder.
        nodes: nodes of its cluster; 0: it has none.
        pods: pods on these.
        churn: pods replaced a second.

    Raises:
        FileNotFoundError: there is no mosquitto.
        ValueError: the agent sends nothing; the message ends with its log.
    """
    if shutil.which("mosquitto") is None:
        raise FileNotFoundError("mosquitto is not on PATH; this benchmark needs it for TLS")
    write_certificates(folder)
    broker_port, proxy_port, member_port = free_port(), free_port(), free_port()
    (folder / "broker.conf").write_text(
        _BROKER.format(user=getpass.getuser(), port=broker_port, folder=folder)
    )
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(_process("mosquitto", "-c", f"{folder}/broker.conf"))
        await _wait_for_port(broker_port)
        if nodes:
            figures = (str(each) for each in (member_port, nodes, pods, churn))
            files = (f"{folder}/server.crt", f"{folder}/server.key")
            member = (sys.executable, "-m", "benchmarks._agent_member", *figures, *files)
            await stack.enter_async_context(_process(*member))
            await _wait_for_port(member_port)
        traffic = Traffic()
        group = await stack.enter_async_context(asyncio.TaskGroup())
        listening = group.create_task(traffic.listen(folder, broker_port))
        stack.callback(listening.cancel)
        proxy = await asyncio.start_server(
            lambda reader, writer: traffic.relay(reader, writer, broker_port),
            "127.0.0.1",
            proxy_port,
        )
        stack.callback(proxy.close)
        await CLOCK.sleep(1.0)  # the hub has subscribed
        config = _write_settings(folder, proxy_port, member_port if nodes else None, traffic)
        command = (sys.executable, "-m", "agents.cli", "--config", str(config))
        started = CLOCK.monotonic()
        agent = await stack.enter_async_context(_process(*command, log=folder / "agent.log"))
        try:
            await asyncio.wait_for(traffic.reported.wait(), _START_SECONDS + pods / 500)
        except TimeoutError:
            log = (folder / "agent.log").read_text(encoding="utf-8")[-1_000:]
            raise ValueError(f"the agent sent no report: {log}") from None
        yield AgentProcess(agent.pid, started, traffic)


def _write_settings(
    folder: Path, broker_port: int, member_port: int | None, traffic: Traffic
) -> Path:
    """The settings as they are by default, but for addresses."""
    tree: dict[str, object] = {
        "site": SITE,
        "data_dir": str(folder / "agent"),
        "log_level": "WARNING",
        "hub_keys": [str(traffic.hub_key.public)],
        "broker": {
            "host": "127.0.0.1",
            "port": broker_port,
            "tls_ca_file": f"{folder}/ca.crt",
            "tls_certificate_file": f"{folder}/agent.crt",
            "tls_key_file": f"{folder}/agent.key",
        },
    }
    if member_port is not None:
        kubeconfig = folder / "member.yaml"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(_KUBECONFIG.format(port=member_port, folder=folder))
        tree["cluster"] = {"source": "kubeconfig", "kubeconfig": str(kubeconfig)}
    path = folder / "agent.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@asynccontextmanager
async def _process(
    *command: str, log: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(log.open("wb")) if log else asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=target, env=os.environ.copy()
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()


async def _wait_for_port(port: int) -> None:
    deadline = CLOCK.monotonic() + _START_SECONDS
    while CLOCK.monotonic() < deadline:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await CLOCK.sleep(0.05)
    raise ValueError(f"nothing listens on port {port}")
