"""One client floods the broker while another site's workloads are placed, against `kapok up`.

A `kapok up` of its own, two scripted sites that report ten times a second, and a third, admitted
site whose key floods the broker from a process of its own. Meanwhile workloads are applied to the
victim's site one after the other; each is timed from its creation until the hub shows that the
site has acknowledged the order and runs it. A site is silent after 4 s here, not after 45.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from agents.protocol.keys import SigningKey
from benchmarks._flood_sender import CASES, FLOODER
from benchmarks._watched_up import STALLS_FILE
from scheduler.control.ports.hub import WORKLOADS
from scheduler.hub.client import HubClient, open_hub
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import Up, eventually

_VICTIM, _BYSTANDER = "victim", "bystander"
_POLL_SECONDS = 0.01
_GIVE_UP_SECONDS = 60.0
_SETTLE_SECONDS = 2.0
_HUGE_PER_SECOND = 100.0
_MIB = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument(
        "--rate", type=float, default=5000.0, help="messages a second (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="length of a flood (default: %(default)s)"
    )
    parser.add_argument(
        "--case", choices=["none", *CASES], action="append", help="only this case; may be repeated"
    )


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row per case; `none` is the same without a flood."""
    cases = arguments.case or ["none", *CASES]
    return [_row(case, arguments.rate, arguments.seconds) for case in cases]


def _row(case: str, rate: float, seconds: float) -> dict[str, object]:
    if case == "huge messages":
        rate = min(rate, _HUGE_PER_SECOND)
    with tempfile.TemporaryDirectory() as folder, _running(Path(folder)) as bench:
        with _sender(case, bench, rate, seconds) as start:
            before = bench.sample()
            asyncio.run(bench.measure(start, seconds))
        return {
            "case": case,
            "messages_per_second": 0 if case == "none" else round(start.sent / seconds),
            "workloads": len(bench.delays),
            "victim_p50_seconds": _quantile(bench.delays, 0.5),
            "victim_p99_seconds": _quantile(bench.delays, 0.99),
            "readiness_flips": bench.flips,
            "rss_growth_mib": round((bench.peak.hub - before.hub) / _MIB, 1),
            "rss_growth_after_mib": round((bench.sample().hub - before.hub) / _MIB, 1),
            "broker_growth_mib": round((bench.peak.broker - before.broker) / _MIB, 1),
            "hub_cpu_ratio": round(bench.cpu_ratio, 2),
            "longest_stall_ms": bench.longest_stall_ms(1),
            "longest_cpu_stall_ms": bench.longest_stall_ms(2),
        }


def _quantile(delays: Sequence[float], share: float) -> float | None:
    ordered = sorted(delays)
    return round(ordered[int(share * (len(ordered) - 1) + 0.5)], 3) if ordered else None


@dataclass(frozen=True, slots=True)
class _Memory:
    hub: int
    broker: int


