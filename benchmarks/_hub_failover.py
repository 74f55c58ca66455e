"""The case `failover` of the hub benchmark: one site is lost with everything that ran there.

Evictions are allowed from one moment on: when the last message of the site is `after_seconds` old.
That is longer than the scheduler needs to call it silent, and to see that no other one is. How many
are due at once, and whether a freeze holds them, is read from the scheduler's own metrics.
"""

import asyncio
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from benchmarks._hub_rows import Row, count_writes, quantile, server_seconds
from benchmarks._hub_setup import Loss, Plan, Rig, running, sleep

_INTERVAL_SECONDS, _AFTER_SECONDS = 2.0, 25.0
_QUICK_INTERVAL_SECONDS, _QUICK_AFTER_SECONDS = 0.5, 6.0
_SILENT_INTERVALS = 2.0
_SETTLE_SECONDS = 5.0
_LOOK_SECONDS = 1.0
_FEW_WORKLOADS, _FEWEST_SITES = 50, 2
_WAITING = re.compile(r"^kapok_waiting_evictions (\S+)$", re.MULTILINE)
_FROZEN = re.compile(r"^kapok_evictions_frozen\{[^}]*\} (\S+)$", re.MULTILINE)


@dataclass(slots=True)
class _Watcher:
    """Reads the scheduler's metrics, which it computes once a second at most.

    Attributes:
        url: of the metrics.
        most_waiting: the most replacements that were due at once.
        last_frozen_seconds: when a freeze was seen last; None: never.
    """

    url: str
    most_waiting: int = 0
    last_frozen_seconds: float | None = None

    async def watch(self) -> None:
        """Looks until cancelled."""
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(self.url) as response:
                    text = await response.text()
                found = _WAITING.search(text)
                self.most_waiting = max(self.most_waiting, int(float(found[1])) if found else 0)
                if any(float(value) for value in _FROZEN.findall(text)):
                    self.last_frozen_seconds = time.monotonic()
                await sleep(_LOOK_SECONDS)


async def measure_failover(plan: Plan) -> Row:
    """The row of the case.

    Raises:
        ValueError: there is no other site, not all workloads ran at the site that is lost, or not
            all were replaced.
    """
    if plan.sites < _FEWEST_SITES:
        raise ValueError(f"failover needs another site: --sites {_FEWEST_SITES} or more")
    is_quick = plan.workloads < _FEW_WORKLOADS
    interval = _QUICK_INTERVAL_SECONDS if is_quick else _INTERVAL_SECONDS
    after_seconds = _QUICK_AFTER_SECONDS if is_quick else _AFTER_SECONDS
    loss = Loss(
        interval_seconds=interval,
        silent_after_seconds=_SILENT_INTERVALS * interval,
        after_seconds=after_seconds,
        settle_seconds=_SETTLE_SECONDS,
    )
    async with running(plan, "failover", loss=loss) as rig:
        return await _measure(rig, after_seconds)


async def _measure(rig: Rig, after_seconds: float) -> Row:
    lost, observer, names = rig.losable, rig.observer, rig.plan.names("failover")
    if lost is None:
        raise ValueError("no site of this rig can be lost")
    await observer.create(names, rig.plan.form)
    await rig.wait_until_running(names)
    elsewhere = [name for name in names if observer.sites[name] != {lost.name}]
    if elsewhere:
        raise ValueError(f"{len(elsewhere)} of {len(names)} do not run at {lost.name} alone")
    await rig.wait_until_idle()
    observer.lost_site = lost.name
    allowed = await lost.fall_silent() + after_seconds
    await sleep(max(0.0, allowed - 2.0 - time.monotonic()))
    begun = await rig.begin()
    watcher = _Watcher(rig.scheduler.ready["metrics"])
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watcher.watch())
        await observer.wait_for(
            lambda: observer.withdrawn.keys() >= set(names),
            within_seconds=rig.plan.give_up_seconds,
            what="all are replaced",
        )
        watching.cancel()
    used = rig.scheduler.cpu_seconds() - begun.scheduler_cpu
    costs = await rig.metrics.read()
    is_server_apart = bool(rig.plan.kubeconfig) or rig.scheduler.has_hub_of_its_own()
    server = server_seconds(begun.costs, costs) if is_server_apart else None
    arrivals = rig.sites.arrival_times()
    return {
        "hub": rig.plan.hub,
        "case": "failover",
        "form": rig.plan.form,
        "workloads": len(names),
        "sites": len(rig.sites.keys),
        "planned_at_once": watcher.most_waiting or None,
        # All are planned before the first one is decided.
        "allowed_to_planned_seconds": round(min(observer.replaced.values()) - allowed, 3),
        **_quantiles("decided", allowed, [observer.replaced[name] for name in names]),
        **_quantiles("ordered", allowed, [arrivals[name] for name in names]),
        **_quantiles("withdrawn", allowed, [observer.withdrawn[name] for name in names]),
        "frozen_until_seconds": _since(allowed, watcher.last_frozen_seconds),
        "scheduler_cpu_ms_per_workload": round(used * 1000 / len(names), 2),
        "apiserver_cpu_ms_per_workload": None
        if server is None
        else round(server * 1000 / len(names), 2),
        "writes_by_kind": count_writes(begun.costs, costs, len(names)),
        "rss_mib": round(rig.scheduler.resident_bytes() / 2**20, 1),
        "load_average": round(os.getloadavg()[0], 1),
    }


def _since(allowed: float, at: float | None) -> float | None:
    return None if at is None else round(at - allowed, 3)


def _quantiles(what: str, allowed: float, times: Sequence[float]) -> Row:
    taken = [at - allowed for at in times]
    return {
        f"allowed_to_{what}_p50_seconds": quantile(taken, 0.5),
        f"allowed_to_{what}_p99_seconds": quantile(taken, 0.99),
        f"allowed_to_{what}_last_seconds": quantile(taken, 1.0),
    }
