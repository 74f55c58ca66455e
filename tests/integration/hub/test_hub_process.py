"""The embedded hub as a process of its own: restarted, named, and never left behind."""

import asyncio
import logging
import os
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from scheduler.apiserver.base.errors import DamagedFile
from scheduler.apiserver.storage.sqlite import DataDirectoryInUse
from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACES, Busy
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub_process.launch import child_launched_early
from scheduler.hub_process.messages import HubPlan
from scheduler.hub_process.supervisor import HubProcess, running_hub, socket_path_in
from scheduler.runtime.clock import SystemClock
from tests.support.up import ROOT, Up, eventually, running_up

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
CLOCK = SystemClock()


def plan_of(folder: Path) -> HubPlan:
    return HubPlan(
        data_dir=str(folder),
        socket_path=str(socket_path_in(folder) or ""),
        port=0,
        max_objects=1000,
        max_bytes=10_000_000,
        log_level=logging.INFO,
    )


@dataclass
class Hub:
    """A running hub, with a client on its socket and one on its port."""

    process: HubProcess
    folder: Path
    local: HubClient
    remote: HubClient
    faults: list[str] = field(default_factory=list)


@asynccontextmanager
async def hub_in(folder: Path) -> AsyncIterator[Hub]:
    faults: list[str] = []
    kubeconfig, socket_path = folder / "kubeconfig", folder / "api.sock"
    async with (
        running_hub(plan_of(folder), clock=CLOCK, on_fault=faults.append) as process,
        open_hub(kubeconfig, socket_path=socket_path) as local,
        open_hub(kubeconfig) as remote,
    ):
        yield Hub(process, folder, local, remote, faults)


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose path is short enough for a socket."""
    return tmp_path_factory.mktemp("h")


def config_map(name: str) -> dict[str, object]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}


def readyz(up: Up) -> str:
    try:
        with urllib.request.urlopen(up.ready["page"] + "readyz", timeout=60) as answer:  # noqa: S310 - our own
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return str(error.read().decode())


async def until_served(client: HubClient, name: str) -> dict[str, object]:
    async with asyncio.timeout(60):
        while True:
            try:
                return await client.get(CONFIG_MAPS, name, "default")
            except Busy:
                await CLOCK.sleep(0.05)


async def client_serves(client: HubClient) -> None:
    """Waits until a server answers."""
    while True:
        try:
            await client.get(NAMESPACES, "default")
        except Busy:
            await CLOCK.sleep(0.05)
        else:
            return


async def test_a_killed_hub_is_started_again_with_its_objects_and_its_port(
    short: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with hub_in(short) as hub:
        assert hub.local.address == hub.remote.address
        assert stat.S_IMODE((short / "api.sock").stat().st_mode) == 0o600
        made = await hub.local.create(CONFIG_MAPS, config_map("kept"))
        first = hub.process.pid
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(60):
            while not hub.process.problem:
                await CLOCK.sleep(0.01)
        assert hub.process.problem == "the process of the embedded hub ended with signal 9"
        for client in (hub.local, hub.remote):
            assert await until_served(client, "kept") == made
        assert hub.process.pid not in {0, first}
        assert hub.process.problem == ""
        assert "ended with signal 9; starting it again in 0.2 s" in caplog.text
    assert hub.process.pid == 0
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


@pytest.mark.parametrize("damage", ["removed", "another file", "closed to all"])
async def test_the_socket_is_made_again_when_its_file_is_not_the_one_it_made(
    short: Path, damage: str
) -> None:
    async with hub_in(short) as hub:
        made = await hub.local.create(CONFIG_MAPS, config_map("kept"))
        path, first = short / "api.sock", hub.process.pid
        if damage == "closed to all":
            path.chmod(0)
        else:
            path.unlink()
        if damage == "another file":
            path.write_text("not a socket")
        async with open_hub(short / "kubeconfig", socket_path=path) as newcomer:
            assert await until_served(newcomer, "kept") == made
        async with asyncio.timeout(60):
            while not (path.exists() and stat.S_IMODE(path.stat().st_mode) == 0o600):
                await CLOCK.sleep(0.05)
        assert await until_served(hub.local, "kept") == made
        assert hub.process.pid == first


async def test_its_log_is_in_the_log_of_the_scheduler(
    short: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with hub_in(short):
        pass
    [line] = [one for one in caplog.records if one.name == "scheduler.apiserver.server"]
    assert "serving the Kubernetes API at https://127.0.0.1:" in line.getMessage()


async def test_a_hub_that_cannot_start_says_why(short: Path) -> None:
    (short / "objects.db").write_text("no database at all, but longer than a header " * 40)
    with pytest.raises(DamagedFile, match=r"objects\.db"):
        async with running_hub(plan_of(short), clock=CLOCK, on_fault=print):
            raise AssertionError("it must not start")


async def test_a_second_hub_on_the_same_directory_is_refused(short: Path) -> None:
    async with hub_in(short):
        plan = msgspec.structs.replace(plan_of(short), lock_seconds=0.0)
        with pytest.raises(DataDirectoryInUse, match="another API server"):
            async with running_hub(plan, clock=CLOCK, on_fault=print):
                raise AssertionError("it must not start")


async def test_a_process_that_was_started_early_becomes_the_hub(short: Path) -> None:
    async with child_launched_early() as child:
        assert not list(short.iterdir())  # noqa: ASYNC240 - a small folder
        plan = plan_of(short)
        async with running_hub(plan, clock=CLOCK, on_fault=print, early=child) as hub:
            assert hub.pid == child.process.pid
            os.kill(hub.pid, signal.SIGKILL)
            async with open_hub(short / "kubeconfig") as client, asyncio.timeout(60):
                while hub.pid in {0, child.process.pid}:
                    await CLOCK.sleep(0.05)
                await client_serves(client)


async def test_a_process_that_gets_no_plan_ends_without_a_file(short: Path) -> None:
    async with child_launched_early() as child:
        pass
    assert child.process.returncode == -signal.SIGTERM
    assert not list(short.iterdir())  # noqa: ASYNC240 - a small folder


async def test_a_process_that_was_killed_before_its_plan_says_so(short: Path) -> None:
    async with child_launched_early() as child:
        child.process.kill()
        await child.process.wait()
        with pytest.raises(OSError, match="ended during its start"):
            async with running_hub(plan_of(short), clock=CLOCK, on_fault=print, early=child):
                raise AssertionError("it must not start")


def test_a_path_too_long_for_a_socket_leaves_the_port(tmp_path: Path) -> None:
    assert socket_path_in(tmp_path / ("x" * 120)) is None
    assert socket_path_in(Path("/var/lib/kapok/hub")) == Path("/var/lib/kapok/hub/api.sock")


def test_no_hub_outlives_a_scheduler_that_is_killed(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        hub = up.hub_pid
        up.kill()
        eventually(lambda: not Path(f"/proc/{hub}").exists(), within_seconds=60)
        up.start()
        assert up.hub_pid != hub


def test_readyz_names_a_hub_that_does_not_run(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        os.kill(up.hub_pid, signal.SIGKILL)
        problem = "the process of the embedded hub ended with signal 9"
        eventually(lambda: problem in readyz(up), pause_seconds=0.02)
        eventually(lambda: f"{problem}; starting it again" in up.log)
        eventually(lambda: up.kubectl("get", "namespaces", check=False).count("Active") >= 4)


def test_the_process_ends_when_its_parent_is_not_the_one_it_was_started_by(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scheduler.hub_process.child", "1", "{}"]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode != 0
    assert not list(tmp_path.iterdir())
