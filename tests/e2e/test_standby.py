"""Two schedulers of one hub: the one that stands by asks the sites, and knows them later."""

import asyncio
import random
from collections.abc import AsyncIterator
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
from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.control.ports.hub import SITES
from scheduler.hub.client import open_hub
from scheduler.hub.crds.generate import make_crds
from scheduler.mqtt.broker import embedded_broker
from scheduler.runtime.clock import SystemClock
from scheduler.services import Endpoints
from scheduler.settings import settings_from
from tests.support.agent_listener import free_port, listening_hub

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

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


async def test_a_standby_asks_with_its_own_nonces_and_takes_over_what_it_knows(
    tmp_path: Path,
) -> None:
    key = SigningKey.generate()
    for name in ("broker", "agent"):
        (tmp_path / name).mkdir()
    async with AsyncExitStack() as stack:
        options = ApiServerOptions(data_dir=tmp_path / "hub", crds=make_crds(), name="hub")
        server = await stack.enter_async_context(serve(options))
        port = free_port()
        await stack.enter_async_context(embedded_broker(tmp_path / "broker", port, clock=CLOCK))
        client = await stack.enter_async_context(open_hub(server.kubeconfig_path))
        spec = {
            "tier": "edge",
            "location": {"province": "CN-GD", "city": "gz", "metro": "gz"},
            "delivery": {"mode": "Pull", "agentKeys": [str(key.public)]},
        }
        site = {"apiVersion": SITES.api_version, "kind": SITES.kind, "spec": spec}
        await client.create(SITES, {**site, "metadata": {"name": "site-a"}})
        settings = settings_from(
            {
                "hub": {"kubeconfig": str(server.kubeconfig_path)},
                "broker": {"host": "127.0.0.1", "port": port},
                "freshness": {"silent_after_seconds": 5.0, "hear_sites_seconds": 60.0},
            },
            source="test",
        )
        listener = await stack.enter_async_context(listening_hub(port, [key]))
        await stack.enter_async_context(running_agent(tmp_path / "agent", port, key))

        async with asyncio.TaskGroup() as group:

            def start(name: str) -> Scheduler:
                (tmp_path / name).mkdir(mode=0o700)
                path = tmp_path / name / "hub.key"
                path.write_bytes(SHARED.raw())
                path.chmod(0o600)
                ready = asyncio.Event()

                def on_ready(_: Endpoints) -> None:
                    ready.set()

                running = app.run(settings, tmp_path / name, on_ready=on_ready)
                return Scheduler(group.create_task(running, name=name), ready)

            first = start("first")
            await first.is_ready.wait()
            second = start("second")
            message = await listener.wait_for("report", lambda one: len(one.nonces or {}) == 2)
            await listener.wait_for("status", lambda one: len(one.nonces or {}) == 2)
            assert len(set(message.nonces.values())) == 2
            assert not second.is_ready.is_set()
            first.task.cancel()
            async with asyncio.timeout(30):
                await second.is_ready.wait()
                while not _is_ready(await client.get(SITES, "site-a")):
                    await CLOCK.sleep(0.1)
            second.task.cancel()


def _is_ready(site: dict[str, object]) -> bool:
    status = site.get("status")
    conditions = status.get("conditions", []) if isinstance(status, dict) else []
    return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)
