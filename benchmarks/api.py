"""The embedded API server under load: requests per second, 99th percentile, memory.

The server is a separate process, as `kapok serve-api` runs it; this process simulates the clients,
over TLS. Rows: case, per_second, p99_ms, rss_mib (of the server). For `watch` per_second counts
deliveries and p99_ms is the time from a write's answer until the last of the watchers has the
event; for `list` and `start` p99_ms is the time of the one list or start.
"""

import argparse
import asyncio
import json
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

_CLIENTS = 16
_WATCHERS = 20
_PAGE = 500
_GROUP = "bench.kapok.dev"
_START = (
    "import argparse, sys; from scheduler.cli import serve_api; p = argparse.ArgumentParser();"
    " serve_api.register(p); sys.exit(serve_api.run(p.parse_args()))"
)
_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the benchmark's own arguments."""
    parser.add_argument(
        "--requests", type=int, default=4000, help="requests per case (default: %(default)s)"
    )
    parser.add_argument(
        "--objects",
        type=int,
        default=10_000,
        help="objects of the list, memory and start cases (default: %(default)s; issue: 100000)",
    )


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Runs every case, one row each."""
    folder = Path(tempfile.mkdtemp(prefix="kapok-bench-"))
    try:
        return _measure(folder, arguments.requests, arguments.objects)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(folder: Path, requests: int, objects: int) -> list[dict[str, object]]:
    with _server(folder) as server:
        found = asyncio.run(_measure_cases(server, requests, objects))
    began = time.perf_counter()
    with _server(folder) as server:
        seconds = time.perf_counter() - began
        found.append(_row(f"start with {objects} more objects", 1 / seconds, seconds, server))
    return found


# ---------------------------------------------------------------- the server


@dataclass(frozen=True)
class _Server:
    url: str
    token: str
    ca: Path
    pid: int

    def rss_mib(self) -> float:
        """The resident memory of the server, in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024


