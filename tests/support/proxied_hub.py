"""Schedulers in this process against a real API server behind a proxy that injects faults.

The API server and the broker are those of `kapok up`; a site at the level of messages runs what it
is ordered. A test sets the proxy's faults and asks what the scheduler's own pages say.
"""

import asyncio
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from agents.protocol.keys import SigningKey
from scheduler import app
from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.control.leader_election import EPOCH_ANNOTATION, LEASE_NAME
from scheduler.control.ports.hub import (
    GRANTS,
    LEASES,
    NAMESPACE,
    SITES,
    TENANTS,
    WORKLOADS,
    Conflict,
    NotFound,
    Object,
)
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub.crds.generate import make_crds
from scheduler.hub_process.options import EPOCH_FENCE
from scheduler.ledger.storage.postgres_url import PostgresUrl
from scheduler.mqtt.broker import EmbeddedBroker, embedded_broker
from scheduler.runtime.clock import SystemClock
from scheduler.services import Endpoints
from scheduler.settings import settings_from
from tests.support.api_client import Client
from tests.support.api_proxy import Proxy, api_proxy
from tests.support.ports import free_port
from tests.support.real_hub import prepared, scheduler_token
from tests.support.scripted_site import ScriptedSite, running_sites

CLOCK = SystemClock()
KEY = SigningKey(bytes(range(32)))
LEASE_SECONDS = 6
"""Twice the shortest that settings accept: a third is what a request may take on a busy machine."""
ROOT = Path(__file__).resolve().parents[2]
_BY_KIND = {one.kind: one for one in (SITES, GRANTS, TENANTS, WORKLOADS)}


def workload(name: str) -> Object:
    """A small workload that any site takes."""
    return {
        "apiVersion": WORKLOADS.api_version,
        "kind": WORKLOADS.kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "dataClass": "general-2",
            "protectionLevel": 2,
            "networkZones": ["public-network"],
            "demand": {"replicas": 1, "requests": {"cpu": "100m", "memory": "64Mi"}},
        },
    }


