"""The way of workloads through the hub: created, decided, ordered, running.

Hub, scheduler and sites are processes of their own. The sites are scripted clients that "run" an
order as soon as it has arrived. On the embedded hub (`kapok up`) always; with --kubeconfig on that
API server too, to which manifests/crds and manifests/admission are applied first.
benchmarks/README.md has the cases.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import get_args

from benchmarks._hub_client import Form, open_metrics
from benchmarks._hub_failover import measure_failover
from benchmarks._hub_rig import serving_api
from benchmarks._hub_rows import Row, count_ceiling
from benchmarks._hub_setup import (
    NAMESPACE,
    SETTLE_SECONDS,
    Plan,
    Rig,
    benchmark_namespace,
    delete_namespace,
    make_seed,
    running,
    sleep,
)
from scheduler.cli.support.signals import leaf_errors
from scheduler.control.ports.hub import HubError
from scheduler.hub.client import open_hub
from tests.support.postgres import postgres_server

CASES = ("drain", "steady", "live", "restart", "takeover", "ceiling", "failover")
_FORMS = get_args(Form)
_QUICK_WORKLOADS, _QUICK_SECONDS = 12, 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument(
        "--kubeconfig", type=Path, metavar="FILE", help="a real API server to measure as well"
    )
    parser.add_argument("--sites", type=int, default=5, help="sites (default: %(default)s)")
    parser.add_argument(
        "--workloads", type=int, default=500, help="workloads of a case (default: %(default)s)"
    )
    parser.add_argument(
        "--rate", type=float, default=50.0, help="offered a second, live (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="length of steady (default: %(default)s)"
    )
    parser.add_argument(
        "--case", choices=CASES, action="append", help="only this case; may be repeated"
    )
    parser.add_argument(
        "--form", choices=_FORMS, action="append", help="only this form; may be repeated"
    )
    parser.add_argument(
        "--unchanged",
        type=int,
        default=0,
        metavar="N",
        help="workloads that run already at restart and takeover, written into the hub's store;"
        " 0: those of the cases before (default: %(default)s)",
    )
    parser.add_argument(
        "--extra-bytes",
        type=int,
        default=0,
        metavar="N",
        help="so much larger is each of these in Deployment form (default: %(default)s)",
    )
    parser.add_argument(
        "--lease", type=int, default=15, help="seconds that a lease lasts (default: %(default)s)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few workloads: whether it works, not how fast"
    )


def rows(arguments: argparse.Namespace) -> list[Row]:
    """One row per case, form and hub."""
    found: list[Row] = []
    for kubeconfig in (None, *filter(None, [arguments.kubeconfig])):
        try:
            for form in arguments.form or _FORMS:
                found += _rows_of_form(arguments, form, kubeconfig)
        finally:
            if kubeconfig is not None:
                try:
                    asyncio.run(delete_namespace(kubeconfig))
                except HubError as error:
                    sys.stderr.write(f"hub: the namespace is left behind: {error}\n")
    return found


def _rows_of_form(arguments: argparse.Namespace, form: Form, kubeconfig: Path | None) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="kapok-hub-") as folder:
        plan = Plan(
            form=form,
            cases=arguments.case or CASES,
            workloads=_QUICK_WORKLOADS if arguments.quick else arguments.workloads,
            sites=min(2, arguments.sites) if arguments.quick else arguments.sites,
            rate=arguments.rate,
            steady_seconds=_QUICK_SECONDS if arguments.quick else arguments.seconds,
            unchanged=arguments.unchanged,
            extra_bytes=arguments.extra_bytes,
            lease_seconds=arguments.lease,
            wait_for_sites_seconds=0.5 if arguments.quick else 3.0,
            kubeconfig=kubeconfig,
            folder=Path(folder),
        )
        try:
            return asyncio.run(_measure(plan))
        except* (HubError, ValueError) as group:
            raise ValueError(leaf_errors(group)[0]) from group


async def _measure(plan: Plan) -> list[Row]:
    found: list[Row] = []
    examples: dict[str, dict[str, object]] = {}
    cases = [one for one in _CASES if one in plan.cases]
    if plan.unchanged and "restart" in cases:
        cases.remove("restart")
        seed = await make_seed(plan)
        async with running(plan, "one more", seed=seed) as rig:
            await rig.observer.wait_for(
                lambda: rig.observer.running.keys() >= set(seed.names),
                within_seconds=plan.give_up_seconds,
                what="the unchanged ones are seen",
            )
            await rig.wait_until_idle()  # what this start has checked again, and written
            found.append(await _restart(rig))
            _say(found[-1])
    if cases or "ceiling" in plan.cases:
        async with running(plan, "one") as rig:
            for case, measure in _CASES.items():
                # The others need the workloads of the first.
                if case in cases or case == "drain":
                    row = await measure(rig)
                    if case in cases:
                        _say(row)
                        found.append(row)
            examples = rig.observer.examples
    if "ceiling" in plan.cases:
        found.append(await _ceiling(plan, examples))
        _say(found[-1])
    if "takeover" in plan.cases:
        found.append(await _takeover_with_shared_ledger(plan))
        _say(found[-1])
    if "failover" in plan.cases:
        found.append(await measure_failover(plan))
        _say(found[-1])
    return found


async def _takeover_with_shared_ledger(plan: Plan) -> Row:
    """Two schedulers share a ledger in PostgreSQL, as replicas must."""
    with postgres_server() as server, tempfile.TemporaryDirectory() as folder:
        url, password = server.new_database(), Path(folder) / "password"
        password.write_text(url.password)
        password.chmod(0o600)
        ledger: dict[str, object] = {"url": str(url), "password_file": str(password)}
        seed = None
        if plan.unchanged:
            seed = await make_seed(plan, has_standby=True, ledger=ledger)
        async with running(plan, "two", has_standby=True, ledger=ledger, seed=seed) as rig:
            return await _takeover(rig, seed.names if seed else [])


def _say(row: Row) -> None:
    words = " ".join(f"{key}={value}" for key, value in row.items() if value is not None)
    sys.stderr.write(f"hub: {words}\n")


# ---------------------------------------------------------------- cases


async def _drain(rig: Rig) -> Row:
    names = rig.plan.names("drain")
    begun = await rig.begin()
    await rig.observer.create(names, rig.plan.form)
    await rig.wait_until_running(names)
    return await rig.row("drain", begun, names)


async def _live(rig: Rig) -> Row:
    names = rig.plan.names("live")
    begun = await rig.begin()
    await rig.observer.offer(names, rig.plan.form, rate=rig.plan.rate)
    await rig.wait_until_running(names)
    return {**await rig.row("live", begun, names), "offered_per_second": rig.plan.rate}


async def _steady(rig: Rig) -> Row:
    await sleep(SETTLE_SECONDS)  # what the case before has caused
    begun = await rig.begin()
    await sleep(rig.plan.steady_seconds)
    return await rig.row("steady", begun, ())


async def _restart(rig: Rig) -> Row:
    unchanged = _copy(rig.observer.versions)
    await rig.scheduler.end(is_killed=True)
    started = time.monotonic()
    await rig.scheduler.launch()
    async with asyncio.TaskGroup() as group:
        group.create_task(rig.scheduler.wait_until_ready())
        await _create_as_soon_as_possible(rig, "new")
        await rig.wait_until_placed("new")
    return await _row_after_change(rig, "restart", unchanged, started)


async def _takeover(rig: Rig, running_names: Sequence[str]) -> Row:
    names = running_names or rig.plan.names("kept")
    if not running_names:
        await rig.observer.create(names, rig.plan.form)
    await rig.wait_until_running(names)
    await rig.wait_until_idle()  # the first leader's checks of the others are over
    unchanged = _copy(rig.observer.versions)
    await rig.scheduler.end(is_killed=True)
    started = time.monotonic()
    if rig.standby:
        rig.scheduler, rig.standby = rig.standby, None
    await _create_as_soon_as_possible(rig, "new")
    await rig.wait_until_placed("new")
    return await _row_after_change(rig, "takeover", unchanged, started)


async def _create_as_soon_as_possible(rig: Rig, name: str) -> None:
    while True:
        with suppress(HubError):
            await rig.observer.create_one(name, rig.plan.form)
            return
        await sleep(0.05)


async def _row_after_change(
    rig: Rig, case: str, unchanged: dict[str, set[str]], started: float
) -> Row:
    placed, used = rig.observer.placed["new"], rig.scheduler.cpu_seconds()
    sys.stderr.write(f"hub: {case}: the new one was placed after {placed - started:.1f} s\n")
    resident = rig.scheduler.resident_bytes(), rig.scheduler.own_resident_bytes()
    begun = time.monotonic()
    await rig.wait_until_idle()  # the others are checked again behind it
    checked = time.monotonic() - begun
    written = sum(
        len(versions - unchanged[name])
        for name, versions in rig.observer.versions.items()
        if name in unchanged
    )
    return {
        "hub": rig.plan.hub,
        "case": case,
        "form": rig.plan.form,
        "workloads": len(unchanged),
        "until_new_decided_seconds": round(placed - started, 3),
        "created_to_placed_seconds": round(placed - rig.observer.created["new"], 3),
        "scheduler_cpu_seconds": round(used, 2),
        "writes_to_unchanged": written,
        "until_all_checked_seconds": round(checked, 1),
        "rss_mib": round(resident[0] / 2**20, 1),
        "scheduler_rss_mib": round(resident[1] / 2**20, 1),
        "scheduler_rss_checked_mib": round(rig.scheduler.own_resident_bytes() / 2**20, 1),
        "lease_seconds": rig.plan.lease_seconds,
        "load_average": round(os.getloadavg()[0], 1),
    }


def _copy(versions: dict[str, set[str]]) -> dict[str, set[str]]:
    return {name: set(seen) for name, seen in versions.items()}


async def _ceiling(plan: Plan, examples: dict[str, dict[str, object]]) -> Row:
    """The same creates and status writes by a client that decides nothing."""
    async with AsyncExitStack() as stack:
        kubeconfig = plan.kubeconfig
        if kubeconfig is None:
            served = serving_api(plan.folder / "ceiling")
            kubeconfig = await stack.enter_async_context(served)
        client = await stack.enter_async_context(open_hub(kubeconfig))
        metrics = await stack.enter_async_context(
            open_metrics(kubeconfig, only_ours=plan.kubeconfig is not None)
        )
        await stack.enter_async_context(benchmark_namespace(client, plan))
        statuses = [examples[phase] for phase in ("Placed", "Running") if phase in examples]
        head: Row = {"hub": plan.hub, "case": "ceiling", "form": plan.form}
        names = plan.names("ceiling")
        return await count_ceiling(
            head,
            client,
            metrics,
            names=names,
            namespace=NAMESPACE,
            form=plan.form,
            statuses=statuses,
        )


_CASES = {"drain": _drain, "steady": _steady, "live": _live, "restart": _restart}
