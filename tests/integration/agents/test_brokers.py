"""The agent with each broker: late, flooded with nonsense, killed, cut off."""

import asyncio
import json
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from agents.app import Agent, build_agent
from agents.config.settings import AgentBrokerSettings, AgentSettings, ReportSettings
from agents.protocol.hub_requests import WANT_FULL_REPORT
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.report import Report
from agents.protocol.status import SiteStatusMessage
from agents.runtime.clock import AgentSystemClock
from agents.runtime.data_dir import Boot
from scheduler.mqtt.broker import EmbeddedBroker, embedded_broker
from tests.support.agent_listener import listening_hub, publish
from tests.support.ports import free_port
from tests.support.wire_hub import WireHub, config_map, packed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

CLOCK = AgentSystemClock()
KEY = SigningKey(bytes(range(32)))
TRUSTED = TrustedKeys([KEY.public])
EVERY_BROKER = pytest.mark.parametrize("kind", ["mosquitto", "iotcore"])


def settings(folder: Path, port: int, hub: WireHub, **report: float) -> AgentSettings:
    folder.mkdir(exist_ok=True)
    return AgentSettings(
        site="site-a",
        data_dir=str(folder),
        hub_keys=(str(hub.key.public),),
        host_sensor=False,
        broker=AgentBrokerSettings(port=port, will_delay_seconds=1),
        report=ReportSettings(
            **({"interval_seconds": 0.3, "status_interval_seconds": 0.5} | report)
        ),
    )


@asynccontextmanager
async def running(chosen: AgentSettings) -> AsyncIterator[Agent]:
    agent = build_agent(
        chosen,
        key=KEY,
        boot=Boot("b1", 1),
        clock=CLOCK,
        jitter=random.Random(1),  # noqa: S311 - jitter
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.run())
        yield agent
        task.cancel()


@pytest.fixture
async def broker(kind: str, tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    async with embedded_broker(folder, free_port(), clock=CLOCK, kind=kind) as one:
        yield one


@EVERY_BROKER
async def test_a_thousand_orders_reach_an_agent_that_connects_late(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    hub = WireHub()
    orders = packed(*(hub.content(f"w{n}", config_map(number=f"{n}")) for n in range(1000)))
    await publish(broker.port, [*hub.orders(*orders), hub.index(1, *orders)])
    async with running(settings(tmp_path / "agent", broker.port, hub)) as agent:
        async with asyncio.timeout(60):
            while agent.intake.index is None or agent.intake.missing_entries():
                await CLOCK.sleep(0.05)
        assert len(agent.intake.index.orders) == 1000
        assert agent.counters.bad_messages() == {}


@EVERY_BROKER
async def test_a_first_index_counts_once_the_hub_publishes_it_not_while_it_is_retained(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    hub = WireHub()
    old, new = packed(hub.content("old", config_map()), hub.content("new", config_map()))
    await publish(broker.port, [hub.index(1, old)])
    chosen = settings(tmp_path / "agent", broker.port, hub, status_interval_seconds=60.0)
    async with listening_hub(broker.port, [KEY]) as ears, running(chosen) as agent:
        agent.intake.is_reporting_only = False  # as with a cluster
        async with asyncio.timeout(60):
            while not agent.intake.is_holding_back:
                await CLOCK.sleep(0.02)
            ears.received.clear()
            status = await ears.wait_for("status")  # long before its interval is over
            assert (status.index, agent.intake.index) == (None, None)
            await publish(broker.port, [hub.index(2, new)])
            while agent.intake.index is None:
                await CLOCK.sleep(0.02)
        assert [one.id for one in agent.intake.index.orders] == [new.entry.id]
        assert agent.counters.bad_messages() == {}


@EVERY_BROKER
async def test_an_agent_flooded_with_nonsense_goes_on_and_names_it(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    hub, stranger = WireHub(), WireHub()
    [one] = packed(hub.content("w", config_map()))
    name, good = hub.index(5, one)
    junk = [b"\x00\xff", b"{}", b"[" * 9_000, good[:-5], good[:40] + good[45:]]
    async with (
        listening_hub(broker.port, [KEY]) as ears,
        running(settings(tmp_path / "agent", broker.port, hub)),
    ):
        await ears.wait_for("status")
        await publish(broker.port, [(name, each) for each in junk] * 3, retain=False)
        await publish(broker.port, [stranger.index(9), hub.index(1)], retain=False)
        await publish(broker.port, [(name, good), (name, good), hub.index(4), (name, b"")])
        await publish(broker.port, hub.orders(one))
        await publish(broker.port, [hub.request(WANT_FULL_REPORT)], retain=False)

        def is_right(status: SiteStatusMessage) -> bool:
            index = status.index
            return index is not None and index.sequence == 5 and bool(status.bad_messages)

        status = await ears.wait_for("status", is_right)
        full = [report.kind for report in ears.received_of("report")].count("full")
        await ears.wait_for("status", lambda status: status.bad_messages.get("stale"))
        assert status.bad_messages["malformed"] >= 12
        assert status.bad_messages["unknown-key"] == 1
        assert full >= 1
        assert not any(is_retained for _, _, is_retained in ears.received)


@EVERY_BROKER
async def test_an_agent_comes_back_to_a_broker_that_was_away_and_speaks_in_full(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    hub = WireHub()
    async with running(settings(tmp_path / "agent", broker.port, hub)):
        async with listening_hub(broker.port, [KEY]) as ears:
            await ears.wait_for("report", lambda report: report.kind == "delta")
            last = max(report.sequence for report in ears.received_of("report"))
        await broker.stop()
        await CLOCK.sleep(0.2)
        await broker.start()
        async with listening_hub(broker.port, [KEY]) as ears:
            first = await ears.wait_for("report")
            # The agent may be back before us: a delta then says to which full report it belongs.
            assert (first.sequence if first.kind == "full" else first.base) > last
            await publish(broker.port, [hub.index(1)])
            await ears.wait_for("status", lambda status: status.index is not None)


def is_of_boot(number: int, report: Report) -> bool:
    return report.boot_number == number


@pytest.fixture
def config(tmp_path: Path, broker: EmbeddedBroker) -> Path:
    folder = tmp_path / "agent"
    folder.mkdir(mode=0o700)
    (folder / "agent.key").write_bytes(KEY.raw())
    (folder / "agent.key").chmod(0o600)
    tree = {
        "site": "site-a",
        "data_dir": str(folder),
        "broker": {"port": broker.port, "will_delay_seconds": 1},
        "report": {"interval_seconds": 0.3},
    }
    path = tmp_path / "agent.yaml"
    path.write_text(json.dumps(tree))
    return path


@EVERY_BROKER
async def test_a_killed_agent_is_announced_and_one_that_ends_well_is_not(
    config: Path, broker: EmbeddedBroker
) -> None:
    command = [sys.executable, "-m", "agents.cli", "--config", str(config)]
    boots = []
    async with listening_hub(broker.port, [KEY]) as ears:
        for number, how in ((1, signal.SIGTERM), (2, signal.SIGKILL)):
            process = await asyncio.create_subprocess_exec(
                *command, stderr=asyncio.subprocess.DEVNULL
            )
            report = await ears.wait_for("report", partial(is_of_boot, number))
            boots.append((report.boot_id, report.boot_number))
            assert ears.received_of("offline") == []
            process.send_signal(how)
            await process.wait()
            await CLOCK.sleep(1.5 if how == signal.SIGTERM else 0)
        offline = await ears.wait_for("offline")
        assert (offline.boot_id, offline.boot_number) == boots[1]
