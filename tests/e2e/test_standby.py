"""Two schedulers of one hub share a key and a ledger; one stands by, asks sites, and takes over."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agents.app import build_agent
from agents.config.settings import (
    AgentBrokerSettings,
    AgentSettings,
    ReportSettings,
)
from agents.protocol.keys import SigningKey
from agents.runtime.clock import AgentSystemClock
from agents.runtime.data_dir import Boot
from scheduler import app
from scheduler.apiserver.server import ApiServer, ApiServerOptions, serve
from scheduler.cli.entry import main
from scheduler.cli.support.signals import leaf_errors
from scheduler.control.ports.hub import SITES, WORKLOADS
from scheduler.control.replicas import StandbyRefused
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub.crds.generate import make_crds
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.storage.postgres_url import PostgresUrl
from scheduler.ledger.verify import verify
from scheduler.mqtt.broker import embedded_broker
from scheduler.recovery.losses import LossNotAccepted
from scheduler.runtime.clock import SystemClock
from scheduler.services import Endpoints
from scheduler.settings import settings_from
from tests.support.agent_listener import listening_hub
from tests.support.ports import free_port
from tests.support.postgres import PostgresServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

CLOCK = SystemClock()


@dataclass
class Scheduler:
    """One scheduler, as a task."""

    task: asyncio.Task[None]
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def running_agent(folder: Path, port: int, key: SigningKey) -> AsyncIterator[None]:
    settings = AgentSettings(
        site="site-a",
        data_dir=str(folder),
        hub_keys=HUB_KEYS,
        broker=AgentBrokerSettings(port=port),
        report=ReportSettings(interval_seconds=0.2, status_interval_seconds=0.2),
    )
    agent = build_agent(
        settings,
        key=key,
        boot=Boot("boot", 1),
        clock=AgentSystemClock(),
        jitter=random.Random(1),  # noqa: S311 - jitter
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.run())
        yield
        task.cancel()


SHARED = SigningKey(bytes(range(32)))
HUB_KEYS = (str(SHARED.public),)


@dataclass
class Pair:
    """What two schedulers share, and a group in which they run."""

    folder: Path
    hub: ApiServer
    settings: dict[str, dict[str, object]]
    group: asyncio.TaskGroup

    def run(
        self, name: str, on_ready: Callable[[Endpoints], None], **groups: dict[str, object]
    ) -> Coroutine[None, None, None]:
        """One with a data directory of its own; `groups` take the place of settings."""
        merged = {**self.settings, **groups}
        merged["hub"] = {"kubeconfig": str(self.hub.kubeconfig_path), **merged["hub"]}
        settings = settings_from(merged, source="test")
        return app.run(settings, self.folder / name, on_ready=on_ready)

    def start(self, name: str) -> Scheduler:
        """Starts one that runs until its task is cancelled."""
        ready = asyncio.Event()
        running = self.run(name, lambda _: ready.set())
        return Scheduler(self.group.create_task(running, name=name), ready)

    async def refusal_of(self, name: str, **groups: dict[str, object]) -> str:
        """Runs one that must refuse to stand by, and returns why."""
        problem: list[str] = []
        try:
            async with asyncio.timeout(60):
                await self.run(name, lambda _: None, **groups)
        except* (StandbyRefused, LossNotAccepted) as refused:
            problem += [str(one) for one in leaf_errors(refused)]
        assert len(problem) == 1
        return problem[0]


@asynccontextmanager
async def two_schedulers(
    folder: Path, url: PostgresUrl, port: int, stack: AsyncExitStack
) -> AsyncIterator[Pair]:
    """A hub, and settings with a key that is mounted as the kubelet does, and a shared ledger."""
    (folder / "broker").mkdir()
    options = ApiServerOptions(data_dir=folder / "hub", crds=make_crds(), name="hub")
    server = await stack.enter_async_context(serve(options))
    await stack.enter_async_context(embedded_broker(folder / "broker", port, clock=CLOCK))
    key, password = folder / "mounted.key", folder / "password"
    key.write_bytes(SHARED.raw())
    key.chmod(0o440)
    password.write_text(f"{url.password}\n")
    password.chmod(0o440)
    settings: dict[str, dict[str, object]] = {
        "hub": {"signing_key_file": str(key)},
        "broker": {"host": "127.0.0.1", "port": port},
        "ledger": {"url": str(url), "password_file": str(password)},
        "freshness": {"silent_after_seconds": 5.0, "hear_sites_seconds": 60.0},
    }
    async with asyncio.TaskGroup() as group:
        yield Pair(folder, server, settings, group)


async def test_a_standby_asks_with_its_own_nonces_and_takes_over_what_it_knows(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    key, port, url = SigningKey.generate(), free_port(), postgres.new_database()
    (tmp_path / "agent").mkdir()
    async with AsyncExitStack() as stack, two_schedulers(tmp_path, url, port, stack) as pair:
        client = await stack.enter_async_context(open_hub(pair.hub.kubeconfig_path))
        spec = {
            "tier": "edge",
            "location": {"province": "CN-GD", "city": "gz", "metro": "gz"},
            "delivery": {"mode": "Pull", "agentKeys": [str(key.public)]},
        }
        site = {"apiVersion": SITES.api_version, "kind": SITES.kind, "spec": spec}
        await client.create(SITES, {**site, "metadata": {"name": "site-a"}})
        listener = await stack.enter_async_context(listening_hub(port, [key]))
        await stack.enter_async_context(running_agent(tmp_path / "agent", port, key))
        first = pair.start("first")
        await first.is_ready.wait()
        second = pair.start("second")
        message = await listener.wait_for("report", lambda one: len(one.nonces or {}) == 2)
        await listener.wait_for("status", lambda one: len(one.nonces or {}) == 2)
        assert len(set(message.nonces.values())) == 2
        assert not second.is_ready.is_set()
        first.task.cancel()
        async with asyncio.timeout(60):
            await second.is_ready.wait()
            while not _is_ready(await client.get(SITES, "site-a")):
                await CLOCK.sleep(0.1)
        second.task.cancel()
    assert not (tmp_path / "second" / "ledger.db").exists()
    assert not (tmp_path / "second" / "hub.key").exists()


async def test_replicas_write_one_chain_and_explain_each_others_decisions(
    tmp_path: Path, postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres.new_database()
    async with AsyncExitStack() as stack, two_schedulers(tmp_path, url, free_port(), stack) as pair:
        client = await stack.enter_async_context(open_hub(pair.hub.kubeconfig_path))
        first = pair.start("first")
        await first.is_ready.wait()
        decided = [await make_refused_workload(client, "before")]
        with postgres.connect(url.database) as connection:  # as a later leader leaves it
            connection.execute(b"UPDATE kapok.head SET epoch = 8")
        decided.append(await make_refused_workload(client, "deposed"))
        second = pair.start("second")
        first.task.cancel()
        async with asyncio.timeout(60):
            await second.is_ready.wait()
        decided.append(await make_refused_workload(client, "after"))
        second.task.cancel()
    assert decided == ["1-1", "9-2", "10-3"]  # deposed, it leads again above the ledger's epoch
    with LedgerReader(url) as reader:
        verdict = verify(reader, trusted_keys=frozenset(HUB_KEYS))
    assert verdict.is_ok
    assert verdict.signed.signed_to == verdict.records == 3
    config = tmp_path / "scheduler.yaml"
    config.write_text(json.dumps({"ledger": pair.settings["ledger"]}))
    for command, says in (
        ("ledger verify", "3 records verified"),
        ("ledger list", "no-tenant"),
        ("ledger show 1-1", "no-tenant"),
        ("explain default/before", "no Tenant lists namespace default"),
        ("replay 1-1", "refus"),
    ):
        places = ["--config", str(config), "--data-dir", str(tmp_path / "none")]
        assert main([*command.split(), *places]) in (0, 1), command  # 1: it is not placed
        shown = capsys.readouterr()
        assert says in shown.out, command
        assert url.password not in shown.out + shown.err


async def make_refused_workload(client: HubClient, name: str) -> str:
    """Makes a workload that no site can take; returns the id of its recorded decision."""
    body = {
        "apiVersion": WORKLOADS.api_version,
        "kind": WORKLOADS.kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"demand": {"replicas": 1}},
    }
    await client.create(WORKLOADS, body)
    async with asyncio.timeout(60):
        while True:
            status = (await client.get(WORKLOADS, name, "default")).get("status") or {}
            if decision := status.get("decision"):
                return str(decision["id"])
            await CLOCK.sleep(0.05)


async def test_a_second_replica_that_shares_not_all_refuses_to_stand_by_by_name(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url, other_url, port = postgres.new_database(), postgres.new_database(), free_port()
    async with AsyncExitStack() as stack, two_schedulers(tmp_path, url, port, stack) as pair:
        first = pair.start("first")
        await first.is_ready.wait()
        other_key = tmp_path / "other.key"
        other_key.write_bytes(bytes(32))
        other_key.chmod(0o440)
        password = str(pair.settings["ledger"]["password_file"])
        variants: dict[str, dict[str, dict[str, object]]] = {
            "file": {"ledger": {}},
            "database": {"ledger": {"url": str(other_url), "password_file": password}},
            "key": {"hub": {"signing_key_file": str(other_key)}},
            "own": {"hub": {}},
        }
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(pair.refusal_of(name, **groups))
                for name, groups in variants.items()
            ]
        texts = [task.result() for task in tasks]
        assert "keeps its ledger in a file" in texts[0]
        assert "ledger.url" in texts[0]
        assert "ledger.url of this scheduler names the ledger" in texts[1]
        assert "agents refuse orders" in texts[2]
        assert "hub.signing_key_secret" in texts[2]
        assert "give all replicas one key" in texts[3]
        assert first.is_ready.is_set()
        assert not first.task.done()
        first.task.cancel()


def _is_ready(site: dict[str, object]) -> bool:
    status = site.get("status")
    conditions = status.get("conditions", []) if isinstance(status, dict) else []
    return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)
