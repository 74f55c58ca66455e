"""Scrapes of /metrics: CPU of one scrape, and how long it stalls the event loop.

All sites report between two scrapes; some workloads run, others are refused by every site; the HTTP
server is the real one, and the client is another process. During a scrape a task that wakes every
millisecond measures its delay; `idle` is the same without a scrape, on this
machine at this time. Limits with 1,000 sites: 50 ms of CPU and 20 ms of stall.
"""

import argparse
import asyncio
import gc
import socket
import statistics
import sys
import time
from collections.abc import Sequence

from benchmarks._web_state import WebState
from scheduler.control.ports.access import AccessAnswer, AccessQuestion
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.faults import Faults
from scheduler.web.listener import WebListener
from scheduler.web.metrics import Metrics
from scheduler.web.records import LedgerSource
from scheduler.web.server import WebSources, serve_web

CPU_LIMIT_MILLISECONDS, STALL_LIMIT_MILLISECONDS = 50.0, 20.0
_WORKLOADS_PER_SITE = 2
_REFUSED = 200
_PAUSE_SECONDS = 0.001
_CLIENT = """
import http.client, sys
link = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
for line in sys.stdin:
    link.request("GET", "/metrics")
    print(len(link.getresponse().read()), flush=True)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument("--sites", type=int, nargs="+", default=[100, 1000], metavar="N")
    parser.add_argument("--scrapes", type=int, default=10, metavar="N", help="default: %(default)s")


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row per number of sites."""
    return [asyncio.run(_row(sites, arguments.scrapes)) for sites in arguments.sites]


async def _row(sites: int, scrapes: int) -> dict[str, object]:
    clock = SystemClock()
    city = WebState(clock)
    city.admit(sites)
    city.report_all()
    city.place(sites * _WORKLOADS_PER_SITE)
    city.refuse(_REFUSED)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with serve_web(WebListener(port=port), sources_of(city, clock)):
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _CLIENT, str(port)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        figures = [await _scrape(city, clock, client) for _ in range(scrapes + 1)][1:]
        client.terminate()
        await client.wait()
    cpu, stall, idle = zip(*figures, strict=True)
    page = Metrics().render(city.take_snapshot())
    return {
        "sites": sites,
        "series": sum(not line.startswith(b"#") for line in page.splitlines()),
        "page_kib": round(len(page) / 1024),
        "cpu_milliseconds": _middle(cpu),
        "cpu_milliseconds_worst": round(max(cpu), 1),
        "stall_milliseconds": _middle(stall),
        "stall_milliseconds_worst": round(max(stall), 1),
        "idle_stall_milliseconds": _middle(idle),
        "idle_stall_milliseconds_worst": round(max(idle), 1),
    }


def _middle(values: Sequence[float]) -> float:
    return round(statistics.median(values), 1)


async def _scrape(
    city: WebState, clock: SystemClock, client: asyncio.subprocess.Process
) -> tuple[float, float, float]:
    """Scrapes fresh figures: CPU, worst stall and worst stall without a scrape, in milliseconds."""
    city.report_all()
    gc.collect()  # of the reports just made; a scrape pays for its own garbage only
    await clock.sleep(1.05)  # what was rendered before is shared for a second
    if client.stdin is None or client.stdout is None:
        raise ValueError("the client has no pipes")
    stalls: list[float] = []
    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(_watch(clock, stalls))
        await clock.sleep(0.05)
        stalls.clear()
        idle = time.process_time()
        await clock.sleep(0.1)
        idle, idle_stall = time.process_time() - idle, max(stalls)
        stalls.clear()
        began, asked = time.process_time(), clock.monotonic()
        client.stdin.write(b"\n")
        await client.stdout.readline()
        cpu, wall = time.process_time() - began, clock.monotonic() - asked
        watcher.cancel()
    return (cpu - idle * wall / 0.1) * 1000, max(stalls) * 1000, idle_stall * 1000


async def _watch(clock: SystemClock, stalls: list[float]) -> None:
    while True:
        due = clock.monotonic() + _PAUSE_SECONDS
        await clock.sleep(_PAUSE_SECONDS)
        stalls.append(clock.monotonic() - due)


def sources_of(city: WebState, clock: SystemClock, *, token: str = "") -> WebSources:
    """What a web server of this state needs; the holder of `token` may read everything."""

    async def review(given: str, _question: AccessQuestion) -> AccessAnswer:
        return "allowed" if token and given == token else "unauthenticated"

    return WebSources(
        take_snapshot=city.take_snapshot,
        render_metrics=Metrics().render,
        ledger=LedgerSource(
            find_decision=lambda _: None,
            read_page=lambda _: b"",
            read_blob=lambda _: b"",
            read_blob_of=lambda _digest, _record: b"",
        ),
        readiness_problem=lambda: "",
        review_token=review,
        clock=clock,
        faults=Faults(clock=clock, count=lambda _: None),
    )
