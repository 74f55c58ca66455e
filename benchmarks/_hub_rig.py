"""The processes of the hub benchmark: hub, broker, schedulers and sites, each one of its own."""

import asyncio
import json
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from agents.protocol.keys import SigningKey
from benchmarks._load_sites import HeldOrder, LoadPlan, SitePlan
from scheduler.runtime.data_dir import WEB_SERVER_FILE
from scheduler.runtime.parent_death import command_tied_to_parent

_HERE = Path(__file__).resolve().parents[1]
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.05


@dataclass(slots=True)
class SchedulerProcess:
    """One `kapok up`, on a data directory and settings of its own.

    Attributes:
        folder: holds the data directory, the settings and the log.
        settings: the settings, as JSON, which is YAML.
        ready: what it printed when it was ready.
    """

    folder: Path
    settings: dict[str, object]
    ready: dict[str, str] = field(default_factory=dict)
    _process: Process | None = None

    @property
    def key_file(self) -> Path:
        """The file with its signing key."""
        return self.folder / "data" / "hub.key"

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise ValueError("the scheduler does not run")
        return self._process.pid

    async def launch(self) -> None:
        """Starts the process; a key of the hub that lies in the folder is used."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "scheduler.yaml"
        config.write_text(json.dumps(self.settings))
        words = ["up", "--data-dir", str(self.folder / "data"), "--config", str(config)]
        command = [sys.executable, "-m", "scheduler.cli.entry", *words, "-o", "json"]
        with (self.folder / "up.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command_tied_to_parent(command), stdout=PIPE, stderr=log, cwd=_HERE
            )

    async def wait_until_ready(self) -> None:
        """Waits for the line that says where everything is reached.

        Raises:
            ValueError: the process has ended; the message holds the end of its log.
        """
        if self._process is None or self._process.stdout is None:
            raise ValueError("the scheduler does not run")
        line = await self._process.stdout.readline()
        if not line:
            raise ValueError(f"kapok up did not start: {self._log_tail()}")
        self.ready = json.loads(line)

    async def wait_until_open(self) -> None:
        """Waits until it has opened its files and asks for the lease, which another one holds.

        Raises:
            ValueError: the process has ended; the message holds the end of its log.
        """
        while not (self.folder / "data" / WEB_SERVER_FILE).exists():
            if self._process is None or self._process.returncode is not None:
                raise ValueError(f"kapok up did not start: {self._log_tail()}")
            await asyncio.sleep(_POLL_SECONDS)  # noqa: TID251 - a real process is waited for
        await asyncio.sleep(1.0)  # noqa: TID251 - see above: the file is written before the ledger

    def _log_tail(self) -> str:
        return (self.folder / "up.log").read_text(errors="replace")[-2000:]

    async def start(self) -> None:
        """Starts the process and waits until it is ready."""
        await self.launch()
        await self.wait_until_ready()

    async def end(self, *, is_killed: bool = False) -> None:
        """Ends the process by SIGTERM, or by SIGKILL."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            if is_killed:
                process.kill()
            else:
                process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    def cpu_seconds(self) -> float:
        """CPU time of the scheduler's own process until now."""
        return cpu_seconds_of(self.pid)

    def busy_seconds(self) -> float:
        """CPU time until now, and the time for which its main thread waited for a core.

        On a busy machine a process that has much to do gets little CPU, and would look idle.
        """
        return self.cpu_seconds() + _waited_seconds_of(self.pid)

    def own_resident_bytes(self) -> int:
        """Resident memory of the scheduler's own process."""
        return _resident_bytes_of(self.pid)

    def resident_bytes(self) -> int:
        """Resident memory of the scheduler, and of its hub where that is a child of it."""
        pids = [self.pid, *(pid for pid in _children_of(self.pid) if _is_hub(pid))]
        return sum(_resident_bytes_of(pid) for pid in pids)

    def has_hub_of_its_own(self) -> bool:
        """Whether the embedded hub is a child process."""
        return any(_is_hub(pid) for pid in _children_of(self.pid))


