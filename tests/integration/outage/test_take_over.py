"""Two schedulers of one hub, as processes: one dies, stops for a while, or ends, and one leads."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from scheduler.control.ports.hub import WORKLOADS
from tests.support.postgres import PostgresServer
from tests.support.proxied_hub import (
    LEASE_SECONDS,
    ProxiedHub,
    SchedulerProcess,
    proxied_hub,
    until,
)

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(180)]

_SLACK_SECONDS = 10.0  # the machine of the tests may be busy; what is measured goes into the log


async def start_two(hub: ProxiedHub) -> tuple[SchedulerProcess, SchedulerProcess]:
    """One that leads and one that stands by, and a workload that runs."""
    first = hub.start_process("first")
    await until(first.leads)
    second = hub.start_process("second")
    await until(second.stands_by)
    await hub.create("w")
    await until(lambda: is_running(hub, "w"))
    return first, second


async def is_running(hub: ProxiedHub, name: str) -> bool:
    return (await hub.status(name)).get("phase") == "Running"


async def has_epoch(hub: ProxiedHub, epoch: int) -> bool:
    return await hub.lease_epoch() == epoch


async def test_after_kill_9_another_one_leads_when_the_lease_is_over(
    tmp_path: Path, server: Path | None, postgres: PostgresServer
) -> None:
    async with proxied_hub(tmp_path, server=server, ledger=postgres.new_database()) as hub:
        first, _ = await start_two(hub)
        before = await hub.client.get(WORKLOADS, "w", "default")
        epoch = await hub.lease_epoch()
        first.process.kill()
        began = time.monotonic()
        await until(lambda: has_epoch(hub, epoch + 1))
        taken = time.monotonic() - began
        await hub.create("new")
        await until(lambda: hub.is_placed("new"))
        assert taken < LEASE_SECONDS + 1 + _SLACK_SECONDS
        assert await hub.client.get(WORKLOADS, "w", "default") == before, "nothing has changed"


async def test_a_leader_that_ends_releases_the_lease(
    tmp_path: Path, server: Path | None, postgres: PostgresServer
) -> None:
    async with proxied_hub(tmp_path, server=server, ledger=postgres.new_database()) as hub:
        first, _ = await start_two(hub)
        epoch = await hub.lease_epoch()
        first.process.terminate()
        assert await asyncio.to_thread(first.process.wait, 20) == 0
        began = time.monotonic()
        await until(lambda: has_epoch(hub, epoch + 1))
        assert time.monotonic() - began < 1 + _SLACK_SECONDS


async def test_a_leader_that_stood_still_writes_nothing_late_and_stands_by(
    tmp_path: Path, server: Path | None, postgres: PostgresServer
) -> None:
    async with proxied_hub(tmp_path, server=server, ledger=postgres.new_database()) as hub:
        first, second = await start_two(hub)
        epoch = await hub.lease_epoch()
        hub.site.is_ready = False  # the leader has something to write when it wakes up
        first.process.send_signal(signal.SIGSTOP)
        await until(lambda: has_epoch(hub, epoch + 1))
        await until(second.leads)
        hub.site.is_ready = True
        await hub.create("new")
        await until(lambda: is_running(hub, "new"))
        await until(lambda: is_running(hub, "w"))
        before = (await hub.client.list(WORKLOADS)).items
        first.process.send_signal(signal.SIGCONT)
        await until(first.stands_by)
        assert (await hub.client.list(WORKLOADS)).items == before
        assert await second.leads()
        assert first.process.poll() is None