@contextmanager
def _server(folder: Path) -> Iterator[_Server]:
    command = [sys.executable, "-c", _START, "--data-dir", str(folder), "--no-crds"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own interpreter
        try:
            lines = iter(process.stdout or ())
            url = next(lines).split()[1]
            next(line for line in lines if line.strip() == "ready")
            config = json.loads((folder / "kubeconfig").read_text())
            token = config["users"][0]["user"]["token"]
            yield _Server(url, token, folder / "ca.crt", process.pid)
        finally:
            process.terminate()
            process.wait()


def _row(case: str, per_second: float, p99_seconds: float, server: _Server) -> dict[str, object]:
    return {
        "case": case,
        "per_second": round(per_second, 1),
        "p99_ms": round(p99_seconds * 1000, 2),
        "rss_mib": round(server.rss_mib(), 1),
    }


# ---------------------------------------------------------------- the clients


@dataclass(frozen=True)
class _Client:
    session: aiohttp.ClientSession
    server: _Server

    async def send(
        self, method: str, path: str, body: object = None, kind: str = "application/json"
    ) -> bytes:
        """Sends one request; any error ends the benchmark."""
        data = None if body is None else json.dumps(body)
        async with self.session.request(
            method, self.server.url + path, data=data, headers={"Content-Type": kind}
        ) as response:
            raw = await response.read()
            if response.status >= 300:  # noqa: PLR2004 - no success
                raise ValueError(f"{method} {path}: {response.status} {raw[:300]!r}")
            return raw


@asynccontextmanager
async def _client(server: _Server) -> AsyncIterator[_Client]:
    context = ssl.create_default_context(cafile=str(server.ca))
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    headers = {"Authorization": f"Bearer {server.token}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield _Client(session, server)


Request = Callable[[int], Awaitable[object]]


async def _measure_load(
    case: str, server: _Server, count: int, request: Request
) -> dict[str, object]:
    """Sends `count` requests from several clients at once."""
    times: list[float] = []
    todo = iter(range(count))

    async def work() -> None:
        for index in todo:
            began = time.perf_counter()
            await request(index)
            times.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(_CLIENTS):
            group.create_task(work())
    seconds = time.perf_counter() - began
    return _row(case, count / seconds, statistics.quantiles(times, n=100)[98], server)


def _widget(name: str) -> dict[str, Any]:
    """An object of about 1 kB, the size of a small workload."""
    labels = {"app": name, "tier": "gold", "province": "CN-GD"}
    parts = [{"name": f"p{n}", "count": n, "color": "green"} for n in range(6)]
    spec = {"size": "large", "replicas": 3, "parts": parts, "names": ["a", "b", "c"]}
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "Widget",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    }


async def _measure_cases(server: _Server, requests: int, objects: int) -> list[dict[str, object]]:
    from tests.support.widgets import widget_crd  # noqa: PLC0415 - the same definition as in tests

    path = f"/apis/{_GROUP}/v1/namespaces/default/widgets"
    few = max(100, requests // 10)
    async with _client(server) as client:
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        await client.send("POST", crds, widget_crd(_GROUP))

        async def create(index: int) -> None:
            await client.send("POST", path, _widget(f"w{index}"))

        async def status(index: int) -> None:
            body = {"status": {"phase": f"p{index}", "epoch": index}}
            await client.send("PATCH", f"{path}/w{index % few}/status", body, _MERGE)

        async def apply(index: int) -> None:
            body = _widget(f"a{index % few}")
            body["spec"]["replicas"] = index % 100
            target = f"{path}/a{index % few}?fieldManager=bench&force=true"
            await client.send("PATCH", target, body, _APPLY)

        async def get(index: int) -> None:
            await client.send("GET", f"{path}/w{index % few}")

        found = [
            await _measure_load("create", server, requests, create),
            await _measure_load("status patch", server, requests, status),
            await _measure_load("server-side apply", server, requests, apply),
            await _measure_load("get", server, requests, get),
            await _measure_watch(client, path, few),
        ]
        found += await _measure_list(client, objects)
    return found


async def _measure_list(client: _Client, objects: int) -> list[dict[str, object]]:
    """Fills a namespace, then lists it in pages."""
    space = "/api/v1/namespaces"
    await client.send("POST", space, {"metadata": {"name": "many"}})
    path = f"/apis/{_GROUP}/v1/namespaces/many/widgets"

    async def create(index: int) -> None:
        await client.send("POST", path, _widget(f"m{index:06d}"))

    filled = await _measure_load(f"create {objects} more", client.server, objects, create)

    async def pages(_index: int) -> None:
        token, total = "", 0
        while True:
            raw = await client.send("GET", f"{path}?limit={_PAGE}&continue={token}")
            page = json.loads(raw)
            total += len(page["items"])
            token = page["metadata"].get("continue", "")
            if not token:
                break
        if total != objects:
            raise ValueError(f"a list of {objects} objects showed {total}")

    began = time.perf_counter()
    await pages(0)
    seconds = time.perf_counter() - began
    listed = _row(f"list of {objects} (paged)", 1 / seconds, seconds, client.server)
    return [filled, listed]


async def _measure_watch(client: _Client, path: str, count: int) -> dict[str, object]:
    """One writer, many watchers: the time until the last watcher has seen a change."""
    target = f"{path}/w0"
    seen: asyncio.Queue[int] = asyncio.Queue()
    listed = json.loads(await client.send("GET", f"{path}?limit=1"))
    version = listed["metadata"]["resourceVersion"]
    url = f"{client.server.url}{path}?watch=true&resourceVersion={version}"

    async def watch() -> None:
        async with client.session.get(url, timeout=aiohttp.ClientTimeout(total=None)) as stream:
            async for line in stream.content:
                if b'"MODIFIED"' in line:
                    seen.put_nowait(1)

    times = []
    async with asyncio.TaskGroup() as group:
        watchers = [group.create_task(watch()) for _ in range(_WATCHERS)]
        await asyncio.sleep(0.3)  # noqa: TID251 - the watches are to be open
        began = time.perf_counter()
        for index in range(count):
            start = time.perf_counter()
            body = {"metadata": {"annotations": {"n": str(index)}}}
            await client.send("PATCH", target, body, _MERGE)
            start = time.perf_counter()
            for _ in range(_WATCHERS):
                await seen.get()
            times.append(time.perf_counter() - start)
        seconds = time.perf_counter() - began
        for watcher in watchers:
            watcher.cancel()
    p99 = statistics.quantiles(times, n=100)[98]
    return _row(f"watch fan-out to {_WATCHERS}", count * _WATCHERS / seconds, p99, client.server)
