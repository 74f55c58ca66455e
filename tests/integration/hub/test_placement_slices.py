"""A placement on 10,000 sites at an API server: it fits, and goes with its workload."""

import asyncio
import random
from pathlib import Path

import msgspec
import pytest

from scheduler.apiserver.server import serve
from scheduler.control.ports.hub import CONTROLLER_REVISIONS, WORKLOADS, Object, WatchEvent
from scheduler.control.reconcile.workload_writer import WorkloadWriter
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.placement_slices import HubWithSlices, PlacementSlices
from scheduler.hub.client import open_hub
from scheduler.hub.informer import Informer
from scheduler.hub_process.options import server_options
from scheduler.model.kinds.workload import PlacementGroup, PlacementStatus, WorkloadStatus
from scheduler.runtime.clock import SystemClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

KEY = ("default", "w")
SITES = tuple(f"site-{number:05d}" for number in range(10_000))
WORKLOAD: Object = {
    "apiVersion": WORKLOADS.api_version,
    "kind": WORKLOADS.kind,
    "metadata": {"name": "w", "namespace": "default"},
    "spec": {"dataClass": "general-1", "demand": {"replicas": 1, "requests": {"cpu": "1"}}},
}


def status_of(running: int) -> WorkloadStatus:
    """A status with so many sites that run, and the others on their way."""
    groups = [
        PlacementGroup(sites=SITES[:running], replicas=1, generation=1, phase="Running"),
        PlacementGroup(sites=SITES[running:], replicas=1, generation=1, phase="Placing"),
    ]
    orders = {site: f"sha256:{number:064x}" for number, site in enumerate(SITES)}
    placement = PlacementStatus(generation=1, groups=tuple(groups), orders=orders)
    return WorkloadStatus(epoch=1, phase="Placed", placement=placement)


async def test_a_placement_on_10_000_sites_is_written_read_changed_and_deleted(
    tmp_path: Path,
) -> None:
    clock = SystemClock()
    options = server_options(
        data_dir=tmp_path, port=0, max_objects=1000, max_bytes=10**8, on_fault=pytest.fail
    )
    async with serve(options) as server, open_hub(server.kubeconfig_path) as hub:
        slices = PlacementSlices(hub)
        objects = HubObjects(
            telemetry=NullTelemetry(),
            on_change=lambda _kind, _key, _sites: None,
            faults=make_faults(clock),
        )
        objects.apply_event(WORKLOADS, WatchEvent("ADDED", await hub.create(WORKLOADS, WORKLOAD)))
        writer = WorkloadWriter(hub=hub, objects=objects, clock=clock, slices=slices)
        for running in (9_000, 9_001):
            base = objects.raw_workloads[KEY]
            assert await writer.write_status(KEY, base, status_of(running))
            assert objects.workloads[KEY].status == status_of(running)
            assert not await writer.write_status(
                KEY, objects.raw_workloads[KEY], status_of(running)
            )
        kept = await hub.get(WORKLOADS, "w", "default")
        assert kept["status"]["placement"]["slices"] == 32
        assert len(msgspec.json.encode(kept)) < 20_000
        revisions = (await hub.list(CONTROLLER_REVISIONS)).items
        assert len(revisions) == 32  # the one that changed has taken the place of the former

        seen: list[Object] = []
        informer = Informer(
            HubWithSlices(hub, PlacementSlices(hub)),
            WORKLOADS,
            lambda _resource, change: seen.append(change.object),
            clock=clock,
            jitter=random.Random(1),  # noqa: S311 - a test, seeded
            faults=make_faults(clock),
        )
        await informer.synchronise()
        assert len(seen[0]["status"]["placement"]["orders"]) == 10_000

        await hub.delete(WORKLOADS, "w", "default")
        fresh = await slices.filled(await hub.get(WORKLOADS, "w", "default"))
        objects.apply_event(WORKLOADS, WatchEvent("MODIFIED", fresh))
        await writer.remove_finalizer(KEY, objects.workloads[KEY])
        async with asyncio.timeout(60):  # its garbage collector follows the owner
            while (await hub.list(CONTROLLER_REVISIONS)).items:
                await clock.sleep(0.1)
