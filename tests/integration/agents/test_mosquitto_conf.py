"""configs/mosquitto.conf on a real mosquitto: it refuses unknown clients and separates sites."""

import asyncio
import contextlib
import datetime as dt
import getpass
import random
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agents.app import Agent, build_agent
from agents.config.settings import AgentBrokerSettings, AgentSettings, ReportSettings
from agents.protocol.keys import SigningKey
from agents.runtime.clock import AgentSystemClock
from agents.runtime.data_dir import Boot
from tests.support.member_clusters import wait_until
from tests.support.wire_hub import WireHub, config_map, packed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]

CONFIGS = Path(__file__).parents[3] / "configs"
CLOCK = AgentSystemClock()
SCHEDULER = "kapok-scheduler"


@dataclass(frozen=True)
class Broker:
    """A running broker with its papers."""

    port: int
    folder: Path

    def tls(self, name: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        if name:
            context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        return context

    @asynccontextmanager
    async def client(
        self, name: str | None, *, client_id: str | None = None
    ) -> AsyncIterator[aiomqtt.Client]:
        async with aiomqtt.Client(
            "127.0.0.1",
            self.port,
            identifier=client_id,
            clean_start=client_id is None,
            tls_context=self.tls(name),
            protocol=aiomqtt.ProtocolVersion.V5,
            timeout=5 if name else 1,  # a client that TLS refuses gets no other answer
        ) as client:
            yield client


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's authority")])
        basic = x509.BasicConstraints(ca=True, path_length=0)
        own = self._builder(self.name, self.key).add_extension(basic, critical=True)
        self._write("ca", own.sign(self.key, hashes.SHA256()), self.key)

    def issue(self, name: str) -> None:
        """A certificate whose common name is `name`, good for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        address = x509.IPAddress(ip_address("127.0.0.1"))
        alternative = x509.SubjectAlternativeName([address])
        builder = self._builder(subject, key).add_extension(alternative, critical=False)
        self._write(name, builder.sign(self.key, hashes.SHA256()), key)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)  # noqa: TID251 - certificates are of the real time
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
        )

    def _write(self, name: str, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        pem = serialization.Encoding.PEM
        (self.folder / f"{name}.crt").write_bytes(cert.public_bytes(pem))
        (self.folder / f"{name}.key").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


def shipped(folder: Path, port: int) -> Path:
    """The shipped files, moved: only paths, port and the user differ from what is shipped."""
    for name in ("mosquitto.conf", "mosquitto.acl"):
        text = (CONFIGS / name).read_text().replace("/etc/mosquitto/kapok", str(folder))
        text = text.replace("listener 8883", f"listener {port} 127.0.0.1")
        text = text.replace("/var/lib/mosquitto/", f"{folder}/")
        (folder / name).write_text(text)
    with (folder / "mosquitto.conf").open("a") as file:
        file.write(f"user {getpass.getuser()}\n")
    return folder / "mosquitto.conf"


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    authority = Authority(folder)
    for name in ("broker", SCHEDULER, "site-a", "site-b"):
        authority.issue(name)
    return folder


@pytest.fixture(scope="module")
def broker(papers: Path) -> Iterator[Broker]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") or "mosquitto"
    with subprocess.Popen([command, "-c", str(shipped(papers, port))]) as process:
        try:
            wait_until(lambda: accepts(port) or process.poll() is not None)
            assert process.poll() is None, "mosquitto does not take the shipped settings"
            yield Broker(port, papers)
        finally:
            process.terminate()


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def heard(client: aiomqtt.Client, name: str) -> list[bytes]:
    """What arrives on a filter within half a second."""
    await client.subscribe(name, qos=1)
    found: list[bytes] = []
    with contextlib.suppress(TimeoutError, aiomqtt.MqttError):
        async with asyncio.timeout(0.5):
            while True:
                found.append((await anext(aiter(client.messages))).payload)
    return found


async def test_nobody_enters_without_a_certificate(broker: Broker) -> None:
    with pytest.raises((aiomqtt.MqttError, OSError)):
        async with broker.client(None) as client:
            await client.publish("kapok/v1/site-a/report", b"x", qos=1)


async def test_a_site_reads_what_is_for_it_and_nothing_else(broker: Broker) -> None:
    async with broker.client(SCHEDULER) as scheduler:
        for site in ("site-a", "site-b"):
            for kind in ("desired", "desired/delta", "orders/" + "0" * 32, "hub"):
                await scheduler.publish(f"kapok/v1/{site}/{kind}", site.encode(), 1, retain=True)
    async with broker.client("site-a") as client:
        assert set(await heard(client, "kapok/v1/site-a/#")) == {b"site-a"}
        assert await heard(client, "kapok/v1/site-b/desired") == []
        assert await heard(client, "kapok/v1/site-b/desired/delta") == []
        assert await heard(client, "kapok/v1/site-b/#") == []
        assert await heard(client, "#") == [b"site-a"] * 4


@pytest.mark.parametrize(
    "name",
    [
        "kapok/v1/site-b/report",
        "kapok/v1/site-b/status",
        "kapok/v1/site-b/offline",
        "kapok/v1/site-b/answer/" + "0" * 32,
        "kapok/v1/site-b/desired",
        "kapok/v1/site-a/desired",
        "kapok/v1/site-a/desired/delta",
        "kapok/v1/site-a/orders/x",
        "other",
    ],
)
async def test_a_site_speaks_for_itself_only(broker: Broker, name: str) -> None:
    async with broker.client("site-b") as neighbour, broker.client(SCHEDULER) as scheduler:
        await neighbour.subscribe("kapok/v1/site-b/#", qos=1)
        await scheduler.subscribe("#", qos=1)
        async with broker.client("site-a") as client:
            with contextlib.suppress(aiomqtt.MqttError):  # refused, or dropped silently
                await client.publish(name, b"posing", qos=1)
            await client.publish("kapok/v1/site-a/report", b"mine", qos=1)
        async with asyncio.timeout(5):
            first = await anext(aiter(scheduler.messages))
        assert first.payload == b"mine"


async def test_answers_of_a_site_reach_the_scheduler_alone(broker: Broker) -> None:
    topic = "kapok/v1/site-a/answer/" + "0" * 32
    async with broker.client("site-b") as neighbour, broker.client(SCHEDULER) as scheduler:
        with contextlib.suppress(aiomqtt.MqttError):
            await neighbour.subscribe("kapok/v1/+/answer/+", qos=1)
        await scheduler.subscribe("kapok/v1/+/answer/+", qos=1)
        async with broker.client("site-a") as client:
            await client.publish(topic, b"mine", qos=1)
        async with asyncio.timeout(5):
            assert (await anext(aiter(scheduler.messages))).payload == b"mine"
        assert b"mine" not in await heard(neighbour, "kapok/v1/site-b/#")


def agent_of_site_a(broker: Broker, hub: WireHub, data_dir: Path) -> Agent:
    settings = AgentSettings(
        site="site-a",
        data_dir=str(data_dir),
        hub_keys=(str(hub.key.public),),
        broker=AgentBrokerSettings(
            port=broker.port,
            tls_ca_file=str(broker.folder / "ca.crt"),
            tls_certificate_file=str(broker.folder / "site-a.crt"),
            tls_key_file=str(broker.folder / "site-a.key"),
        ),
        report=ReportSettings(interval_seconds=0.2),
    )
    return build_agent(
        settings,
        key=SigningKey.generate(),
        boot=Boot("b", 1),
        clock=CLOCK,
        jitter=random.Random(1),  # noqa: S311 - jitter
    )


async def test_the_agent_works_over_it_with_its_certificate(broker: Broker, tmp_path: Path) -> None:
    hub = WireHub()
    orders = packed(*(hub.content(f"w{n}", config_map()) for n in range(120)))
    async with broker.client(SCHEDULER) as scheduler:
        for name, payload in [*hub.orders(*orders), hub.index(1, *orders)]:
            await scheduler.publish(name, payload, qos=1, retain=True)
        await scheduler.subscribe("kapok/v1/site-a/report", qos=1)
        agent = agent_of_site_a(broker, hub, tmp_path)
        async with asyncio.timeout(15), asyncio.TaskGroup() as group:
            task = group.create_task(agent.run())
            await anext(aiter(scheduler.messages))
            while agent.intake.index is None or agent.intake.missing_entries():
                await CLOCK.sleep(0.05)
            task.cancel()


async def test_another_site_takes_nothing_over_even_with_a_known_client_id(
    broker: Broker, tmp_path: Path
) -> None:
    """The worst case: the id leaked. The session ends, nothing of it is read, the agent returns."""
    hub = WireHub()
    agent = agent_of_site_a(broker, hub, tmp_path)
    async with broker.client(SCHEDULER) as scheduler:
        await scheduler.subscribe("kapok/v1/site-a/report", qos=1)
        reports = aiter(scheduler.messages)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(agent.run())
            await anext(reports)
            client_id = f"kapok-agent-{(tmp_path / 'client-id').read_text().strip()}"
            read: list[bytes] = []
            # The agent comes back with the id, and that ends the thief's session in turn.
            with contextlib.suppress(aiomqtt.MqttError):
                async with broker.client("site-b", client_id=client_id) as thief:
                    for kind in ("desired", "hub"):
                        await scheduler.publish(f"kapok/v1/site-a/{kind}", b"secret", qos=1)
                    read += await heard(thief, "kapok/v1/site-a/#")
            assert read == []
            # Reports of the session that ended may still be on their way: one more than could be.
            for _ in range(5):
                await anext(reports)
            task.cancel()


def test_the_example_explains_every_line_that_it_sets() -> None:
    text = (CONFIGS / "mosquitto.conf").read_text()
    assert text.startswith("# A production broker")
    for word in ("tls_version", "require_certificate true", "acl_file", "max_packet_size"):
        assert word in text


def test_the_example_has_the_rules_in_the_form_of_mosquitto_2_1_too() -> None:
    """mosquitto 2.1 moved acl_file and password_file into plugins (release notes, January 2026)."""
    text = (CONFIGS / "mosquitto.conf").read_text()
    file = "/etc/mosquitto/kapok/mosquitto.acl"
    assert f"\nacl_file {file}\n" in text
    new_form = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
    start = new_form.index("global_plugin /usr/lib/mosquitto_acl_file.so")
    assert new_form[start : start + 2] == [
        "global_plugin /usr/lib/mosquitto_acl_file.so",
        f"plugin_opt_acl_file {file}",
    ]
