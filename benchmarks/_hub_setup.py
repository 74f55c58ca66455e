"""What the hub benchmark runs: hub, broker, sites and schedulers, with the objects they need."""

import asyncio
import os
import re
import shutil
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from agents.protocol.keys import SigningKey
from benchmarks._hub_client import ApiMetrics, Form, Observer, open_metrics
from benchmarks._hub_import import TEMPLATE, Copier, write_objects
from benchmarks._hub_rig import SchedulerProcess, Sites, free_port, make_sites, playing, serving_api
from benchmarks._hub_rows import Measurement, Row
from benchmarks._load_sites import HeldOrder
from scheduler.apiserver.backup import DATABASE_NAME
from scheduler.control.leader_election import LEASE_NAME
from scheduler.control.ports.hub import (
    LEASES,
    NAMESPACES,
    SITES,
    TENANTS,
    WORKLOADS,
    ApiResource,
    Conflict,
    HubError,
    NotFound,
    Object,
)
from scheduler.control.ports.hub import NAMESPACE as LEASE_NAMESPACE
from scheduler.hub.client import HubClient, open_hub
from scheduler.mqtt.broker import embedded_broker
from scheduler.runtime.clock import SystemClock

NAMESPACE = f"kapok-benchmark-{os.getpid()}"
_NAMESPACES = re.compile(r"kapok-benchmark-(\d+)")
_PREFIX = re.compile(r"bench-(\d+)(?:-\d+)?")
SETTLE_SECONDS = 2.0
_IDLE_RATIO = 0.5
_SETTINGS = {
    "dispatch": {"repeat_seconds": 1.0},
    "log_level": "WARNING",
}
_MANIFESTS = Path(__file__).resolve().parents[1] / "manifests"
_GIVE_UP_SECONDS, _GIVE_UP_SECONDS_PER_WORKLOAD = 90.0, 0.25
_LEASE_CHECKS = 16  # a second between them: longer than a lease lasts
_PLURALS = {"Site": "sites", "SiteGrant": "sitegrants", "Tenant": "tenants"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured on one hub in one form."""

    form: Form
    cases: Sequence[str]
    workloads: int
    sites: int
    rate: float
    steady_seconds: float
    wait_for_sites_seconds: float
    unchanged: int
    extra_bytes: int
    lease_seconds: int
    kubeconfig: Path | None
    folder: Path

    @property
    def hub(self) -> str:
        """The value of the key `hub`."""
        return "real" if self.kubeconfig else "embedded"

    def names(self, case: str) -> list[str]:
        """The names of the workloads of a case."""
        return [f"{case}-{number}" for number in range(self.workloads)]

    @property
    def give_up_seconds(self) -> float:
        """When a case has failed."""
        most = max(self.workloads, self.unchanged)
        return _GIVE_UP_SECONDS + _GIVE_UP_SECONDS_PER_WORKLOAD * most


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A site that will be lost: it costs least, and a process of its own plays it.

    Attributes:
        interval_seconds: the report interval of all sites.
        silent_after_seconds: the setting of that name.
        after_seconds: how long a site must be silent before its work is replaced.
        settle_seconds: a freeze ends when its cause was over for this long.
    """

    interval_seconds: float
    silent_after_seconds: float
    after_seconds: float
    settle_seconds: float


@dataclass(frozen=True, slots=True)
class LosableSite:
    """A site whose process can be ended.

    Attributes:
        name: its name.
        process: plays it.
        said: the file with the times of its messages.
    """

    name: str
    process: Process
    said: Path

    async def fall_silent(self) -> float:
        """Kills its process; returns when it sent its last message (monotonic)."""
        self.process.kill()
        await self.process.wait()
        return float(self.said.read_text(encoding="ascii").splitlines()[-1])


@dataclass(slots=True)
class Rig:
    """One hub with its broker, its sites, and one or two schedulers."""

    plan: Plan
    scheduler: SchedulerProcess
    standby: SchedulerProcess | None
    observer: Observer
    metrics: ApiMetrics
    sites: Sites
    losable: LosableSite | None = None

    async def begin(self) -> Measurement:
        """Starts to measure."""
        return Measurement(
            started=time.monotonic(),
            scheduler_cpu=self.scheduler.cpu_seconds(),
            costs=await self.metrics.read(),
        )

    async def row(self, case: str, begun: Measurement, names: Sequence[str]) -> Row:
        """The row of a case that has ended."""
        has_own_process = bool(self.plan.kubeconfig) or self.scheduler.has_hub_of_its_own()
        return begun.row(
            {"hub": self.plan.hub, "case": case, "form": self.plan.form},
            names=names,
            observer=self.observer,
            arrivals=self.sites.arrival_times(),
            scheduler_cpu=self.scheduler.cpu_seconds(),
            costs=await self.metrics.read(),
            is_server_apart=has_own_process,
            resident_bytes=self.scheduler.resident_bytes(),
        )

    async def wait_until_running(self, names: Sequence[str]) -> None:
        """Waits until all of these run."""
        await self.observer.wait_for(
            lambda: self.observer.running.keys() >= set(names),
            within_seconds=self.plan.give_up_seconds,
            what="all run",
        )

    async def wait_until_idle(self) -> None:
        """Waits until the schedulers do next to nothing: what a start has caused is over."""
        processes = [one for one in (self.scheduler, self.standby) if one]
        while True:
            before = sum(one.busy_seconds() for one in processes)
            await sleep(SETTLE_SECONDS)
            if sum(one.busy_seconds() for one in processes) - before < _IDLE_RATIO * SETTLE_SECONDS:
                return

    async def wait_until_placed(self, name: str) -> None:
        """Waits until one is placed."""
        await self.observer.wait_for(
            lambda: name in self.observer.placed,
            within_seconds=self.plan.give_up_seconds,
            what=f"{name} is placed",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """What a rig has left, for another one that begins with it.

    Attributes:
        folder: with the data directories of hub and scheduler.
        sites: their keys.
        held: the orders that each site runs, by site.
        names: the workloads that run.
    """

    folder: Path
    sites: Sites
    held: dict[str, list[HeldOrder]]
    names: list[str]


async def make_seed(
    plan: Plan, *, has_standby: bool = False, ledger: dict[str, object] | None = None
) -> Seed:
    """Has a scheduler decide one workload, and copies it in the store of the hub."""
    held: dict[str, list[HeldOrder]] = {}
    bodies: list[Object] = []
    names = [f"unchanged-{number}" for number in range(plan.unchanged)]
    name = "seed of two" if has_standby else "seed"
    async with running(plan, name, has_hub_beside=has_standby, ledger=ledger) as rig:
        await rig.observer.create_one(TEMPLATE, plan.form, plan.extra_bytes)
        await rig.wait_until_running([TEMPLATE])
        await sleep(SETTLE_SECONDS)
        client, sites = rig.observer.hub, rig.sites
        copier = Copier(
            template=await client.get(WORKLOADS, TEMPLATE, NAMESPACE),
            order_id=sites.order_id_of(TEMPLATE),
            tenant=await client.get(TENANTS, f"bench-{os.getpid()}"),
            sites=list(sites.keys),
        )
        for body, site, order in copier.copies(names):
            bodies.append(body)
            held.setdefault(site, []).append(order)
        folder = plan.folder / name / "left"
        await rig.scheduler.end()
        data = plan.folder / name / "scheduler-0"
        hub = plan.folder / name / "hub" if has_standby else data / "data" / "hub"
        await _copy_folder(data, folder / "scheduler-0")
        if has_standby:
            await _copy_folder(hub, folder / "hub")
    kept = folder / "hub" if has_standby else folder / "scheduler-0" / "data" / "hub"
    await asyncio.to_thread(write_objects, kept / DATABASE_NAME, bodies)
    return Seed(folder=folder, sites=sites, held=held, names=names)


@asynccontextmanager
async def running(
    plan: Plan,
    name: str,
    *,
    has_standby: bool = False,
    has_hub_beside: bool = False,
    ledger: dict[str, object] | None = None,
    seed: Seed | None = None,
    loss: Loss | None = None,
) -> AsyncIterator[Rig]:
    """Runs hub, broker, sites and schedulers for the time of the context.

    Two schedulers need a hub and a broker beside them; so does a real API server.

    Args:
        plan: what is measured.
        name: of the folder.
        has_standby: a second scheduler stands by.
        has_hub_beside: the hub is none of the scheduler's.
        ledger: the settings of a ledger that schedulers share; None: each has its own.
        seed: what hub, scheduler and sites begin with.
        loss: the first site will be lost; the sites of the rig are the others.
    """
    folder = plan.folder / name
    folder.mkdir()
    if seed is not None:
        await _copy_folder(seed.folder, folder)
    prefix = f"bench-{os.getpid()}"
    async with AsyncExitStack() as stack:
        settings = _settings_of(plan, ledger, loss)
        kubeconfig, port = await _open_hub(
            stack, plan, folder, has_hub_beside=has_standby or has_hub_beside, is_seeded=bool(seed)
        )
        if kubeconfig is not None:
            settings |= {
                "hub": {"kubeconfig": str(kubeconfig), "lease_seconds": plan.lease_seconds},
                "broker": {"host": "127.0.0.1", "port": port},
            }
        made = make_sites(folder, prefix, plan.sites)
        sites = Sites(seed.sites.keys, made.arrivals) if seed else made
        lone_name = next(iter(sites.keys)) if loss else ""
        players = _Players(plan, folder, sites, seed.held if seed else {}, loss)
        schedulers = _schedulers(folder, settings, 1 + has_standby)
        for one in schedulers:
            stack.push_async_callback(one.end)
        first, begun_at = schedulers[0], SystemClock().now()
        has_sites_before = seed is not None and kubeconfig is not None
        if has_sites_before:
            # A scheduler that is started before them finds all sites silent, and writes that.
            key = SigningKey(first.key_file.read_bytes()).public
            await players.start(stack, f"127.0.0.1:{port}", str(key))
        await first.start()
        known = kubeconfig or Path(first.ready["kubeconfig"])
        client = await stack.enter_async_context(open_hub(known))
        metrics = await stack.enter_async_context(
            open_metrics(known, only_ours=plan.kubeconfig is not None)
        )
        await stack.enter_async_context(benchmark_namespace(client, plan))
        manifests = sites.manifests(prefix, NAMESPACE, cheapest=lone_name)
        await stack.enter_async_context(_objects(client, manifests))
        if not has_sites_before:
            await players.start(stack, first.ready["broker"], first.ready["hubKey"])
        observer = Observer(client, NAMESPACE)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        watch = group.create_task(observer.watch())
        stack.callback(watch.cancel)
        await _wait_for_sites(client, sites.keys, plan.give_up_seconds, since=begun_at)
        for one in schedulers[1:]:
            await one.launch()
            await one.wait_until_open()
        standby = next(iter(schedulers[1:]), None)
        yield Rig(plan, first, standby, observer, metrics, players.sites, players.losable)


def _settings_of(
    plan: Plan, ledger: dict[str, object] | None, loss: Loss | None
) -> dict[str, object]:
    """The settings of a scheduler, without those of a hub and a broker beside it."""
    freshness: dict[str, object] = {"hear_sites_seconds": plan.wait_for_sites_seconds}
    found: dict[str, object] = {
        **_SETTINGS,
        "freshness": freshness,
        "hub": {"lease_seconds": plan.lease_seconds},
        **({"ledger": ledger} if ledger else {}),
    }
    if loss is not None:
        freshness["silent_after_seconds"] = loss.silent_after_seconds
        found["failover"] = {
            "after_seconds": loss.after_seconds,
            "storm": {"settle_seconds": loss.settle_seconds},
        }
    return found


@dataclass(slots=True)
class _Players:
    """Plays the sites of a rig; one that will be lost in a process of its own."""

    plan: Plan
    folder: Path
    sites: Sites
    held: Mapping[str, Sequence[HeldOrder]]
    loss: Loss | None
    losable: LosableSite | None = None

    async def start(self, stack: AsyncExitStack, broker: str, hub_key: str) -> None:
        """Starts the processes; `sites` are the others then."""
        if self.loss is not None:
            name = next(iter(self.sites.keys))
            lone, self.sites = self.sites.without(name)
            said = self.folder / f"{name}-said"
            process = await self._play(stack, lone, broker, hub_key, said)
            self.losable = LosableSite(name, process, said)
        await self._play(stack, self.sites, broker, hub_key)

    async def _play(
        self,
        stack: AsyncExitStack,
        sites: Sites,
        broker: str,
        hub_key: str,
        said: Path | None = None,
    ) -> Process:
        return await stack.enter_async_context(
            playing(
                sites,
                self.folder,
                broker=broker,
                hub_keys=[hub_key],
                workloads=2 * max(self.plan.workloads, self.plan.unchanged),
                held=self.held,
                interval_seconds=self.loss.interval_seconds if self.loss else None,
                said=said,
            )
        )


async def _open_hub(
    stack: AsyncExitStack, plan: Plan, folder: Path, *, has_hub_beside: bool, is_seeded: bool
) -> tuple[Path | None, int]:
    """The kubeconfig and the broker's port beside the scheduler; None: it has its own ones."""
    kubeconfig = plan.kubeconfig
    if has_hub_beside and kubeconfig is None:
        kubeconfig = await stack.enter_async_context(serving_api(folder / "hub"))
    if kubeconfig is None:
        return None, 0
    await _install(kubeconfig)
    if not is_seeded:  # its ledger knows of the Lease
        await _remove_lease(kubeconfig)
        await remove_leftovers(kubeconfig)
    port = free_port()
    (folder / "broker").mkdir()
    await stack.enter_async_context(embedded_broker(folder / "broker", port, clock=SystemClock()))
    return kubeconfig, port


async def _copy_folder(source: Path, target: Path) -> None:
    """Copies what hub and scheduler keep; sockets are left out."""
    ignored = shutil.ignore_patterns("*.sock")
    await asyncio.to_thread(
        shutil.copytree, source, target, symlinks=True, dirs_exist_ok=True, ignore=ignored
    )


def _schedulers(folder: Path, settings: dict[str, object], count: int) -> list[SchedulerProcess]:
    """So many schedulers with one signing key: that of a seed, if the first one has it."""
    found = [SchedulerProcess(folder / f"scheduler-{number}", settings) for number in range(count)]
    known = found[0].key_file
    key = SigningKey(known.read_bytes()) if known.exists() else SigningKey.generate()
    for one in found if count > 1 else ():
        one.key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        one.key_file.touch(mode=0o600)
        one.key_file.write_bytes(key.raw())
    return found


async def _install(kubeconfig: Path) -> None:
    """Applies the CRDs, and the policies that the server is new enough for."""
    async with open_hub(kubeconfig) as client:
        for path in sorted(_MANIFESTS.glob("crds/*.yaml")):
            await _apply(client, yaml.safe_load(path.read_bytes()))
        for path in sorted(_MANIFESTS.glob("admission/*.yaml")):
            with suppress(NotFound):
                for body in yaml.safe_load_all(path.read_bytes()):
                    await _apply(client, body)
        await sleep(1.0 / 2)  # a server serves a new kind a moment after it has accepted it


async def _apply(client: HubClient, body: dict[str, Any]) -> None:
    """Applies an object of a cluster-scoped kind with a regular plural."""
    group, version = body["apiVersion"].split("/")
    kind = body["kind"]
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    resource = ApiResource(group, version, plural.lower(), kind, namespaced=False)
    await client.apply(resource, body, field_manager="kapok-hub")


@asynccontextmanager
async def benchmark_namespace(client: HubClient, plan: Plan) -> AsyncIterator[None]:
    """The namespace of the workloads; on a real server they are deleted afterwards."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    await client.apply(NAMESPACES, body, field_manager="kapok-benchmark")
    try:
        yield
    finally:
        if plan.kubeconfig is not None:
            await empty_namespace(client, NAMESPACE)


async def delete_namespace(kubeconfig: Path) -> None:
    """Deletes the namespace of this run on a real server, whose own controllers finish that."""
    async with open_hub(kubeconfig) as client:
        await client.delete(NAMESPACES, NAMESPACE)


async def empty_namespace(client: HubClient, namespace: str) -> None:
    """Deletes the workloads of a namespace, also those that no scheduler withdraws any more.

    The finalizer is removed after the deletion: the admission policy gives it back before.
    """
    for item in (await client.list(WORKLOADS, namespace)).items:
        name = item["metadata"]["name"]
        await client.delete(WORKLOADS, name, namespace)
        with suppress(NotFound):
            await client.merge_patch(
                WORKLOADS, name, {"metadata": {"finalizers": None}}, namespace=namespace
            )


async def _remove_lease(kubeconfig: Path) -> None:
    """Deletes the Lease of a run before, which names the key that it signed by.

    Raises:
        ValueError: a scheduler holds it: what is measured would not be ours.
    """
    async with open_hub(kubeconfig) as client:
        renewed: set[str] = set()
        for _ in range(_LEASE_CHECKS):
            try:
                lease = await client.get(LEASES, LEASE_NAME, LEASE_NAMESPACE)
            except NotFound:
                return
            spec = lease.get("spec") or {}
            renewed.add(str(spec.get("renewTime")))
            if not spec.get("holderIdentity"):
                break
            if len(renewed) > 1:
                raise ValueError("a scheduler leads on this API server: end it first")
            await sleep(1.0)
        await client.delete(LEASES, LEASE_NAME, LEASE_NAMESPACE)


def is_of_another_run(pid: str) -> bool:
    """Whether a benchmark runs under a process ID, and is not this one."""
    with suppress(OSError):
        command = Path("/proc", pid, "cmdline").read_bytes()
        return int(pid) != os.getpid() and b"benchmarks" in command
    return False


async def remove_leftovers(kubeconfig: Path) -> None:
    """Deletes what runs before have left: workloads, namespaces, sites, grants and tenants."""
    async with open_hub(kubeconfig) as client:
        for item in (await client.list(NAMESPACES)).items:
            name = item["metadata"]["name"]
            found = _NAMESPACES.fullmatch(name)
            if found and not is_of_another_run(found[1]):
                await empty_namespace(client, name)
                if name != NAMESPACE:  # of a case before, in this process
                    await client.delete(NAMESPACES, name)
        for kind, plural in _PLURALS.items():
            resource = ApiResource("kapok.dev", "v1alpha1", plural, kind, namespaced=False)
            for item in (await client.list(resource)).items:
                found = _PREFIX.fullmatch(item["metadata"]["name"])
                if found and not is_of_another_run(found[1]):
                    await client.delete(resource, item["metadata"]["name"])


@asynccontextmanager
async def _objects(
    client: HubClient, manifests: Sequence[dict[str, object]]
) -> AsyncIterator[None]:
    """Objects that exist for the time of the context."""
    found: list[tuple[ApiResource, str]] = []
    for each in manifests:
        kind = str(each["kind"])
        resource = ApiResource("kapok.dev", "v1alpha1", _PLURALS[kind], kind, namespaced=False)
        with suppress(Conflict):  # a seed has it
            await client.create(resource, dict(each))
        found.append((resource, dict(each)["metadata"]["name"]))  # type: ignore[index]
    try:
        yield
    finally:
        with suppress(HubError):  # the embedded hub may have ended before
            for resource, name in reversed(found):
                await client.delete(resource, name)


async def _wait_for_sites(
    client: HubClient, names: Collection[str], within_seconds: float, *, since: datetime
) -> None:
    """Waits until all sites are ready; on a busy machine with many orders that takes minutes.

    A store that is begun with says of its sites what was true before, so that they have to have
    reported since.
    """
    deadline = time.monotonic() + within_seconds
    while True:
        ready = Counter(
            (one["type"], one["status"])
            for item in (await client.list(SITES)).items
            if item["metadata"]["name"] in names
            and _observed_at(item) > since - timedelta(seconds=1)  # statuses have whole seconds
            for one in item["status"].get("conditions", [])
        )
        if ready["Ready", "True"] == len(names):
            return
        if time.monotonic() > deadline:
            raise ValueError(f"the sites do not become ready: {ready}")
        await sleep(0.5)


def _observed_at(site: Object) -> datetime:
    observed = site.get("status", {}).get("observedAt")
    return datetime.fromisoformat(observed) if observed else datetime.min.replace(tzinfo=UTC)


async def sleep(seconds: float) -> None:
    """Waits while real processes work."""
    await asyncio.sleep(seconds)  # noqa: TID251 - real processes are waited for
