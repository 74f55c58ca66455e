"""The rows of the hub benchmark: what a case has taken, and what the server could do."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks._hub_client import ApiCosts, ApiMetrics, Form, Observer, make_workload
from scheduler.control.ports.hub import WORKLOADS
from scheduler.hub.client import HubClient

Row = dict[str, object]
_AT_ONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The beginning of a case: the time, and what was used until then."""

    started: float
    scheduler_cpu: float
    costs: ApiCosts | None

    def row(
        self,
        head: Row,
        *,
        names: Sequence[str],
        observer: Observer,
        arrivals: dict[str, float],
        scheduler_cpu: float,
        costs: ApiCosts | None,
        is_server_apart: bool,
        resident_bytes: int,
    ) -> Row:
        """The row of the case that ends now.

        Args:
            head: the keys that name the case.
            names: its workloads; empty: none, and CPU is a share of the time.
            observer: knows when they were created, placed and running.
            arrivals: when their orders arrived at a site.
            scheduler_cpu: CPU seconds of the scheduler until now.
            costs: what the API server has done until now.
            is_server_apart: whether the server is another process than the scheduler.
            resident_bytes: memory of the scheduler and of its embedded hub.
        """
        seconds = time.monotonic() - self.started
        used = scheduler_cpu - self.scheduler_cpu
        server = server_seconds(self.costs, costs) if is_server_apart else None
        row: Row = {
            **head,
            "workloads": len(names) or len(observer.running),
            "rss_mib": round(resident_bytes / 2**20, 1),
        }
        if not names:
            return {
                **row,
                "seconds": round(seconds, 1),
                "writes_by_kind": count_writes(self.costs, costs, 1),
                "scheduler_cpu_ratio": round(used / seconds, 4),
                "apiserver_cpu_ratio": None if server is None else round(server / seconds, 4),
            }
        placed = [observer.placed[name] - observer.created[name] for name in names]
        ordered = [arrivals[name] - observer.created[name] for name in names if name in arrivals]
        last = max(observer.placed[name] for name in names)
        first = min(observer.created[name] for name in names)
        writes = count_writes(self.costs, costs, len(names), creates=len(names))
        if writes is None:
            writes = _writes_seen(observer, names)
        return {
            **row,
            "decided_per_second": round(len(names) / (last - first), 1),
            "created_to_placed_p50_seconds": quantile(placed, 0.5),
            "created_to_placed_p99_seconds": quantile(placed, 0.99),
            "created_to_ordered_p99_seconds": quantile(ordered, 0.99),
            "writes_per_workload": round(sum(writes.values()), 2),
            "writes_by_kind": writes,
            "scheduler_cpu_ms_per_workload": round(used * 1000 / len(names), 2),
            "apiserver_cpu_ms_per_workload": None
            if server is None
            else round(server * 1000 / len(names), 2),
        }


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value below which so large a share lies, to a thousandth; None: there are no values."""
    ordered = sorted(values)
    return round(ordered[int(share * (len(ordered) - 1) + 0.5)], 3) if ordered else None


def server_seconds(before: ApiCosts | None, after: ApiCosts | None) -> float | None:
    """CPU seconds of the server between two readings; None: it does not say."""
    if before is None or after is None:
        return None
    if before.cpu_seconds is None or after.cpu_seconds is None:
        return None
    return after.cpu_seconds - before.cpu_seconds


def count_writes(
    before: ApiCosts | None, after: ApiCosts | None, count: int, *, creates: int = 0
) -> dict[str, float] | None:
    """Writes per workload by kind, without the creation by the benchmark's own client."""
    if before is None or after is None:
        return None
    found = after.writes - before.writes
    found["workloads"] -= creates
    return {kind: round(number / count, 3) for kind, number in sorted(found.items()) if number}


def _writes_seen(observer: Observer, names: Sequence[str]) -> dict[str, float]:
    """Writes per workload as the watch shows them, where the server's metrics are not readable.

    Each version of an object but the first is one write; several may come as one event, so that
    this is the least.
    """
    seen = sum(len(observer.versions.get(name, ())) - 1 for name in names)
    return {"workloads (seen by a watch)": round(seen / len(names), 3)}


async def count_ceiling(
    head: Row,
    client: HubClient,
    metrics: ApiMetrics,
    *,
    names: Sequence[str],
    namespace: str,
    form: Form,
    statuses: Sequence[dict[str, Any]],
) -> Row:
    """What the server does for a client that decides nothing: each create, then each status."""
    todo, placed = iter(names), list[float]()

    async def work() -> None:
        for name in todo:
            begun = time.monotonic()
            await client.create(WORKLOADS, make_workload(name, namespace, form))
            for number, status in enumerate(statuses):
                await client.merge_patch(
                    WORKLOADS, name, {"status": status}, namespace=namespace, subresource="status"
                )
                if number == 0:
                    placed.append(time.monotonic() - begun)

    before, started = await metrics.read(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(work())
    seconds = time.monotonic() - started
    after = await metrics.read()
    server, writes = server_seconds(before, after), count_writes(before, after, len(names))
    return {
        **head,
        "workloads": len(names),
        "decided_per_second": round(len(names) / seconds, 1),
        "created_to_placed_p50_seconds": quantile(placed, 0.5),
        "created_to_placed_p99_seconds": quantile(placed, 0.99),
        "writes_per_workload": None if writes is None else round(sum(writes.values()), 2),
        "writes_by_kind": writes,
        "apiserver_cpu_ms_per_workload": None
        if server is None
        else round(server * 1000 / len(names), 2),
    }