def cpu_seconds_of(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _waited_seconds_of(pid: int) -> float:
    """How long the main thread of a process was ready to run and did not; 0: not known."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    return 0.0


def _resident_bytes_of(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _children_of(pid: int) -> list[int]:
    return [
        int(word)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for word in (task / "children").read_text(encoding="ascii").split()
    ]


def _is_hub(pid: int) -> bool:
    with suppress(OSError):
        return b"hub_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@dataclass(frozen=True, slots=True)
class Sites:
    """The sites of one run: their keys, and the file with the arrivals of orders."""

    keys: dict[str, SigningKey]
    arrivals: Path

    def manifests(
        self, prefix: str, namespace: str, *, cheapest: str = ""
    ) -> list[dict[str, object]]:
        """Each Site with a wide grant, and a Tenant of the namespace.

        Args:
            prefix: of the tenant's name.
            namespace: of the tenant.
            cheapest: the site that costs least; "": all cost the same.
        """
        api = "kapok.dev/v1alpha1"
        found: list[dict[str, object]] = []
        for name, key in self.keys.items():
            site = {
                "tier": "edge",
                "location": {"province": "CN-GD", "city": "guangzhou", "metro": "guangzhou"},
                "energy": {"gridZone": "CN-GD", "pue": 1.3, "pueOrigin": "assumed"},
                "prices": {
                    "energyCnyPerKwh": 0.6,
                    "coreCnyPerHour": 0.01 if name == cheapest else 0.05,
                },
                "delivery": {"mode": "Pull", "agentKeys": [str(key.public)]},
            }
            grant = {
                "sites": [name],
                "dataClass": "general-3",
                "protectionLevel": 3,
                "networkZones": ["public-network"],
                "jurisdiction": "CN-GD",
                "authority": "benchmark",
                "document": "benchmark",
            }
            found += [
                {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}
                for kind, spec in (("Site", site), ("SiteGrant", grant))
            ]
        tenant = {"namespaces": [namespace]}
        found.append(
            {"apiVersion": api, "kind": "Tenant", "metadata": {"name": prefix}, "spec": tenant}
        )
        return found

    def without(self, name: str) -> tuple["Sites", "Sites"]:
        """One site alone and the others, each with a file for its arrivals."""
        lone = self.arrivals.with_name(f"{name}-arrivals")
        lone.touch()
        others = {each: key for each, key in self.keys.items() if each != name}
        return Sites({name: self.keys[name]}, lone), Sites(others, self.arrivals)

    def order_id_of(self, name: str) -> str:
        """The id of the order of a workload that has arrived at a site.

        Raises:
            ValueError: none has.
        """
        for line in self.arrivals.read_text(encoding="ascii").splitlines():
            order_id = line.partition(" ")[2]
            if order_id.split("/")[2] == name:
                return order_id
        raise ValueError(f"{name}: no site has an order of it")

    def arrival_times(self) -> dict[str, float]:
        """When the content of each workload's order first arrived at a site, by its name."""
        times: dict[str, float] = {}
        for line in self.arrivals.read_text(encoding="ascii").splitlines():
            at, _, order_id = line.partition(" ")
            times.setdefault(order_id.split("/")[2], float(at))
        return times


def make_sites(folder: Path, prefix: str, count: int) -> Sites:
    """Makes keys for so many sites."""
    arrivals = folder / f"{prefix}-arrivals"
    arrivals.touch()
    return Sites({f"{prefix}-{n}": SigningKey.generate() for n in range(count)}, arrivals)


@asynccontextmanager
async def playing(
    sites: Sites,
    folder: Path,
    *,
    broker: str,
    hub_keys: list[str],
    workloads: int,
    held: Mapping[str, Sequence[HeldOrder]],
    interval_seconds: float | None = None,
    said: Path | None = None,
) -> AsyncIterator[Process]:
    """Plays the sites in a process of their own; each could run all workloads at once.

    Args:
        sites: the sites.
        folder: for the plan and the log.
        broker: host:port.
        hub_keys: the public keys of the hub.
        workloads: so many each site has room for.
        held: the orders that each site runs from the beginning, by site.
        interval_seconds: the report interval that they state; None: none.
        said: the file for the times of their messages; None: none.
    """
    plan = LoadPlan(
        broker=broker,
        hub_keys=hub_keys,
        arrivals=str(sites.arrivals),
        said=str(said or ""),
        sites=[
            SitePlan(
                name=name,
                key=key.raw().hex(),
                nodes=max(10, workloads // 100),
                held=list(held.get(name, ())),
                interval_seconds=interval_seconds,
            )
            for name, key in sites.keys.items()
        ],
    )
    file = folder / f"{sites.arrivals.name}.json"
    file.write_bytes(msgspec.json.encode(plan))
    command = [sys.executable, "-m", "benchmarks._load_sites", str(file)]
    with (folder / "load-sites.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command_tied_to_parent(command), stdout=DEVNULL, stderr=log, cwd=_HERE
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def serving_api(folder: Path) -> AsyncIterator[Path]:
    """An embedded API server alone, in a process of its own; its kubeconfig.

    Raises:
        ValueError: it does not start.
    """
    command = [sys.executable, "-m", "scheduler.cli.entry", "serve-api", "--data-dir", str(folder)]
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    with (folder / "server.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command_tied_to_parent(command), stdout=PIPE, stderr=log, cwd=_HERE
        )
    try:
        while process.stdout and (line := await process.stdout.readline()).strip() != b"ready":
            if not line:
                raise ValueError(f"serve-api did not start: {(folder / 'server.log').read_text()}")
        yield folder / "kubeconfig"
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def free_port() -> int:
    """A port on 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
