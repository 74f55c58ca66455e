"""Heartbeats from a real agent, over each broker, to the scheduler's own ingest."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiomqtt
import pytest

from agents.app import Agent, build_agent
from agents.config.settings import AgentBrokerSettings, AgentSettings, ReportSettings
from agents.mqtt.session import raise_if_cancelled
from agents.protocol.heartbeat.chain import HEARTBEAT_BYTES, is_heartbeat
from agents.protocol.hub_requests import HUB_REQUEST, WANT_FULL_REPORT, HubRequest
from agents.protocol.keys import SigningKey
from agents.protocol.report import ReportedPower
from agents.runtime.data_dir import Boot
from agents.sensors.sensor import Observation
from scheduler.control.ports.agents import OrderStatusReport, SiteReport
from scheduler.mqtt.broker import embedded_broker
from scheduler.mqtt.ingest import Ingest
from scheduler.mqtt.keyring import Keyring
from scheduler.mqtt.site_asker import SiteAsker
from scheduler.runtime.clock import SystemClock
from tests.support.faults import make_faults
from tests.support.nonces import make_asker
from tests.support.null_telemetry import NullTelemetry
from tests.support.ports import free_port
from tests.support.wire_hub import WireHub

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

CLOCK = SystemClock()
KEY = SigningKey(bytes(range(32)))
_FRESH_SECONDS = 2.0
"""A report is as fresh as the heartbeat that vouches for it: five come in a second."""


@dataclass
class Hub(NullTelemetry):
    """The scheduler's ingest at a broker; asks as the scheduler does, a nonce a second."""

    client: aiomqtt.Client
    wire: WireHub
    takes_heartbeats: bool | None = True
    sizes: list[int] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    reports: list[SiteReport] = field(default_factory=list)
    statuses: list[OrderStatusReport] = field(default_factory=list)
    asked: int = 0

    def __post_init__(self) -> None:
        self.start_again("hub-1")

    def start_again(self, asker: str) -> None:
        """As a new process: nothing is known."""
        self.asker: SiteAsker = make_asker(CLOCK, asker=asker, interval_seconds=2.0)
        self.asker.admit("site-a")
        keyring = Keyring()
        keyring.admit("site-a", [str(KEY.public)])
        self.ingest = Ingest(
            keyring=keyring,
            listener=self,  # type: ignore[arg-type]  # the agent goes neither offline nor unadmitted
            telemetry=self,
            clock=CLOCK,
            faults=make_faults(),
            asker=self.asker,
        )

    def count_bad_message(self, kind: str) -> None:
        self.bad.append(kind)

    def on_report(self, report: SiteReport) -> None:
        self.reports.append(report)

    def on_order_status(self, report: OrderStatusReport) -> None:
        self.statuses.append(report)

    async def listen(self) -> None:
        await self.client.subscribe("kapok/v1/site-a/+", qos=1)
        async for message in self.client.messages:
            if message.topic.value.endswith(("/report", "/status")):
                if message.topic.value.endswith("/report"):
                    self.sizes.append(len(message.payload))
                self.ingest.handle(message.topic.value, message.payload)

    async def ask(self) -> None:
        while True:
            nonce = self.asker.nonce_for("site-a")
            if nonce is not None and not self.asker.nonces.carries_newest("site-a", self.carried):
                nonce = replace(nonce, takes_heartbeats=self.takes_heartbeats, spread_seconds=0.0)
                wants = (WANT_FULL_REPORT,) if not self.carried else ()
                self.asked += 1
                request = HubRequest(site="site-a", epoch=1, wants=wants, nonce=nonce)
                await self.client.publish(
                    *self.wire.sealed("hub", HUB_REQUEST.encode(request)), qos=1
                )
                raise_if_cancelled()
            await CLOCK.sleep(0.5)

    @property
    def carried(self) -> dict[str, str]:
        agents = self.ingest._sites.get("site-a")  # noqa: SLF001 - what it knows of the agent
        vouched = agents.agents["main"].vouched if agents and agents.agents else None
        return dict(vouched.header.nonces or {}) if vouched else {}

    def age(self) -> float:
        """Seconds since the newest report was observed, as heartbeats vouch for it."""
        return CLOCK.monotonic() - self.reports[-1].observed_seconds

    def heartbeats(self) -> int:
        return self.sizes.count(HEARTBEAT_BYTES)

    async def wait_for(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not holds():
                await CLOCK.sleep(0.02)


@dataclass
class Meter:
    """A sensor of power."""

    watts: float = 100.0
    name: str = "meter"

    async def observe(self) -> Observation:
        return Observation(power=ReportedPower(watts=self.watts, origin="measured"))


@asynccontextmanager
async def hub_and_agent(
    folder: Path, kind: str, *, takes_heartbeats: bool | None = True
) -> AsyncIterator[tuple[Hub, Agent, Meter]]:
    wire, meter = WireHub(), Meter()
    (folder / "broker").mkdir()
    (folder / "agent").mkdir(mode=0o700)
    async with embedded_broker(folder / "broker", free_port(), clock=CLOCK, kind=kind) as broker:
        settings = AgentSettings(
            site="site-a",
            data_dir=str(folder / "agent"),
            hub_keys=(str(wire.key.public),),
            broker=AgentBrokerSettings(port=broker.port, will_delay_seconds=1),
            report=ReportSettings(interval_seconds=0.2, status_interval_seconds=0.2),
        )
        agent = build_agent(
            settings,
            key=KEY,
            boot=Boot("b1", 1),
            clock=CLOCK,
            jitter=random.Random(1),  # noqa: S311 - jitter
        )
        agent.reports.collector.sensors = [meter, *agent.reports.collector.sensors]
        async with (
            aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client,
            asyncio.TaskGroup() as group,
        ):
            hub = Hub(client, wire, takes_heartbeats)
            tasks = [group.create_task(each) for each in (hub.listen(), hub.ask(), agent.run())]
            yield hub, agent, meter
            for task in tasks:
                task.cancel()


@pytest.mark.parametrize("kind", ["mosquitto", "iotcore"])
async def test_a_site_lives_by_heartbeats_and_what_changes_is_reported(
    tmp_path: Path, kind: str
) -> None:
    async with hub_and_agent(tmp_path, kind) as (hub, agent, meter):
        await hub.wait_for(lambda: hub.heartbeats() >= 8)
        assert hub.bad.count("stale") == len(hub.bad) <= 8, "before the first nonce"
        await hub.wait_for(lambda: hub.age() < _FRESH_SECONDS)
        meter.watts = 300.0
        await hub.wait_for(lambda: hub.reports[-1].figures.power.watts == 300.0)  # type: ignore[union-attr]
        before = hub.heartbeats()
        await hub.wait_for(lambda: hub.heartbeats() >= before + 3)
        statuses, asked = len(hub.statuses), hub.asked
        await hub.wait_for(lambda: hub.heartbeats() >= before + 6)
        assert len(hub.statuses) - statuses <= hub.asked - asked + 2, "one a nonce"
        await hub.wait_for(lambda: hub.age() < _FRESH_SECONDS)
        assert hub.reports[-1].figures.power is not None
        assert hub.reports[-1].figures.power.watts == 300.0
        hub.start_again("hub-2")  # the hub of before asks no more, and takes heartbeats too
        count, before = len(hub.reports), hub.heartbeats()
        await hub.wait_for(lambda: len(hub.reports) > count + 3 and hub.heartbeats() > before + 3)
        assert set(hub.bad) <= {"stale"}
        sent = json.dumps(agent.counters.render())
        assert 'kapok_agent_messages_total{kind=\\"heartbeat\\"}' in sent


async def test_a_hub_of_the_version_before_gets_reports_alone(tmp_path: Path) -> None:
    async with hub_and_agent(tmp_path, "mosquitto", takes_heartbeats=None) as (hub, _, _meter):
        await hub.wait_for(lambda: len(hub.reports) >= 5 and len(hub.statuses) >= 5)
        assert hub.heartbeats() == 0
        assert not is_heartbeat(b"{" + bytes(21))
