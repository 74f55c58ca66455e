"""What a benchmark that was killed leaves on a server is gone before the next one begins."""

import os
from pathlib import Path

import pytest

from benchmarks import _hub_setup as setup
from scheduler.apiserver.server import serve
from scheduler.control.ports.hub import NAMESPACES, SITES, WORKLOADS, Object
from scheduler.control.status.finalizer import FINALIZER
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub_process.options import server_options

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

DEAD = 2**22 + 1
"""No process of Linux has this ID."""


def of_a_run(pid: int) -> tuple[Object, Object, Object]:
    """A namespace, a workload in it, and a site."""
    name = f"kapok-benchmark-{pid}"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    workload = {
        "apiVersion": WORKLOADS.api_version,
        "kind": WORKLOADS.kind,
        "metadata": {"name": "w", "namespace": name},
        "spec": {"demand": {"replicas": 1, "requests": {"cpu": "1"}}},
    }
    site = {
        "apiVersion": SITES.api_version,
        "kind": SITES.kind,
        "metadata": {"name": f"bench-{pid}-0"},
        "spec": {
            "tier": "edge",
            "location": {"province": "CN-GD", "city": "guangzhou", "metro": "guangzhou"},
            "energy": {"gridZone": "CN-GD", "pue": 1.3, "pueOrigin": "assumed"},
            "prices": {"energyCnyPerKwh": 0.6, "coreCnyPerHour": 0.05},
            "delivery": {"mode": "Pull"},
        },
    }
    return namespace, workload, site


async def names(client: HubClient) -> set[str]:
    """The workloads, with their namespaces, and the sites."""
    workloads = (await client.list(WORKLOADS)).items
    found = {f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in workloads}
    return found | {one["metadata"]["name"] for one in (await client.list(SITES)).items}


async def test_leftovers_go_although_the_server_keeps_their_finalizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = server_options(
        data_dir=tmp_path, port=0, max_objects=100, max_bytes=10**7, on_fault=pytest.fail
    )
    other = os.getppid()
    monkeypatch.setattr(setup, "is_of_another_run", lambda pid: int(pid) == other)
    async with serve(options) as server, open_hub(server.kubeconfig_path) as client:
        for pid in (DEAD, other):
            for resource, body in zip((NAMESPACES, WORKLOADS, SITES), of_a_run(pid), strict=True):
                made = await client.create(resource, body)
                if resource is WORKLOADS:
                    assert made["metadata"]["finalizers"] == [FINALIZER]
        await setup.remove_leftovers(server.kubeconfig_path)
        assert await names(client) == {f"kapok-benchmark-{other}/w", f"bench-{other}-0"}
        namespaces = {one["metadata"]["name"] for one in (await client.list(NAMESPACES)).items}
        assert f"kapok-benchmark-{DEAD}" not in namespaces
        await setup.empty_namespace(client, f"kapok-benchmark-{other}")
        assert await names(client) == {f"bench-{other}-0"}


def test_a_dead_process_is_no_other_run_and_this_one_neither() -> None:
    assert not setup.is_of_another_run(str(DEAD))
    assert not setup.is_of_another_run(str(os.getpid()))
