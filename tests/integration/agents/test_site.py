"""A site as it is: agent processes, a broker, a member cluster; agents are killed and replaced."""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agents.member.access import from_kubeconfig
from agents.member.api import MemberApi
from agents.protocol.hub_requests import WANT_INDEX_PROOF
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.status import SiteStatusMessage
from agents.runtime.clock import AgentSystemClock
from scheduler.mqtt.broker import EmbeddedBroker, embedded_broker
from scheduler.mqtt.order_publisher import read_index_proof
from tests.support.agent_listener import AgentListener, listening_hub, publish
from tests.support.member_clusters import api_servers
from tests.support.ports import free_port
from tests.support.wire_hub import WireHub, config_map, deployment, job, packed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

CLOCK = AgentSystemClock()
KEYS = {name: SigningKey(bytes([number]) * 32) for number, name in enumerate(("main", "spare"))}


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with api_servers(tmp_path_factory.mktemp("member"), "m1") as [path]:
        yield path


@pytest.fixture
def member(kubeconfig: Path) -> Iterator[MemberApi]:
    api = MemberApi(from_kubeconfig(kubeconfig))
    yield api
    api.close()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    async with embedded_broker(tmp_path, free_port(), clock=CLOCK, kind="mosquitto") as one:
        yield one


class Site:
    """Starts agents of one site."""

    def __init__(self, folder: Path, broker: EmbeddedBroker, kubeconfig: Path) -> None:
        self.folder = folder
        self.broker = broker
        self.kubeconfig = kubeconfig
        self.hub = WireHub()

    @asynccontextmanager
    async def agent(self, name: str = "main") -> AsyncIterator[asyncio.subprocess.Process]:
        """One agent process; killed at the end, as a power cut would."""
        data = self.folder / name
        data.mkdir(mode=0o700, exist_ok=True)
        (data / "agent.key").write_bytes(KEYS[name].raw())
        (data / "agent.key").chmod(0o600)
        tree = {
            "site": "site-a",
            "agent": name,
            "data_dir": str(data),
            "hub_keys": [str(self.hub.key.public)],
            "broker": {"port": self.broker.port},
            "report": {"interval_seconds": 0.5, "status_interval_seconds": 0.5},
            "cluster": {
                "source": "kubeconfig",
                "kubeconfig": str(self.kubeconfig),
                "resync_seconds": 0.5,
                "lease_seconds": 2,
            },
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(tree))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "agents.cli",
            "--config",
            str(path),
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.kill()
            await process.wait()


@pytest.fixture
def site(tmp_path: Path, broker: EmbeddedBroker, kubeconfig: Path) -> Site:
    return Site(tmp_path, broker, kubeconfig)


async def settled(hub: AgentListener, sequence: int, orders: int) -> SiteStatusMessage:
    """The first status that says all is applied under an index."""

    def is_settled(status: SiteStatusMessage) -> bool:
        return (
            status.index is not None
            and status.index.sequence == sequence
            and len(status.orders) == orders
            and all(each.applied_generation == each.generation for each in status.orders)
        )

    status: SiteStatusMessage = await hub.wait_for("status", is_settled)
    return status


def proven_version(hub: WireHub, proof: str) -> tuple[int, int]:
    """The version in an index that the hub has signed for its site."""
    proven = read_index_proof(
        proof, site=hub.site, site_uid="uid-1", own_keys=TrustedKeys([hub.key.public])
    )
    return proven.version


async def test_an_agent_killed_at_any_moment_ends_with_all_applied_and_jobs_run_once(
    site: Site, member: MemberApi
) -> None:
    chance = random.Random(7)  # noqa: S311 - when to kill
    orders = packed(*(site.hub.content(f"k{n}", config_map(), job()) for n in range(12)))
    index = site.hub.index(1, *orders)
    await publish(site.broker.port, [*site.hub.orders(*orders), index])
    uids: dict[str, str] = {}
    async with listening_hub(site.broker.port, KEYS.values(), index):
        for _ in range(6):
            async with site.agent():
                await CLOCK.sleep(0.4 + 0.6 * chance.random())
            for tree in member.list_mapped("/apis/batch/v1/jobs", None, lambda tree: tree):
                name, uid = tree["metadata"]["namespace"], tree["metadata"]["uid"]
                assert uids.setdefault(name, uid) == uid, "a job was made twice"
    async with listening_hub(site.broker.port, KEYS.values(), index) as hub, site.agent():
        status = await settled(hub, 1, 12)
        assert {order.phase for order in status.orders} == {"Applied"}
        await publish(site.broker.port, [site.hub.request(WANT_INDEX_PROOF)])
        status = await hub.wait_for("status", lambda one: one.index_proof is not None)
        assert proven_version(site.hub, status.index_proof or "") == (1, 1)
        await publish(site.broker.port, [site.hub.index(2)])
        status = await settled(hub, 2, 0)
        assert status.index_proof is None, "it is sent once for each request"
    assert member.list_mapped("/apis/batch/v1/jobs", None, lambda tree: tree) == []


async def test_of_two_agents_one_executes_and_the_other_takes_over(
    site: Site, member: MemberApi
) -> None:
    [one, two] = packed(site.hub.content("t1", deployment()), site.hub.content("t2", config_map()))
    index = site.hub.index(1, one)
    await publish(site.broker.port, [*site.hub.orders(one, two), index])

    def executing_agents(hub: AgentListener, sequence: int) -> set[str]:
        """The agents that have said that they execute orders under an index."""
        return {
            status.agent
            for status in hub.received_of("status")
            if status.is_executing and status.index and status.index.sequence == sequence
        }

    async with listening_hub(site.broker.port, KEYS.values(), index) as hub, site.agent("spare"):
        async with site.agent("main"):
            await settled(hub, 1, 1)

            def one_of_two_executes(_status: SiteStatusMessage) -> bool:
                last = {status.agent: status.is_executing for status in hub.received_of("status")}
                return sorted(last.values()) == [False, True]

            await hub.wait_for("status", one_of_two_executes)
        # "main" has ended: of the two, only "spare" can have received this index. Statuses that
        # "main" sent before may still arrive; they echo the first index.
        hub.index = site.hub.index(2, one, two)
        await publish(site.broker.port, [hub.index])
        await settled(hub, 2, 2)
        await hub.wait_for("status", lambda _status: executing_agents(hub, 2))
        assert executing_agents(hub, 2) == {"spare"}
        first = await hub.wait_for("report", lambda report: report.agent == "spare")
        await hub.wait_for(
            "report",
            lambda report: report.agent == "spare" and report.sequence > first.sequence,
        )
    assert member.find("/api/v1/namespaces/t2/configmaps/settings") is not None
