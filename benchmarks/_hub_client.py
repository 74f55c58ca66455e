"""The client of the hub benchmark: creates and watches workloads, and counts writes."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import aiohttp

from scheduler.control.ports.hub import WORKLOADS, Gone, HubError, Object
from scheduler.hub.client import HubClient
from scheduler.hub.kubeconfig import read_configuration, ssl_context_of

Form = Literal["demand", "deployment"]

_WRITING_VERBS = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE"})
_OUR_GROUPS = frozenset({"kapok.dev", "events.k8s.io"})
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_PLACED_PHASES = frozenset({"Placed", "Running", "Degraded", "Completed"})
_BYTES_PER_VARIABLE = 64
_POLL_SECONDS = 0.02
_FIRST_ERROR_CODE = 400


def make_workload(name: str, namespace: str, form: Form, extra_bytes: int = 0) -> Object:
    """A workload: a Deployment, or the requests of one replica without a manifest.

    Args:
        name: its name.
        namespace: its namespace.
        form: which of the two.
        extra_bytes: so much larger a Deployment is, by environment variables.
    """
    requests = {"cpu": "10m", "memory": "16Mi"}
    spec: dict[str, Any] = {
        "dataClass": "general-2",
        "protectionLevel": 2,
        "networkZones": ["public-network"],
    }
    if form == "demand":
        spec["demand"] = {"replicas": 1, "requests": requests}
    else:
        container: dict[str, Any] = {
            "name": "web",
            "image": "web:1",
            "resources": {"requests": requests},
        }
        if extra_bytes:
            container["env"] = [
                {"name": f"SETTING_{number}", "value": f"{number * 2654435761 % 2**64:032x}"}
                for number in range(extra_bytes // _BYTES_PER_VARIABLE)
            ]
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        selector = {"matchLabels": labels}
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"replicas": 1, "selector": selector, "template": template},
        }
        spec |= {"replicas": 1, "manifests": [deployment]}
    return {
        "apiVersion": WORKLOADS.api_version,
        "kind": WORKLOADS.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


@dataclass(slots=True)
class Observer:
    """Creates workloads and remembers when each was created, placed and running (monotonic)."""

    hub: HubClient
    namespace: str
    created: dict[str, float] = field(default_factory=dict)
    placed: dict[str, float] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)
    versions: dict[str, set[str]] = field(default_factory=dict)
    """The resource versions that were seen of each object."""
    examples: dict[str, Object] = field(default_factory=dict)
    """A status of each phase, for the client that only writes."""
    sites: dict[str, frozenset[str]] = field(default_factory=dict)
    """Where each one was placed when it was seen last."""
    lost_site: str = ""
    """The site that is lost; "": none is."""
    replaced: dict[str, float] = field(default_factory=dict)
    """When each was placed at a site other than the lost one."""
    withdrawn: dict[str, float] = field(default_factory=dict)
    """When each ran without the lost site."""

    async def create(self, names: Sequence[str], form: Form, *, at_once: int = 32) -> None:
        """Creates workloads as fast as the server takes them."""
        todo = iter(names)

        async def work() -> None:
            for name in todo:
                await self.create_one(name, form)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())

    async def offer(self, names: Sequence[str], form: Form, *, rate: float) -> None:
        """Creates workloads at a fixed rate, however long each takes."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, name in enumerate(names):
                pause = begun + number / rate - time.monotonic()
                if pause > 0:
                    await asyncio.sleep(pause)  # noqa: TID251 - a real server is measured
                group.create_task(self.create_one(name, form))

    async def create_one(self, name: str, form: Form, extra_bytes: int = 0) -> None:
        """Creates one workload."""
        self.created[name] = time.monotonic()
        await self.hub.create(WORKLOADS, make_workload(name, self.namespace, form, extra_bytes))

    async def watch(self) -> None:
        """Follows the workloads until cancelled; the server may go away in between."""
        while True:
            with suppress(HubError):
                try:
                    listing = await self.hub.list(WORKLOADS)
                    for item in listing.items:
                        self._see(item)
                    version = listing.resource_version
                    while True:
                        async for event in self.hub.watch(WORKLOADS, version):
                            version = event.object["metadata"]["resourceVersion"]
                            if event.type in {"ADDED", "MODIFIED"}:
                                self._see(event.object)
                except Gone:
                    pass
            await asyncio.sleep(_POLL_SECONDS)  # noqa: TID251 - a real server is waited for

    def _see(self, item: Object) -> None:
        now, meta, status = time.monotonic(), item["metadata"], item.get("status") or {}
        name, phase = meta["name"], status.get("phase", "")
        if meta.get("namespace") != self.namespace:
            return
        self.versions.setdefault(name, set()).add(meta["resourceVersion"])
        self.examples.setdefault(phase, status)
        if phase in _PLACED_PHASES:
            self.placed.setdefault(name, now)
        if phase == "Running":
            self.running.setdefault(name, now)
        groups = status.get("placement", {}).get("groups", ())
        sites = self.sites[name] = frozenset(site for one in groups for site in one["sites"])
        if self.lost_site and sites - {self.lost_site}:
            self.replaced.setdefault(name, now)
            if phase == "Running" and self.lost_site not in sites:
                self.withdrawn.setdefault(name, now)

    async def wait_for(
        self, probe: Callable[[], bool], *, within_seconds: float, what: str
    ) -> None:
        """Waits until a condition holds.

        Raises:
            ValueError: it does not hold in time.
        """
        deadline = time.monotonic() + within_seconds
        while not probe():
            if time.monotonic() > deadline:
                raise ValueError(
                    f"{what}: not within {within_seconds:g} s; {len(self.placed)} placed and"
                    f" {len(self.running)} running of {len(self.created)}"
                )
            await asyncio.sleep(_POLL_SECONDS)  # noqa: TID251 - real processes are waited for


