"""Many sites on one broker on a bad day: links go down, the broker dies, comes back empty or old.

The broker is a real mosquitto with TLS and topic rules in a network namespace; a partition is a
link that goes down. The agents are sessions in one process, without clusters: what they accept is
on their disks. `test_city.py` has one site with a cluster.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest

from agents.app import Agent, build_agent
from agents.config.settings import (
    AgentBrokerSettings,
    AgentSettings,
    ReportSettings,
    StaticSettings,
)
from agents.protocol.orders import OrderContent
from agents.runtime.clock import AgentSystemClock
from agents.runtime.data_dir import Boot
from tests.support.bad_day_hub import BadDayHub
from tests.support.broker_house import PORT, BrokerHouse, broker_house, can_make_namespaces
from tests.support.wire_hub import WireHub, config_map, packed

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not can_make_namespaces(), reason="needs root, iproute2 and mosquitto"),
]

CLOCK = AgentSystemClock()
ORDERS = 3


def contents(hub: WireHub) -> list[OrderContent]:
    return [hub.content(f"w{number}", config_map(of=hub.site)) for number in range(ORDERS)]


def agent_of(house: BrokerHouse, hub: BadDayHub, site: str, folder: Path) -> Agent:
    # Every report puts the energy total on the disk, and all sites share one disk here.
    pause_seconds = max(0.25, 0.05 * len(hub.sites))
    reached = house.for_sites
    settings = AgentSettings(
        site=site,
        data_dir=str(folder),
        hub_keys=(str(hub.key.public),),
        host_sensor=False,
        static=StaticSettings(power_watts=1000.0),
        broker=AgentBrokerSettings(
            host=reached.host,
            port=PORT,
            tls_ca_file=str(house.folder / "ca.crt"),
            tls_certificate_file=str(house.folder / f"{site}.crt"),
            tls_key_file=str(house.folder / f"{site}.key"),
            will_delay_seconds=1,
        ),
        report=ReportSettings(
            interval_seconds=pause_seconds, status_interval_seconds=pause_seconds
        ),
    )
    return build_agent(
        settings,
        key=hub.agent_key,
        boot=Boot(f"b-{site}", 1),
        clock=CLOCK,
        jitter=random.Random(site),  # noqa: S311 - jitter
    )


@asynccontextmanager
async def many_sites(
    folder: Path, count: int
) -> AsyncIterator[tuple[BrokerHouse, BadDayHub, list[Agent]]]:
    sites = [f"site-{number}" for number in range(count)]
    (folder / "broker").mkdir()
    with broker_house(folder / "broker", sites) as house:
        hub = BadDayHub(house.for_hub, sites)
        hub.want(contents)
        agents = []
        for site in sites:
            (folder / site).mkdir(mode=0o700)
            agents.append(agent_of(house, hub, site, folder / site))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.run()) for one in agents]
            tasks.append(group.create_task(hub.run()))
            yield house, hub, agents
            for task in tasks:
                task.cancel()


async def change(hub: BadDayHub) -> None:
    """The hub wants something else, and publishes it once."""
    hub.want(contents)
    await hub.publish_wanted()


def check_energy(hub: BadDayHub) -> None:
    """Totals only grow, whatever happened to the messages."""
    assert hub.energy
    for seen in hub.energy.values():
        assert [one[2] for one in sorted(seen)] == sorted(one[2] for one in seen)


async def test_sites_come_back_from_a_cut_link_and_a_broker_of_yesterday(tmp_path: Path) -> None:
    async with many_sites(tmp_path, 3) as (house, hub, agents):
        await hub.converges(orders=ORDERS)

        house.set_link("s", "down")  # the sites are cut off while the hub goes on
        await change(hub)
        await CLOCK.sleep(0.3)
        house.set_link("s", "up")
        await hub.converges(orders=ORDERS)

        old = house.save_store()
        await change(hub)
        await hub.converges(orders=ORDERS)
        house.restart(old)  # it gives out again what was replaced
        await hub.converges(orders=ORDERS)
        assert all(one.intake.index and one.intake.index.sequence == 3 for one in agents)

        await check_hostile_messages(hub, agents)
        await hub.converges(orders=ORDERS)
        check_energy(hub)


async def check_hostile_messages(hub: BadDayHub, agents: list[Agent]) -> None:
    """Replayed, re-addressed and foreign messages are refused by name, and move nothing."""
    first, second = hub.sites[:2]
    own, neighbour = WireHub(first, hub.key), WireHub(second, hub.key)
    stranger = WireHub(first)
    name, _ = own.index(99)
    hostile = [
        own.index(1),
        (name, neighbour.index(99)[1]),
        stranger.index(99),
        (name, b"{"),
        *((name, one[1]) for one in neighbour.orders(*packed(*contents(neighbour)))),
    ]
    before = agents[0].intake.index
    await hub.publish(hostile, retain=False)
    expected = {"stale", "signature", "unknown-key", "malformed"}
    async with asyncio.timeout(60):
        while not expected <= agents[0].counters.bad_messages().keys():
            await CLOCK.sleep(0.05)
    assert agents[0].intake.index == before


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seconds", [1, 60, 600])
async def test_twenty_sites_are_cut_off(tmp_path: Path, seconds: int) -> None:
    async with many_sites(tmp_path, 20) as (house, hub, agents):
        await hub.converges(orders=ORDERS)
        house.set_link("s", "down")
        until = monotonic() + seconds
        while monotonic() < until:
            await change(hub)
            await CLOCK.sleep(min(10.0, seconds / 3))
        house.set_link("s", "up")
        await hub.converges(within_seconds=90, orders=ORDERS)
        assert all(one.intake.index and one.intake.index.sequence == hub.sequence for one in agents)
        check_energy(hub)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_two_hundred_agents_return_at_once(tmp_path: Path) -> None:
    async with many_sites(tmp_path, 200) as (house, hub, agents):
        await hub.converges(within_seconds=400, orders=ORDERS)
        for store in (house.save_store(), None):
            house.restart(store)
            await change(hub)
            await hub.converges(within_seconds=400, orders=ORDERS)
        assert all(one.intake.index and one.intake.index.sequence == hub.sequence for one in agents)
        check_energy(hub)