@dataclass(slots=True)
class _Bench:
    """A running hub, and what is measured of it."""

    up: Up
    key: SigningKey
    stalls_path: Path
    delays: list[float] = field(default_factory=list)
    flips: int = 0
    cpu_ratio: float = 0.0
    peak: _Memory = _Memory(0, 0)
    _window: tuple[float, float] = (0.0, 0.0)

    def sample(self) -> _Memory:
        """Resident memory now."""
        children = Path(f"/proc/{self.up.pid}/task/{self.up.pid}/children").read_text().split()
        hub = self.up.hub_pid
        others = (int(each) for each in children if int(each) != hub)
        return _Memory(
            _resident(self.up.pid) + _resident(hub), sum(_resident(each) for each in others)
        )

    def longest_stall_ms(self, column: int) -> float:
        """The longest stall between start and end of the measurement, of a column of the file."""
        lines = [line.split() for line in self.stalls_path.read_text().splitlines()]
        begun, ended = self._window
        found = (float(line[column]) for line in lines if begun <= float(line[0]) <= ended + 1)
        return max(found, default=0.0)

    async def measure(self, start: "_Flood", seconds: float) -> None:
        """Starts the flood and places workloads until it ends."""
        begun, cpu_before = time.monotonic(), _cpu_seconds(self.up.pid)
        start.begin()
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch())
            async with open_hub(Path(self.up.ready["kubeconfig"])) as hub:
                while time.monotonic() - begun < seconds:
                    self.delays.append(await self._place(hub, len(self.delays)))
            used = _cpu_seconds(self.up.pid) - cpu_before
            self.cpu_ratio = used / (time.monotonic() - begun)
            await asyncio.sleep(_SETTLE_SECONDS)  # noqa: TID251 - a real process is measured
            self._window = (begun, time.monotonic())
            watch.cancel()

    async def _place(self, hub: HubClient, number: int) -> float:
        begun = time.monotonic()
        await hub.create(WORKLOADS, _workload(f"w{number}"))
        while time.monotonic() - begun < _GIVE_UP_SECONDS:
            found = await hub.get(WORKLOADS, f"w{number}", namespace="default")
            if found.get("status", {}).get("phase") == "Running":
                break
            await asyncio.sleep(_POLL_SECONDS)  # noqa: TID251 - as above
        return time.monotonic() - begun

    async def _watch(self) -> None:
        """Samples memory and readiness."""
        before: dict[str, str] = {}
        while True:
            now = self.sample()
            self.peak = _Memory(max(self.peak.hub, now.hub), max(self.peak.broker, now.broker))
            ready = await asyncio.to_thread(_readiness, self.up)
            self.flips += sum(ready.get(site) != value for site, value in before.items())
            before = ready
            await asyncio.sleep(0.25)  # noqa: TID251 - as above


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _readiness(up: Up) -> dict[str, str]:
    """`kapok_site_ready` of each site."""
    with urlopen(up.ready["metrics"], timeout=60) as answer:  # noqa: S310 - our own address
        lines = answer.read().decode().splitlines()
    found = (line.split() for line in lines if line.startswith("kapok_site_ready{"))
    return {name: value for name, value in found if FLOODER not in name}


@contextmanager
def _running(folder: Path) -> Iterator[_Bench]:
    stalls = folder / "stalls"
    stalls.touch()
    up = Up(folder, environment={STALLS_FILE: str(stalls)})
    up.start("benchmarks._watched_up")
    try:
        sites = [
            ScriptedSite(
                name, up.ready["broker"], up.ready["hubKey"], nodes=200, architecture=architecture
            )
            for name, architecture in ((_VICTIM, "amd64"), (_BYSTANDER, "arm64"))
        ]
        flooder = ScriptedSite(FLOODER, up.ready["broker"], up.ready["hubKey"])
        up.apply("".join(each.manifest for each in (*sites, flooder)))
        with running_sites(*sites):
            eventually(lambda: list(_readiness(up).values()) == ["1", "1"])
            yield _Bench(up, flooder.key, stalls)
    finally:
        up.stop()


@dataclass(slots=True)
class _Flood:
    """The sending process; None in the case without a flood."""

    process: "subprocess.Popen[str] | None"
    sent: int = 0

    def begin(self) -> None:
        """Lets the process send."""
        if self.process and self.process.stdin:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()


@contextmanager
def _sender(case: str, bench: _Bench, rate: float, seconds: float) -> Iterator[_Flood]:
    if case == "none":
        yield _Flood(None)
        return
    port = bench.up.ready["broker"].rpartition(":")[2]
    words = (case, port, bench.key.raw().hex(), str(rate), str(seconds))
    with subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "benchmarks._flood_sender", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        flood = _Flood(process)
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            process.stdout.readline()
            yield flood
            flood.sent = int(process.stdout.readline() or 0)
        finally:
            process.kill()


def _workload(name: str) -> dict[str, Any]:
    container = {"name": "web", "image": "a:1", "resources": {"requests": {"cpu": "10m"}}}
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"nodeSelector": {"kubernetes.io/arch": "amd64"}, "containers": [container]},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "replicas": 1, "template": template},
    }
    return {
        "apiVersion": WORKLOADS.api_version,
        "kind": WORKLOADS.kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "dataClass": "general-2",
            "protectionLevel": 2,
            "networkZones": ["public-network"],
            "replicas": 1,
            "manifests": [deployment],
        },
    }