@dataclass(slots=True)
class ApiCosts:
    """What an API server had done at one moment, by its own metrics.

    Attributes:
        writes: successful writes by resource and subresource, such as `workloads/status`.
        cpu_seconds: CPU time of the server; None: it does not say so.
        resident_bytes: its memory; None: it does not say so.
    """

    writes: Counter[str] = field(default_factory=Counter)
    cpu_seconds: float | None = None
    resident_bytes: float | None = None


@dataclass(slots=True)
class ApiMetrics:
    """Reads `/metrics` of an API server.

    Attributes:
        only_ours: count only kinds that Kapok writes; a real server has other clients too.
    """

    session: aiohttp.ClientSession
    url: str
    headers: dict[str, str]
    only_ours: bool

    async def read(self) -> ApiCosts | None:
        """The costs until now; None: this client may not read them."""
        async with self.session.get(self.url, headers=self.headers) as response:
            if response.status >= _FIRST_ERROR_CODE:
                return None
            return parse_costs(await response.text(), only_ours=self.only_ours)


@asynccontextmanager
async def open_metrics(kubeconfig: Path, *, only_ours: bool) -> AsyncIterator[ApiMetrics]:
    """Opens a client for `/metrics` of the server of a kubeconfig."""
    configuration = await read_configuration(kubeconfig, None)
    bearer: Any = (await configuration.auth_settings()).get("BearerToken")
    headers = {bearer["key"]: bearer["value"]} if bearer else {}
    connector = aiohttp.TCPConnector(ssl=ssl_context_of(configuration))
    async with aiohttp.ClientSession(connector=connector) as session:
        url = str(configuration.host).rstrip("/") + "/metrics"
        yield ApiMetrics(session, url, headers, only_ours)


def parse_costs(text: str, *, only_ours: bool) -> ApiCosts:
    """Reads the metrics of a server in the text format of Prometheus."""
    costs = ApiCosts()
    for line in text.splitlines():
        found = _SAMPLE.fullmatch(line)
        if found is None:
            continue
        name, labels, value = found[1], dict(_LABEL.findall(found[2] or "")), float(found[3])
        if name == "process_cpu_seconds_total":
            costs.cpu_seconds = value
        elif name == "process_resident_memory_bytes":
            costs.resident_bytes = value
        elif name == "apiserver_request_total" and _is_write(labels, only_ours=only_ours):
            kind = labels["resource"] + (f"/{sub}" if (sub := labels["subresource"]) else "")
            costs.writes[kind] += int(value)
    return costs


def _is_write(labels: dict[str, str], *, only_ours: bool) -> bool:
    if (
        labels.get("verb") not in _WRITING_VERBS
        or int(labels.get("code") or 0) >= _FIRST_ERROR_CODE
    ):
        return False
    return not only_ours or labels.get("group") in _OUR_GROUPS or labels.get("resource") == "events"
