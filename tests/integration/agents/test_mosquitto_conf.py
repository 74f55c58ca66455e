"""configs/mosquitto.conf on a real mosquitto: it refuses unknown clients and separates sites."""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import aiomqtt
import pytest

from agents.app import Agent, build_agent
from agents.config.settings import AgentBrokerSettings, AgentSettings, ReportSettings
from agents.protocol.keys import SigningKey
from agents.runtime.clock import AgentSystemClock
from agents.runtime.data_dir import Boot
from scheduler.mqtt.production.mosquitto_files import MosquittoChoices, mosquitto_files
from tests.support.ports import free_ports
from tests.support.production_broker import (
    SCHEDULER,
    Authority,
    ProductionBroker,
    mosquitto,
)
from tests.support.wire_hub import WireHub, config_map, packed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

CONFIGS = Path(__file__).parents[3] / "configs"
CLOCK = AgentSystemClock()


def shipped(folder: Path, port: int) -> dict[str, str]:
    """The shipped files, moved: only paths, port and the user differ from what is shipped."""
    found = {}
    for name in ("mosquitto.conf", "mosquitto.acl"):
        text = (CONFIGS / name).read_text().replace("/etc/mosquitto/kapok", str(folder))
        found[name] = text.replace("listener 8883", f"listener {port} 127.0.0.1")
    return found


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    authority = Authority(folder)
    for name in ("broker", SCHEDULER, "site-a", "site-b"):
        authority.issue(name)
    return folder


@pytest.fixture(scope="module")
def broker(papers: Path) -> Iterator[ProductionBroker]:
    [port] = free_ports(1)
    with mosquitto(papers, port, shipped(papers, port)):
        yield ProductionBroker(port, papers)


async def heard(client: aiomqtt.Client, name: str, *, least: int = 0) -> list[bytes]:
    """What arrives on a filter: so many messages, and what comes within half a second after."""
    await client.subscribe(name, qos=1)
    found: list[bytes] = []
    messages = aiter(client.messages)
    async with asyncio.timeout(60):
        while len(found) < least:
            found.append((await anext(messages)).payload)
    with contextlib.suppress(TimeoutError, aiomqtt.MqttError):
        async with asyncio.timeout(0.5):
            while True:
                found.append((await anext(messages)).payload)
    return found


async def test_nobody_enters_without_a_certificate(broker: ProductionBroker) -> None:
    with pytest.raises((aiomqtt.MqttError, OSError)):
        async with broker.client(None) as client:
            await client.publish("kapok/v1/site-a/report", b"x", qos=1)


async def test_a_site_reads_what_is_for_it_and_nothing_else(broker: ProductionBroker) -> None:
    async with broker.client(SCHEDULER) as scheduler:
        for site in ("site-a", "site-b"):
            for kind in ("desired", "desired/delta", "orders/" + "0" * 32, "hub"):
                await scheduler.publish(f"kapok/v1/{site}/{kind}", site.encode(), 1, retain=True)
    async with broker.client("site-a") as client:
        assert set(await heard(client, "kapok/v1/site-a/#", least=1)) == {b"site-a"}
        assert await heard(client, "kapok/v1/site-b/desired") == []
        assert await heard(client, "kapok/v1/site-b/desired/delta") == []
        assert await heard(client, "kapok/v1/site-b/#") == []
        assert await heard(client, "#", least=4) == [b"site-a"] * 4


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
async def test_a_site_speaks_for_itself_only(broker: ProductionBroker, name: str) -> None:
    async with broker.client("site-b") as neighbour, broker.client(SCHEDULER) as scheduler:
        await neighbour.subscribe("kapok/v1/site-b/#", qos=1)
        await scheduler.subscribe("#", qos=1)
        async with broker.client("site-a") as client:
            with contextlib.suppress(aiomqtt.MqttError):  # refused, or dropped silently
                await client.publish(name, b"posing", qos=1)
            await client.publish("kapok/v1/site-a/report", b"mine", qos=1)
        async with asyncio.timeout(60):
            first = await anext(aiter(scheduler.messages))
        assert first.payload == b"mine"


async def test_answers_of_a_site_reach_the_scheduler_alone(broker: ProductionBroker) -> None:
    topic = "kapok/v1/site-a/answer/" + "0" * 32
    async with broker.client("site-b") as neighbour, broker.client(SCHEDULER) as scheduler:
        with contextlib.suppress(aiomqtt.MqttError):
            await neighbour.subscribe("kapok/v1/+/answer/+", qos=1)
        await scheduler.subscribe("kapok/v1/+/answer/+", qos=1)
        async with broker.client("site-a") as client:
            await client.publish(topic, b"mine", qos=1)
        async with asyncio.timeout(60):
            assert (await anext(aiter(scheduler.messages))).payload == b"mine"
        assert b"mine" not in await heard(neighbour, "kapok/v1/site-b/#")


def agent_of_site_a(broker: ProductionBroker, hub: WireHub, data_dir: Path) -> Agent:
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


async def test_the_agent_works_over_it_with_its_certificate(
    broker: ProductionBroker, tmp_path: Path
) -> None:
    hub = WireHub()
    orders = packed(*(hub.content(f"w{n}", config_map()) for n in range(120)))
    async with broker.client(SCHEDULER) as scheduler:
        for name, payload in [*hub.orders(*orders), hub.index(1, *orders)]:
            await scheduler.publish(name, payload, qos=1, retain=True)
        await scheduler.subscribe("kapok/v1/site-a/report", qos=1)
        agent = agent_of_site_a(broker, hub, tmp_path)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            task = group.create_task(agent.run())
            await anext(aiter(scheduler.messages))
            while agent.intake.index is None or agent.intake.missing_entries():
                await CLOCK.sleep(0.05)
            task.cancel()


async def test_another_site_takes_nothing_over_even_with_a_known_client_id(
    broker: ProductionBroker, tmp_path: Path
) -> None:
    """The worst case: the id leaked. The session ends, nothing of it is read, the agent returns."""
    hub = WireHub()
    agent = agent_of_site_a(broker, hub, tmp_path)
    async with broker.client(SCHEDULER) as scheduler:
        await scheduler.subscribe("kapok/v1/site-a/report", qos=1)
        reports = aiter(scheduler.messages)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
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


def test_the_example_is_what_the_command_writes() -> None:
    for name, text in mosquitto_files(MosquittoChoices()).items():
        assert (CONFIGS / name).read_text() == text
