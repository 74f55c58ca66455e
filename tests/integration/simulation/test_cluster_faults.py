"""Simulated controllers whose API loses answers, ends watches, forgets history and is busy."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.control.ports.hub import (
    ApiResource,
    Busy,
    Conflict,
    Gone,
    Listing,
    Object,
    WatchEvent,
)
from scheduler.hub.client import HubClient, open_hub
from scheduler.runtime.clock import SystemClock
from scheduler.simulation.cluster.description import NodeDescription
from scheduler.simulation.cluster.kubelet import SimulationPace
from scheduler.simulation.cluster.member import MemberCluster, MemberSettings
from scheduler.simulation.cluster.objects import (
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
)
from tests.support.fake_cluster import deployment, job

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

_SETTLE_SECONDS = 60.0


class UnreliableClient:
    """A client whose requests and watches fail by chance, as with an unreliable network."""

    def __init__(self, client: HubClient, chance: random.Random, rate: float) -> None:
        self._client = client
        self._chance = chance
        self.rate = rate
        self.faults = 0

    def _fails(self, part: float = 1.0) -> bool:
        failed = self._chance.random() < self.rate * part
        self.faults += failed
        return failed

    async def _ask(self, method: str, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - passes everything on
        if self._fails():
            raise Busy("429 Too Many Requests", status=429)
        answer = await getattr(self._client, method)(*given, **named)
        if self._fails():
            raise Busy("the answer was lost")
        if self._fails(0.3):
            raise Conflict("409 another client wrote first", status=409)
        return answer

    async def get(self, *given: Any, **named: Any) -> Object:  # noqa: ANN401 - passes everything on
        found: Object = await self._ask("get", *given, **named)
        return found

    async def list(self, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - passes everything on
        return await self._ask("list", *given, **named)

    async def collection_version(self, resource: ApiResource) -> str:
        version: str = await self._ask("collection_version", resource)
        return version

    async def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        async for page in self._client.list_pages(resource):
            if self._fails(0.2):
                raise Gone("410 Expired: too old continue token", status=410)
            yield page

    async def create(self, *given: Any, **named: Any) -> Object:  # noqa: ANN401 - passes everything on
        found: Object = await self._ask("create", *given, **named)
        return found

    async def merge_patch(self, *given: Any, **named: Any) -> Object:  # noqa: ANN401 - passes everything on
        found: Object = await self._ask("merge_patch", *given, **named)
        return found

    async def raw(self, method: str, path: str, *, body: Mapping[str, Any] | None = None) -> Object:
        found: Object = await self._ask("raw", method, path, body=body)
        return found

    async def watch(self, resource: ApiResource, version: str) -> AsyncIterator[WatchEvent]:
        async for change in self._client.watch(resource, version):
            if self._fails(0.2):
                raise Gone("410 Expired: too old resource version", status=410)
            yield change
            if self._fails(0.5):
                return


async def _play_until(
    kubeconfig: Path, rate: float, settled: Callable[[HubClient], Any], *, seed: int = 11
) -> int:
    """Plays a cluster over a bad line until it has settled; how many faults it met."""
    chance = random.Random(seed)  # noqa: S311 - the same faults in every run
    settings = MemberSettings(
        name="m",
        kubeconfig=kubeconfig,
        nodes=[NodeDescription(name="node", count=3)],
        pace=SimulationPace(start_seconds=0.1, stop_seconds=0.05, job_seconds=0.3),
    )
    async with open_hub(kubeconfig) as client:
        line = UnreliableClient(client, chance, rate)
        member = MemberCluster(
            settings=settings,
            client=line,  # type: ignore[arg-type]
            clock=SystemClock(),
            jitter=chance,
        )
        async with asyncio.TaskGroup() as group, asyncio.timeout(_SETTLE_SECONDS):
            playing = group.create_task(member.run(lambda: None))
            while not await settled(client):
                await SystemClock().sleep(0.2)
            playing.cancel()
        return line.faults


async def _objects(client: HubClient, resource: ApiResource) -> list[Object]:
    return [
        one
        for one in (await client.list(resource)).items
        if one["metadata"].get("namespace") == "city"
    ]


async def _has_settled(client: HubClient) -> bool:
    web, db = await _objects(client, DEPLOYMENTS), await _objects(client, STATEFUL_SETS)
    jobs = await _objects(client, JOBS)
    ready = [one.get("status", {}).get("readyReplicas", 0) for one in (*web, *db)]
    return ready == [5, 3] and "Complete" in json.dumps(jobs)


@pytest.mark.parametrize("rate", [0.0, 0.06])
async def test_it_settles_exactly_whatever_the_network_does(tmp_path: Path, rate: float) -> None:
    faults = await _settles(tmp_path, rate, seed=11)
    assert (faults > 5) == (rate > 0)


@pytest.mark.soak
async def test_it_settles_exactly_on_many_bad_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = [await _settles(tmp_path / f"{seed}", 0.08, seed=seed) for seed in range(30)]
    line = {"scenario": "simulated cluster on a bad line", "runs": 30, "faults": sum(faults)}
    with capsys.disabled():
        print(json.dumps(line))  # noqa: T201 - what `make soak` is for


async def _settles(folder: Path, rate: float, *, seed: int) -> int:
    """Runs three workloads until they settle, and checks the result; returns how many faults."""
    options = ApiServerOptions(data_dir=folder / "m", name="m", crds=[])
    async with serve(options) as server, open_hub(server.kubeconfig_path) as user:
        await user.create(NAMESPACES, {"metadata": {"name": "city"}, "kind": "Namespace"})
        await user.create(DEPLOYMENTS, deployment("web", 5, cpu="500m"))
        await user.create(STATEFUL_SETS, deployment("db", 3, kind="StatefulSet", cpu="500m"))
        await user.create(JOBS, job("calc", completions=3, parallelism=2))
        faults = await _play_until(server.kubeconfig_path, rate, _has_settled, seed=seed)
        pods = await _objects(user, PODS)
        assert len(await _objects(user, REPLICA_SETS)) == 1
        assert len(pods) == 5 + 3 + 3
        assert all(pod["spec"]["nodeName"].startswith("node-") for pod in pods)
        return faults


async def test_one_object_that_makes_no_sense_stops_no_other(tmp_path: Path) -> None:
    options = ApiServerOptions(data_dir=tmp_path / "m", name="m", crds=[])
    strange = deployment("strange", 2)
    strange["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "some"}}
    async with serve(options) as server, open_hub(server.kubeconfig_path) as user:
        await user.create(NAMESPACES, {"metadata": {"name": "city"}, "kind": "Namespace"})
        await user.create(DEPLOYMENTS, strange)
        await user.create(DEPLOYMENTS, deployment("web", 2))

        async def web_is_ready(client: HubClient) -> bool:
            found = await client.get(DEPLOYMENTS, "web", "city")
            return bool(found.get("status", {}).get("readyReplicas") == 2)

        await _play_until(server.kubeconfig_path, 0.0, web_is_ready)
