"""One site with a cluster on a bad day: killed, out of disk, without a disk, at a wrong time.

After each the cluster holds exactly what the hub wants, without help: no object is lost or left, no
job has run twice, and the energy totals have only grown. All are long; `test_links.py` has what
the gate runs.
"""

import asyncio
import datetime as dt
import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agents.member.access import from_kubeconfig
from agents.member.api import MemberApi
from agents.protocol.orders import OrderContent
from agents.runtime.clock import AgentSystemClock
from tests.support.bad_day_hub import BadDayHub
from tests.support.broker_house import PORT, BrokerHouse, broker_house, can_make_namespaces
from tests.support.member_clusters import api_servers
from tests.support.wire_hub import WireHub, config_map, job

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not can_make_namespaces(), reason="needs root, iproute2 and mosquitto"),
]

CLOCK = AgentSystemClock()
SITE = "site-a"
WORKLOADS = 6
SETTLE_SECONDS = 90.0


def wanted(version: int) -> Callable[[WireHub], list[OrderContent]]:
    """The orders of a version: each has a job that runs once, and settings that change."""

    def make(hub: WireHub) -> list[OrderContent]:
        return [
            hub.content(f"c{n}", config_map(version=f"{version}"), job(), generation=version)
            for n in range(WORKLOADS)
        ]

    return make