@dataclass(slots=True)
class Pages:
    """The pages of one scheduler.

    Attributes:
        web_port: where they are.
    """

    web_port: int

    async def page(self, path: str) -> str:
        """The text of a page, whatever its status; "" if nobody answers."""
        return await asyncio.to_thread(self._read, f"http://127.0.0.1:{self.web_port}/{path}")

    @staticmethod
    def _read(url: str) -> str:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - loopback
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()
        except OSError:
            return ""

    async def metric(self, series: str) -> float:
        """The value of a series, written as in the exposition text."""
        for line in (await self.page("metrics")).splitlines():
            if line.startswith(f"{series} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    async def leads(self) -> bool:
        """Whether it holds the lease."""
        return await self.metric("kapok_leader") == 1

    async def stands_by(self) -> bool:
        """Whether it waits for the lease of another scheduler."""
        return "waiting for the lease, held by" in await self.page("readyz")


@dataclass(slots=True)
class Scheduler(Pages):
    """One `kapok up`, as a task.

    Attributes:
        task: ends only if the scheduler does.
        is_ready: it has printed that it is up.
    """

    task: asyncio.Task[None]
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class SchedulerProcess(Pages):
    """One `kapok up`, as a process.

    Attributes:
        process: the process.
    """

    process: subprocess.Popen[bytes]

    def end(self) -> None:
        """Kills it, also if it is stopped."""
        self.process.kill()
        self.process.wait(timeout=60)


@dataclass(slots=True)
class ProxiedHub:
    """The hub, and what surrounds it.

    Attributes:
        folder: for data directories.
        client: goes to the API server directly.
        proxy: where the schedulers reach it.
        broker_port: the broker's.
        site: an admitted site that takes work.
        group: runs the schedulers.
        ledger: which all schedulers share; None: each has its own file, as one scheduler may.
        broker: the broker, which a test may stop and start.
        lease_seconds: of the schedulers' settings; longer where a test waits for no take-over.
        more_settings: groups of settings that take the place of those of `settings`.
        schedulers: all that were started as tasks.
        processes: all that were started as processes.
    """

    folder: Path
    client: HubClient
    proxy: Proxy
    broker_port: int
    site: ScriptedSite
    group: asyncio.TaskGroup
    ledger: PostgresUrl | None = None
    broker: EmbeddedBroker | None = None
    lease_seconds: int = LEASE_SECONDS
    more_settings: dict[str, Any] = field(default_factory=dict)
    schedulers: list[Scheduler] = field(default_factory=list)
    processes: list[SchedulerProcess] = field(default_factory=list)

    def settings(self, kubeconfig: Path, web_port: int) -> dict[str, Any]:
        """Settings with a short lease, as in a file."""
        shared: dict[str, Any] = {}
        if self.ledger is not None:
            password = self.folder / "ledger-password"
            password.write_text(f"{self.ledger.password}\n")
            password.chmod(0o600)
            shared = {"ledger": {"url": str(self.ledger), "password_file": str(password)}}
        return {
            **shared,
            "hub": {"kubeconfig": str(kubeconfig), "lease_seconds": self.lease_seconds},
            "broker": {"host": "127.0.0.1", "port": self.broker_port},
            "web": {"port": web_port},
            "freshness": {"hear_sites_seconds": 3.0, "site_status_seconds": 1.0},
            "queue": {"last_backoff_seconds": 1.0},
            **self.more_settings,
        }

    def start(self, name: str = "one", *, kubeconfig: Path | None = None) -> Scheduler:
        """Starts a scheduler with a data directory of that name."""
        path, port = self._data_directory(name), free_port()
        ready = asyncio.Event()

        def on_ready(_: Endpoints) -> None:
            ready.set()

        raw = self.settings(kubeconfig or self.proxy.kubeconfig, port)
        settings = settings_from(raw, source="test")
        running = app.run(settings, path, on_ready=on_ready)
        started = Scheduler(port, self.group.create_task(running, name=name), ready)
        self.schedulers.append(started)
        return started

    def start_process(self, name: str) -> SchedulerProcess:
        """Starts a scheduler as a process of its own."""
        path, port = self._data_directory(name), free_port()
        config = self.folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump(self.settings(self.proxy.kubeconfig, port)))
        command = [sys.executable, "-m", "scheduler.cli.entry", "up", "--data-dir", str(path)]
        with (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [*command, "--config", str(config)], stdout=log, stderr=log, cwd=ROOT
            )
        started = SchedulerProcess(port, process)
        self.processes.append(started)
        return started

    def _data_directory(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            path.mkdir(mode=0o700)
            (path / "hub.key").write_bytes(KEY.raw())
            (path / "hub.key").chmod(0o600)
        return path

    async def admit(self, *sites: ScriptedSite) -> None:
        """Creates the Sites, their grants and the Tenant of the tests."""
        for site in sites:
            for body in yaml.safe_load_all(site.manifest):
                if body:
                    with suppress(Conflict):  # the Tenant is the same of all sites
                        await self.client.create(_BY_KIND[body["kind"]], body)

    async def create(self, name: str) -> None:
        """Creates a workload at the API server, past the proxy."""
        await self.client.create(WORKLOADS, workload(name))

    async def status(self, name: str) -> dict[str, Any]:
        """The status of a workload; {} before it has one."""
        found: dict[str, Any] = (await self.client.get(WORKLOADS, name, "default")).get(
            "status"
        ) or {}
        return found

    async def is_placed(self, name: str) -> bool:
        """Whether a workload is ordered or runs."""
        return (await self.status(name)).get("phase") in ("Placed", "Running")

    async def lease_epoch(self) -> int:
        """The epoch that the Lease notes."""
        lease = await self.client.get(LEASES, LEASE_NAME, NAMESPACE)
        return int(lease["metadata"]["annotations"][EPOCH_ANNOTATION])

    async def holder(self) -> str:
        """Who holds the Lease; "" if nobody."""
        try:
            lease = await self.client.get(LEASES, LEASE_NAME, NAMESPACE)
        except NotFound:
            return ""
        return str(lease["spec"].get("holderIdentity") or "")


async def until(probe: Callable[[], Any], *, within_seconds: float = 60.0) -> Any:  # noqa: ANN401 - what was looked for
    """Waits until an awaitable probe gives a true value, and returns that."""
    found: Any = None
    try:
        async with asyncio.timeout(within_seconds):
            while not (found := await probe()):
                await CLOCK.sleep(0.03)
    except TimeoutError:
        raise AssertionError(f"not within {within_seconds} s; last seen: {found!r}") from None
    return found


@asynccontextmanager
async def proxied_hub(
    folder: Path,
    *,
    is_fenced: bool = True,
    ledger: PostgresUrl | None = None,
    server: Path | None = None,
) -> AsyncIterator[ProxiedHub]:
    """A hub with one site; all schedulers that a test has started are stopped at the end.

    Args:
        folder: for all files.
        is_fenced: whether the hub refuses statuses below the epoch of the Lease.
        ledger: which the schedulers share, where there is more than one.
        server: the kubeconfig of a real API server; None: an embedded one.
    """
    async with AsyncExitStack() as stack:
        for name in ("broker", "proxy"):
            (folder / name).mkdir()
        if server is None:
            embedded = _embedded_hub(folder / "hub", is_fenced=is_fenced)
            kubeconfig = await stack.enter_async_context(embedded)
        else:
            kubeconfig = server
        port = free_port()
        broker = await stack.enter_async_context(
            embedded_broker(folder / "broker", port, clock=CLOCK)
        )
        client = await stack.enter_async_context(open_hub(kubeconfig))
        if server is not None:
            await stack.enter_async_context(prepared(client, server, is_fenced=is_fenced))
        site = ScriptedSite("site-a", f"127.0.0.1:{port}", str(KEY.public), nodes=8, cpu="64")
        stack.enter_context(running_sites(site))
        upstream = Client.of(kubeconfig)
        if server is not None:
            upstream.headers = {"Authorization": f"Bearer {scheduler_token(server)}"}
        proxy = stack.enter_context(api_proxy(upstream, folder / "proxy"))
        async with asyncio.TaskGroup() as group:
            hub = ProxiedHub(folder, client, proxy, port, site, group, ledger, broker)
            await hub.admit(site)
            try:
                yield hub
            finally:
                for process in hub.processes:
                    process.end()
            proxy.faults.clear()
            for one in hub.schedulers:
                one.task.cancel()


@asynccontextmanager
async def _embedded_hub(folder: Path, *, is_fenced: bool) -> AsyncIterator[Path]:
    """The API server of `kapok up`; its kubeconfig."""
    checks = {WORKLOADS.kind: EPOCH_FENCE} if is_fenced else {}
    options = ApiServerOptions(data_dir=folder, crds=make_crds(), name="hub", status_checks=checks)
    async with serve(options) as running:
        yield running.kubeconfig_path
