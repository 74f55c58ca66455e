"""Deltas of the index from the real dispatcher to a real agent, over each broker."""

import asyncio
import getpass
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agents.app import Agent, build_agent
from agents.config.settings import AgentBrokerSettings, AgentSettings, ReportSettings
from agents.protocol.keys import SigningKey
from agents.protocol.status import SiteStatusMessage
from agents.runtime.data_dir import Boot
from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.ports.agents import OrderForSite
from scheduler.mqtt.broker import EmbeddedBroker, embedded_broker
from scheduler.mqtt.order_publisher import OrderPublisher
from scheduler.mqtt.outbox import Outbox
from scheduler.mqtt.site_reports import order_status_report_of
from scheduler.runtime.clock import SystemClock
from tests.support.agent_listener import AgentListener, listening_hub
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.ports import free_port
from tests.support.tools import require_tool

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

CLOCK = SystemClock()
HUB, KEY = SigningKey(bytes(range(32))), SigningKey(bytes(range(1, 33)))
MANY = 300


class Hub:
    """The dispatcher of a leader, which hears the statuses that a listener has received."""

    def __init__(self, ears: AgentListener, epoch: int = 1) -> None:
        self.ears, self.heard, self.outbox = ears, 0, Outbox()
        self.dispatcher = Dispatcher(
            publisher=OrderPublisher(key=HUB, outbox=self.outbox),
            clock=CLOCK,
            telemetry=NullTelemetry(),
            repeat_seconds=0.5,
            on_higher_epoch=lambda _epoch: None,
            on_refusal=lambda _key: None,
            faults=make_faults(),
        )
        self.dispatcher.admit("site-a", "u")
        self.dispatcher.start_epoch(epoch)
        self.dispatcher.start_publishing()
        self.topics: list[str] = []

    def set(self, *numbers: int, generation: int = 1) -> None:
        for number in numbers:
            key = ("n", f"w{number}")
            order = OrderForSite(
                id=f"kapok/n/w{number}/abcdefghij",
                generation=generation,
                namespace=key[0],
                name=key[1],
                manifests=(),
            )
            self.dispatcher.set_orders(key, {"site-a": order})

    def remove(self, number: int) -> None:
        self.dispatcher.set_orders(("n", f"w{number}"), {})

    async def settle(self, agent: Agent) -> None:
        """Publishes until the agent works by the newest index."""
        plan = self.dispatcher.plans["site-a"]
        async with asyncio.timeout(60):
            while True:
                self._hear_statuses()
                self.dispatcher.flush()
                await self._send()
                echo = agent.intake.echo
                if plan.version and echo and echo.digest == plan.index_digest:
                    return
                await CLOCK.sleep(0.05)

    def _hear_statuses(self) -> None:
        statuses: list[SiteStatusMessage] = self.ears.received_of("status")
        for status in statuses[self.heard :]:
            report = order_status_report_of(status)
            # This agent has no cluster to apply orders to, so it says that it only reports.
            self.dispatcher.on_order_status(replace(report, is_executing=True))
        self.heard = len(statuses)

    async def _send(self) -> None:
        while len(self.outbox):
            message = await self.outbox.take()
            payload = message.seal() if message.seal else message.payload
            if "/desired" in message.topic:
                self.topics.append(message.topic.removeprefix("kapok/v1/site-a/"))
                await self.ears.client.publish(message.topic, payload, qos=1, retain=message.retain)


def settings(folder: Path, port: int) -> AgentSettings:
    folder.mkdir(exist_ok=True)
    return AgentSettings(
        site="site-a",
        data_dir=str(folder),
        hub_keys=(str(HUB.public),),
        host_sensor=False,
        broker=AgentBrokerSettings(port=port, will_delay_seconds=1),
        report=ReportSettings(interval_seconds=0.3, status_interval_seconds=0.3),
    )


@asynccontextmanager
async def running(folder: Path, port: int) -> AsyncIterator[Agent]:
    """An agent without a cluster."""
    agent = build_agent(
        settings(folder, port),
        key=KEY,
        boot=Boot(f"b-{folder.name}", 1),
        clock=CLOCK,
        jitter=random.Random(1),  # noqa: S311 - jitter
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.run())
        yield agent
        task.cancel()


def ids_of(agent: Agent) -> set[tuple[str, int]]:
    assert agent.intake.index
    return {(one.id, one.generation) for one in agent.intake.index.orders}


def planned(hub: Hub) -> set[tuple[str, int]]:
    orders = hub.dispatcher.plans["site-a"].orders.values()
    return {(one.id, one.generation) for one in orders}


@pytest.fixture
async def broker(kind: str, tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    async with embedded_broker(folder, free_port(), clock=CLOCK, kind=kind) as one:
        yield one


@pytest.mark.parametrize("kind", ["mosquitto", "iotcore"])
async def test_changes_reach_an_agent_as_deltas_and_one_that_comes_late_has_all(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with listening_hub(broker.port, [KEY]) as ears:
        hub = Hub(ears)
        hub.set(*range(MANY))
        async with running(tmp_path / "one", broker.port) as agent:
            await hub.settle(agent)
            assert hub.topics == ["desired", "desired/delta"]
            hub.set(5, generation=2)
            hub.remove(7)
            hub.set(999)
            await hub.settle(agent)
            assert hub.topics[2:] == ["desired/delta"]
            assert ids_of(agent) == planned(hub)
            assert agent.counters.bad_messages() == {}
        hub.topics.clear()
        async with running(tmp_path / "two", broker.port) as late:  # its disk is new
            async with asyncio.timeout(60):
                while late.intake.index is None:
                    await CLOCK.sleep(0.02)
            assert ids_of(late) == planned(hub), "never the base alone, which lacks an order"
            hub.remove(9)
            await hub.settle(late)
            assert ids_of(late) == planned(hub)


@asynccontextmanager
async def old_rules(folder: Path, port: int) -> AsyncIterator[None]:
    """A mosquitto whose access rules are those of a version before: it drops `desired/delta`."""
    rules, config = folder / "acl", folder / "mosquitto.conf"
    rules.write_text("topic readwrite kapok/v1/#\ntopic deny kapok/v1/+/desired/delta\n")
    config.write_text(
        f"listener {port} 127.0.0.1\nuser {getpass.getuser()}\nallow_anonymous true\n"
        f"max_packet_size 1048576\nacl_file {rules}\n"
    )
    rules.chmod(0o600)
    process = await asyncio.create_subprocess_exec(
        "mosquitto", "-c", str(config), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60):
            while not is_open(port):
                await CLOCK.sleep(0.05)
        yield
    finally:
        process.terminate()
        await process.wait()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_where_the_broker_lets_no_delta_through_the_index_comes_whole(tmp_path: Path) -> None:
    require_tool("mosquitto")
    port = free_port()
    async with old_rules(tmp_path, port), listening_hub(port, [KEY]) as ears:
        hub = Hub(ears)
        hub.set(*range(MANY))
        async with running(tmp_path / "one", port) as agent:
            await hub.settle(agent)
            assert hub.topics.count("desired/delta") == 3, "two bases, and then it is cleared"
            assert ids_of(agent) == planned(hub)
            hub.topics.clear()
            hub.set(5, generation=2)
            await hub.settle(agent)
            assert set(hub.topics) == {"desired"}
            assert ids_of(agent) == planned(hub)