@dataclass
class City:
    """The site, the hub and the broker.

    Attributes:
        house: the broker.
        hub: the hub.
        member: the cluster of the site.
        folder: of the agent's settings and log.
        kubeconfig: of the cluster.
        version: what the hub wants.
        job_uids: the jobs that were ever seen, by namespace.
    """

    house: BrokerHouse
    hub: BadDayHub
    member: MemberApi
    folder: Path
    kubeconfig: Path
    version: int = 0
    job_uids: dict[str, set[str]] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    async def change(self) -> None:
        """The hub wants a new version of everything."""
        self.version += 1
        self.hub.want(wanted(self.version))
        await self.hub.publish_wanted()

    def look(self) -> None:
        """Keeps which jobs there are."""
        for tree in self.member.list_mapped("/apis/batch/v1/jobs", None, lambda one: one):
            names = tree["metadata"]
            self.job_uids.setdefault(names["namespace"], set()).add(names["uid"])

    async def settles(
        self, *, within_seconds: float = SETTLE_SECONDS, checks_energy: bool = True
    ) -> None:
        """Waits until the cluster holds exactly what is wanted, and checks the promises."""
        await self.hub.converges(within_seconds=within_seconds, orders=WORKLOADS)
        async with asyncio.timeout(within_seconds):
            while self.versions() != {f"c{n}": f"{self.version}" for n in range(WORKLOADS)}:
                await CLOCK.sleep(0.2)
        self.look()
        assert all(len(uids) == 1 for uids in self.job_uids.values()), self.job_uids
        for seen in self.hub.energy.values() if checks_energy else ():
            assert [one[2] for one in sorted(seen)] == sorted(one[2] for one in seen)

    def versions(self) -> dict[str, str]:
        """The version of the settings in each namespace of ours."""
        trees = self.member.list_mapped("/api/v1/configmaps", None, lambda one: one)
        return {
            one["metadata"]["namespace"]: one["data"]["version"]
            for one in trees
            if one["metadata"]["name"] == "settings"
        }

    def write_settings(
        self, name: str = "agent", data: Path | None = None, *, has_cluster: bool = True
    ) -> Path:
        folder = data or self.data
        folder.mkdir(mode=0o700, exist_ok=True)
        key = folder / "agent.key"
        if not key.exists():
            key.write_bytes(self.hub.agent_key.raw())
            key.chmod(0o600)
        papers = self.house.folder
        tree: dict[str, Any] = {
            "site": SITE,
            "data_dir": str(folder),
            "hub_keys": [str(self.hub.key.public)],
            "static": {"power_watts": 1000.0},
            "broker": {
                "host": self.house.for_sites.host,
                "port": PORT,
                "tls_ca_file": str(papers / "ca.crt"),
                "tls_certificate_file": str(papers / f"{SITE}.crt"),
                "tls_key_file": str(papers / f"{SITE}.key"),
            },
            "report": {"interval_seconds": 0.5, "status_interval_seconds": 0.5},
            "cluster": {
                "source": "kubeconfig",
                "kubeconfig": str(self.kubeconfig),
                "resync_seconds": 0.5,
                "lease_seconds": 2,
            },
        }
        if not has_cluster:
            del tree["cluster"]
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(tree))
        return path

    @asynccontextmanager
    async def agent(
        self, config: Path | None = None, *, prefix: tuple[str, ...] = ()
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """One agent process; killed at the end, as a power cut would."""
        path = config or self.write_settings()
        with (self.folder / "agent.log").open("a") as log:
            process = await asyncio.create_subprocess_exec(
                *prefix, sys.executable, "-m", "agents.cli", "--config", str(path), stderr=log
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with api_servers(tmp_path_factory.mktemp("member"), "m1") as [path]:
        yield path


@pytest.fixture
async def city(tmp_path: Path, kubeconfig: Path) -> AsyncIterator[City]:
    (tmp_path / "broker").mkdir()
    member = MemberApi(from_kubeconfig(kubeconfig))
    with broker_house(tmp_path / "broker", [SITE, "site-b"]) as house:
        hub = BadDayHub(house.for_hub, [SITE])
        one = City(house, hub, member, tmp_path, kubeconfig)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(hub.run())
            await one.change()
            yield one
            task.cancel()
    for number in range(WORKLOADS):
        member.delete(f"/api/v1/namespaces/c{number}")
    async with asyncio.timeout(60):
        while member.list_mapped("/apis/batch/v1/jobs", None, lambda tree: tree):
            await CLOCK.sleep(0.1)
    member.close()


async def test_an_agent_killed_a_hundred_times_under_load_loses_and_doubles_nothing(
    city: City,
) -> None:
    chance = random.Random(17)  # noqa: S311 - when to kill
    began = CLOCK.monotonic()
    async with city.agent(), asyncio.timeout(SETTLE_SECONDS):
        while SITE not in city.hub.heard_at:
            await CLOCK.sleep(0.05)
    start_seconds = CLOCK.monotonic() - began  # what this machine needs, busy as it is
    for number in range(100):
        if number % 3 == 0:
            await city.change()
        async with city.agent():
            await CLOCK.sleep(start_seconds * (0.2 + 1.6 * chance.random()))
        city.look()
    async with city.agent():
        await city.settles()
    boots = {boot for seen in city.hub.energy.values() for boot, _, _ in seen}
    assert len(boots) > 20, "most were killed before they had said anything"


async def test_a_full_disk_stops_changes_and_space_brings_them(city: City) -> None:
    city.data.mkdir(mode=0o700)
    with mounted(city.data, "2m"):
        async with city.agent():
            await city.settles()
            filler = city.data / "filler"
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(b"x" * 4096):
                    pass
            before = city.versions()
            await city.change()
            await CLOCK.sleep(5)
            assert city.versions() == before, "what cannot be remembered is not done"
            filler.unlink()
            await city.settles()


async def test_a_lost_disk_loses_no_order_and_runs_no_job_again(city: City) -> None:
    async with city.agent():
        await city.settles()
    shutil.rmtree(city.data)
    await city.change()
    async with city.agent():
        await city.settles()


async def test_files_cut_short_are_named_or_made_again(city: City) -> None:
    async with city.agent():
        await city.settles()
    for path in sorted(one for one in city.data.iterdir() if one.is_file()):
        kept = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(len(kept) // 2)
        await city.change()
        async with city.agent() as process:
            await CLOCK.sleep(4)
            if process.returncode is None:
                await city.settles()
                continue
        said = (city.folder / "agent.log").read_text()
        assert process.returncode in (1, 2), said[-2000:]
        assert path.name in said, f"{path.name} is not named: {said[-2000:]}"
        path.write_bytes(kept)
    async with city.agent():
        await city.settles()


@pytest.mark.skipif(not shutil.which("faketime"), reason="needs the package faketime")
async def test_a_clock_that_is_a_day_off_changes_nothing(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    monkeypatch.setenv("DONT_FAKE_MONOTONIC", "1")
    async with city.agent():
        await city.settles()
    await city.change()
    async with city.agent(prefix=("faketime", "-f", "+1d")):
        await city.settles()
        await city.change()
        await city.settles()
    await city.change()
    # The cluster's certificate is of today, so that yesterday's agent is tried without the cluster.
    config = city.write_settings(has_cluster=False)
    async with city.agent(config, prefix=("faketime", "-f", "-1d")):
        await city.hub.converges(within_seconds=SETTLE_SECONDS, orders=WORKLOADS)
    await city.change()
    async with city.agent():
        await city.settles()


async def test_a_certificate_that_ends_during_the_run_is_taken_again_when_renewed(
    city: City,
) -> None:
    city.house.authority.issue(SITE, life=dt.timedelta(seconds=8))
    async with city.agent() as process:
        await city.settles()
        await CLOCK.sleep(9)
        await city.change()
        await city.settles()  # a session outlives the certificate that opened it
        city.house.restart(None)
        await CLOCK.sleep(4)
        heard = city.hub.heard_at[SITE]
        await CLOCK.sleep(3)
        assert city.hub.heard_at[SITE] == heard, "nobody enters with a certificate that has ended"
        city.house.authority.issue(SITE, life=dt.timedelta(hours=1))
        await city.change()
        await city.settles()
        assert process.returncode is None


async def test_a_broker_that_accepts_and_says_nothing_is_left_for_one_that_speaks(
    city: City,
) -> None:
    async with city.agent() as process:
        await city.settles()
        city.house.signal(signal.SIGSTOP)
        await CLOCK.sleep(75)
        city.house.signal(signal.SIGCONT)
        await city.change()
        await city.settles()
        assert process.returncode is None


async def test_two_agents_with_one_identity_do_nothing_twice(city: City) -> None:
    async with city.agent():
        await city.settles()
    copy = city.folder / "copy"
    shutil.copytree(city.data, copy)
    async with city.agent(), city.agent(city.write_settings("copy", copy)):
        for _ in range(5):
            await city.change()
            await CLOCK.sleep(6)
            city.look()
    async with city.agent():
        # Two copies of one disk count energy under one counter; which is right is not known.
        await city.settles(checks_energy=False)


async def test_an_agent_with_the_name_of_another_site_moves_nothing(city: City) -> None:
    """It has the certificate of site-b, and says that it is site-a."""
    async with city.agent():
        await city.settles()
    path = city.write_settings("thief", city.folder / "thief")
    text = (
        path.read_text().replace(f"{SITE}.crt", "site-b.crt").replace(f"{SITE}.key", "site-b.key")
    )
    path.write_text(text)
    await city.change()
    heard = dict(city.hub.heard_at)
    async with city.agent(path):
        await CLOCK.sleep(6)
    assert city.hub.heard_at == heard
    assert set(city.versions().values()) == {f"{city.version - 1}"}
    async with city.agent():
        await city.settles()


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """A small disk of its own on a folder."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(folder)]
    subprocess.run(command, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 - on PATH
