"""Links of agents that are not plain: proxies, WebSocket, brokers that take little at once."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest

from agents.app import Agent, build_agent
from agents.config.settings import AgentBrokerSettings, AgentSettings, ReportSettings, Secret
from agents.protocol.keys import SigningKey
from agents.runtime.clock import AgentSystemClock
from agents.runtime.data_dir import Boot
from scheduler.mqtt.production.mosquitto_files import (
    ListenAddress,
    MosquittoChoices,
    mosquitto_files,
)
from tests.support.http_proxy import tunnel_proxy
from tests.support.member_clusters import wait_until
from tests.support.ports import free_ports
from tests.support.production_broker import (
    SCHEDULER,
    Authority,
    ProductionBroker,
    accepts,
    mosquitto,
)
from tests.support.wire_hub import WireHub, config_map, packed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

CLOCK = AgentSystemClock()
ADDRESS = "127.0.0.1"
NAME = "broker.example.org"


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ProductionBroker, int]]:
    """A broker with all that `kapok broker config` writes, and its WebSocket port."""
    folder = tmp_path_factory.mktemp("papers")
    authority = Authority(folder)
    for name in ("broker", SCHEDULER, "site-a"):
        authority.issue(name)
    port, websockets = free_ports(2)
    choices = MosquittoChoices(
        listen=ListenAddress(ADDRESS, port),
        websockets=ListenAddress(ADDRESS, websockets),
        folder=str(folder),
    )
    files = dict(mosquitto_files(choices))
    files["mosquitto.conf"] = files["mosquitto.conf"].replace(
        "max_inflight_messages 1000", "max_inflight_messages 2"
    )
    with mosquitto(folder, port, files):
        wait_until(lambda: accepts(websockets))
        yield ProductionBroker(port, folder), websockets


def agent_of(broker: ProductionBroker, hub: WireHub, folder: Path, **more: str | int) -> Agent:
    settings = AgentBrokerSettings(
        host=ADDRESS,
        port=broker.port,
        tls_ca_file=str(broker.folder / "ca.crt"),
        tls_certificate_file=str(broker.folder / "site-a.crt"),
        tls_key_file=str(broker.folder / "site-a.key"),
    )
    return build_agent(
        AgentSettings(
            site="site-a",
            data_dir=str(folder),
            hub_keys=(str(hub.key.public),),
            host_sensor=False,
            broker=replace(settings, **more),  # type: ignore[arg-type]
            report=ReportSettings(interval_seconds=0.1),
        ),
        key=SigningKey.generate(),
        boot=Boot("b", 1),
        clock=CLOCK,
        jitter=random.Random(1),  # noqa: S311 - jitter
    )


async def works(broker: ProductionBroker, agent: Agent, hub: WireHub, *, orders: int) -> None:
    """The hub hears the agent, and the agent has all of its orders."""
    each = packed(*(hub.content(f"w{n}", config_map()) for n in range(orders)))
    async with broker.client(SCHEDULER) as scheduler:
        for name, payload in [*hub.orders(*each), hub.index(1, *each)]:
            await scheduler.publish(name, payload, qos=1, retain=True)
        await scheduler.subscribe("kapok/v1/site-a/report", qos=1)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            task = group.create_task(agent.run())
            reports = aiter(scheduler.messages)
            for _ in range(3):
                await anext(reports)
            while agent.intake.index is None or agent.intake.missing_entries():
                await CLOCK.sleep(0.02)
            task.cancel()


async def test_an_agent_works_over_websocket_within_tls(
    links: tuple[ProductionBroker, int], tmp_path: Path
) -> None:
    broker, port = links
    hub = WireHub()
    agent = agent_of(broker, hub, tmp_path, port=port, transport="websockets")
    await works(broker, agent, hub, orders=5)
    assert agent.counters.bad_messages() == {}


@pytest.mark.parametrize("credentials", ["", "用户:p@ss word"])
async def test_an_agent_goes_through_the_proxy_of_its_environment(
    links: tuple[ProductionBroker, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    credentials: str,
) -> None:
    """The name of the broker is resolved by the proxy alone; TLS is with the broker."""
    broker, _ = links
    hub = WireHub()
    with tunnel_proxy(credentials) as proxy:
        user = "%E7%94%A8%E6%88%B7:p%40ss%20word@" if credentials else ""
        monkeypatch.setenv("HTTPS_PROXY", f"http://{user}{ADDRESS}:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setattr("agents.mqtt.proxy._is_loopback", lambda _host: False)
        await works(broker, agent_of(broker, hub, tmp_path), hub, orders=3)
        assert set(proxy.targets) == {f"{ADDRESS}:{broker.port}"}


async def test_a_wrong_password_is_named_and_tried_again(
    links: tuple[ProductionBroker, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker, _ = links
    monkeypatch.setattr("agents.mqtt.proxy._is_loopback", lambda _host: False)
    with tunnel_proxy("user:right") as proxy:
        url = Secret(f"http://user:wrong@{ADDRESS}:{proxy.port}")
        agent = agent_of(broker, WireHub(), tmp_path, proxy=url)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            task = group.create_task(agent.run())
            while proxy.refusals < 2:
                await CLOCK.sleep(0.02)
            task.cancel()
    assert "it wants a user and a password" in caplog.text
    assert "wrong" not in caplog.text


async def test_no_more_is_sent_at_once_than_the_broker_takes(
    links: tuple[ProductionBroker, int], tmp_path: Path
) -> None:
    """mosquitto ends a session that has more in flight than its receive maximum: 2 here."""
    broker, _ = links
    agent = agent_of(broker, WireHub(), tmp_path)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        task = group.create_task(agent.run())
        connection = await agent.session.wait_for_connection()
        paho = connection._client._client  # noqa: SLF001 - nothing else shows it
        assert paho.max_inflight_messages == 2
        with suppress(aiomqtt.MqttError):
            async with asyncio.TaskGroup() as burst:
                for number in range(50):
                    topic = f"kapok/v1/site-a/answer/{number:032x}"
                    send = connection.publish(topic, b"x", expiry_seconds=5)
                    burst.create_task(send)
        assert agent.session.connection is connection
        task.cancel()
