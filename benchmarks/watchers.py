"""Pages that are open: what they cost the scheduler, and how soon a change reaches them.

100 sites report each second and one workload changes ten times a second; the HTTP server is the
real one, and the watchers are another process. Without watchers the same changes are made, so that
`watch_percent` is the cost of the watchers. Limits with 1,000 sites, 10,000 workloads and 50
watchers: 10 % of a core and 250 ms.
"""

import argparse
import asyncio
import json
import socket
import sys
import time
from itertools import count

import msgspec

from benchmarks._web_state import WebState
from benchmarks.scrape import sources_of
from scheduler.runtime.clock import SystemClock
from scheduler.web.listener import WebListener
from scheduler.web.server import serve_web

CPU_LIMIT_PERCENT, LATENCY_LIMIT_MILLISECONDS = 10.0, 250.0
_WORKLOADS_PER_SITE = 10
_TICK_SECONDS, _REPORTS_PER_TICK = 0.1, 10
_TOKEN = "reader"  # noqa: S105 - of the benchmark's own server
_CLIENT = """
import asyncio, json, sys, time
port, view, readers, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
late, firsts = [], []
async def read(stop):
    began = time.perf_counter()
    source, sink = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    sink.write(f"GET /api/v1/live?view={view} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\n"
               "Authorization: Bearer reader\\r\\n\\r\\n".encode())
    await source.readuntil(b"\\r\\n\\r\\n")
    try:
        async with asyncio.timeout_at(stop):
            while True:
                size = int(await source.readline(), 16)
                event = await source.readexactly(size + 2)
                now = time.time()
                if not firsts or len(firsts) < readers and b'"first":true' in event:
                    firsts.append(time.perf_counter() - began)
                elif (at := event.rfind(b"changed-at-")) >= 0:
                    late.append(now - float(event[at + 11 : at + 28]))
    except TimeoutError:
        sink.close()
async def main():
    stop = asyncio.get_running_loop().time() + seconds
    await asyncio.gather(*(read(stop) for _ in range(readers)))
asyncio.run(main())
late.sort()
print(json.dumps({"changes": len(late), "median": late[len(late) // 2] if late else None,
                  "worst": late[-1] if late else None, "first": max(firsts)}))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument("--sites", type=int, default=1000, metavar="N", help="default: %(default)s")
    parser.add_argument("--watchers", type=int, nargs="+", default=[1, 50], metavar="N")
    parser.add_argument("--seconds", type=float, default=6.0, help="default: %(default)s")


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row per view and number of watchers."""
    return asyncio.run(_rows(arguments.sites, arguments.watchers, arguments.seconds))


async def _rows(sites: int, watchers: list[int], seconds: float) -> list[dict[str, object]]:
    clock = SystemClock()
    city = WebState(clock)
    city.admit(sites)
    city.report_all()
    city.place(sites * _WORKLOADS_PER_SITE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found: list[dict[str, object]] = []
    async with (
        serve_web(WebListener(port=port), sources_of(city, clock, token=_TOKEN)),
        asyncio.TaskGroup() as group,
    ):
        changes = group.create_task(change_state(city, clock))
        idle = await _cpu_percent(clock, seconds)
        for view in ("overview", "fleet"):
            for number in watchers:
                row = await _watched(port, view, number, seconds)
                found.append({"sites": sites, "view": view, **row, "idle_percent": idle})
        changes.cancel()
    for row in found:
        cpu = row["cpu_percent"]
        row["watch_percent"] = round(cpu - idle, 1) if isinstance(cpu, float) else None
    return found


async def _cpu_percent(clock: SystemClock, seconds: float) -> float:
    used, began = time.process_time(), clock.monotonic()
    await clock.sleep(seconds)
    return round(100 * (time.process_time() - used) / (clock.monotonic() - began), 1)


async def _watched(port: int, view: str, watchers: int, seconds: float) -> dict[str, object]:
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _CLIENT, str(port), view, str(watchers), str(seconds)),
        stdout=asyncio.subprocess.PIPE,
    )
    used, began = time.process_time(), time.perf_counter()
    output, _ = await client.communicate()
    cpu = 100 * (time.process_time() - used) / (time.perf_counter() - began)
    answer = json.loads(output)
    return {
        "watchers": watchers,
        "cpu_percent": round(cpu, 1),
        "changes": answer["changes"],
        "first_milliseconds": _milliseconds(answer["first"]),
        "late_milliseconds": _milliseconds(answer["median"]),
        "late_milliseconds_worst": _milliseconds(answer["worst"]),
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


async def change_state(city: WebState, clock: SystemClock) -> None:
    """Reports of sites, and a workload whose degradation says when it was written."""
    works = city.sources.registry.workloads
    key = next(iter(works))
    for tick in count():
        await clock.sleep(_TICK_SECONDS)
        city.report_some(tick * _REPORTS_PER_TICK, _REPORTS_PER_TICK)
        one = works[key]
        status = msgspec.structs.replace(
            one.status, phase="Degraded", reason=f"changed-at-{clock.now().timestamp():.6f}"
        )
        works[key] = msgspec.structs.replace(one, status=status)
