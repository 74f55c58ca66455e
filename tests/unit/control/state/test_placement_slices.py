"""Placements on more than 500 sites stand in slices, and all else sees them whole."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.control.ports.hub import (
    CONTROLLER_REVISIONS,
    GRANTS,
    SITES,
    TENANTS,
    WORKLOADS,
    Listing,
    Object,
    WatchEvent,
)
from scheduler.control.state.placement_slices import (
    MAX_INLINE,
    STORED,
    HubWithSlices,
    PlacementSlices,
    join,
    split,
    stored_status,
)
from scheduler.model.canonical import canonical_json, to_plain_json
from scheduler.model.decode import decode_as
from scheduler.model.kinds.workload import Workload
from tests.support.control_loops import ControlLoops
from tests.support.fake_hub import FakeHub
from tests.support.sites import Raw, grant, nodes, site, tenant_of_ns

DIGEST = "sha256:" + "0" * 64


def placement_of(*groups: tuple[int, int, str], orders: bool = True) -> Object:
    """A placement with groups of (first site, number of sites, phase)."""
    found: list[Object] = []
    for first, count, phase in groups:
        sites = [f"site-{number:05d}" for number in range(first, first + count)]
        found.append({"sites": sites, "replicas": 1, "generation": 2, "phase": phase})
    placement: Object = {"generation": 2, "groups": found}
    if orders:
        names = sorted({name for one in found for name in one["sites"]})
        placement["orders"] = {name: f"sha256:{number:064x}" for number, name in enumerate(names)}
    return placement


def workload_body(placement: Object) -> Object:
    return {
        "apiVersion": WORKLOADS.api_version,
        "kind": WORKLOADS.kind,
        "metadata": {"name": "w", "namespace": "ns", "uid": "u1"},
        "spec": {},
        "status": {"epoch": 7, "phase": "Running", "placement": placement},
    }


@given(st.integers(0, 700), st.integers(0, 700), st.integers(0, 300), st.booleans())
def test_what_is_split_is_joined_to_the_same(
    running: int,
    placing: int,
    leaving: int,
    orders: bool,  # noqa: FBT001 - drawn
) -> None:
    groups = [
        (0, running, "Running"),
        (running, placing, "Placing"),
        (running // 2, leaving, "Withdrawing"),
    ]
    placement = placement_of(*(one for one in groups if one[1]), orders=orders)
    placement["groups"].sort(key=lambda one: (one["sites"][0], one["phase"] == "Withdrawing"))
    status = {"epoch": 1, "placement": placement}
    stored, slices = split(status)
    if len({name for one in placement["groups"] for name in one["sites"]}) <= MAX_INLINE:
        assert (stored, slices) == (status, {})
        return
    assert stored["placement"].keys() == {"generation", "slices", "sliceDigests"}
    assert stored["placement"]["slices"] == len(slices) > 1
    parts = [msgspec.json.decode(one.content) for one in slices.values()]
    assert join(stored["placement"], parts) == placement


def test_a_change_of_one_site_changes_one_slice() -> None:
    before = {"placement": placement_of((0, 10_000, "Running"))}
    after = to_plain_json(before)
    after["placement"]["orders"]["site-04711"] = DIGEST
    (stored, old), (_, new) = split(before), split(after)
    assert len(old) == 32
    assert len(new.keys() - old.keys()) == 1
    assert max(len(one.content) for one in old.values()) < 50_000
    assert len(canonical_json(stored)) < 3000


async def test_a_reader_sees_the_whole_and_a_lost_slice_makes_it_unreadable() -> None:
    hub, body = FakeHub(), workload_body(placement_of((0, 900, "Running")))
    stored, slices = split(body["status"])
    writer = PlacementSlices(hub)
    await writer.store(hub, body, slices)
    kept = {**body, "status": stored}
    filled = await PlacementSlices(hub).filled(kept)
    assert filled["status"] == body["status"]
    assert stored_status(filled) == stored
    workload = decode_as(filled, Workload, allow_unknown=True)
    assert len(workload.status.placement.groups[0].sites) == 900
    assert workload.status.placement.slices == 0
    await hub.create(WORKLOADS, kept)
    revisions = (await hub.list(CONTROLLER_REVISIONS)).items
    await hub.delete(CONTROLLER_REVISIONS, revisions[0]["metadata"]["name"], "ns")
    lost = await PlacementSlices(hub).filled(kept)
    assert lost[STORED] == stored["placement"]
    with pytest.raises(ValueError, match="placement"):
        decode_as(lost, Workload, allow_unknown=True)


async def test_a_slice_that_was_changed_is_not_believed() -> None:
    hub, body = FakeHub(), workload_body(placement_of((0, 900, "Running")))
    stored, slices = split(body["status"])
    await PlacementSlices(hub).store(hub, body, slices)
    name = (await hub.list(CONTROLLER_REVISIONS)).items[0]["metadata"]["name"]
    patch = {"data": {"content": '{"groups":[],"orders":{}}'}}
    await hub.merge_patch(CONTROLLER_REVISIONS, name, patch, namespace="ns")
    kept = {**body, "status": stored}
    await hub.create(WORKLOADS, kept)
    assert isinstance((await PlacementSlices(hub).filled(kept))["status"]["placement"], str)
    # The next write of the same slice puts it right.
    await PlacementSlices(hub).store(hub, body, slices)
    assert (await PlacementSlices(hub).filled(kept))["status"] == body["status"]


class _Followed:
    """One page and one change of a workload; the slices are read from a hub."""

    def __init__(self, hub: FakeHub, body: Object) -> None:
        self.hub, self.body = hub, body

    async def get(self, *words: Any) -> Object:  # noqa: ANN401 - as FakeHub
        return await self.hub.get(*words)

    async def list_pages(self, _resource: Any) -> Any:  # noqa: ANN401 - as FakeHub
        yield Listing([self.body], "1")

    async def collection_version(self, _resource: Any) -> str:  # noqa: ANN401 - as FakeHub
        return ""

    async def list_metadata(self, _resource: Any) -> Listing:  # noqa: ANN401 - as FakeHub
        return Listing([], "1")

    async def watch(self, _resource: Any, _version: str) -> Any:  # noqa: ANN401 - as FakeHub
        for kind in ("MODIFIED", "DELETED"):
            yield WatchEvent(kind, self.body)


async def test_lists_and_watches_bring_the_whole() -> None:
    hub, body = FakeHub(), workload_body(placement_of((0, 900, "Running")))
    stored, slices = split(body["status"])
    await PlacementSlices(hub).store(hub, body, slices)
    kept = {**body, "status": stored}
    followed = HubWithSlices(_Followed(hub, kept), PlacementSlices(hub))
    [page] = [one async for one in followed.list_pages(WORKLOADS)]
    assert page.items[0]["status"] == body["status"]
    changes = [one async for one in followed.watch(WORKLOADS, "1")]
    assert changes[0].object["status"] == body["status"]
    assert changes[1].object == kept


def duplicated() -> Raw:
    container = {
        "name": "c",
        "image": "c:1",
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
    }
    template = {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [container]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "w"},
        "spec": {"selector": {"matchLabels": {"app": "w"}}, "template": template},
    }
    return {
        "apiVersion": WORKLOADS.api_version,
        "kind": WORKLOADS.kind,
        "metadata": {"name": "w", "namespace": "ns"},
        "spec": {
            "dataClass": "general-2",
            "protectionLevel": 2,
            "networkZones": [],
            "replicas": 1,
            "manifests": [deployment],
            "placement": {"strategy": "Duplicated"},
        },
    }


async def put_sites(loops: ControlLoops, number: int) -> list[Raw]:
    sites = [site(f"site-{each:05d}", nodes(8)) for each in range(number)]
    for one in sites:
        await loops.hub.create(SITES, {**one, "status": {}})
    for first in range(0, number, 1000):
        names = [one["metadata"]["name"] for one in sites[first : first + 1000]]
        await loops.hub.create(GRANTS, grant(*names, name=f"g{first}"))
    await loops.hub.create(TENANTS, tenant_of_ns())
    return sites


async def place(loops: ControlLoops) -> Object:
    """Waits until the workload is placed; returns it as the hub has it."""
    for _ in range(40):
        await loops.clock.advance(0.5)
        loops.read_hub()
        if await loops.phase("w") == "Placed":
            break
    return await loops.workload("w")


async def check_placed_and_restored(number: int) -> Object:
    """Places a workload at each of some sites, and has a new leader take over."""
    loops = ControlLoops()
    sites = await put_sites(loops, number)
    async with loops.leads(*sites):
        await loops.hub.create(WORKLOADS, duplicated())
        loops.read_hub()
        body = await place(loops)
        whole = loops.objects.workloads["ns", "w"].status.placement
    following = ControlLoops(hub=loops.hub, clock=loops.clock, recorder=loops.recorder)
    async with following.leads(*sites):
        await place(following)
        found = following.objects.workloads["ns", "w"].status.placement
        assert found == whole
        assert sum(len(one.sites) for one in found.groups) == number
        assert len(found.orders) == number
        assert following.ordered() == {"w"}
    assert (await following.workload("w"))["status"]["placement"] == body["status"]["placement"]
    return body


async def test_a_workload_on_501_sites_is_kept_in_slices_and_a_new_leader_has_it_whole() -> None:
    body = await check_placed_and_restored(501)
    placement = body["status"]["placement"]
    assert placement["slices"] == len(placement["sliceDigests"]) == 2
    assert "groups" not in placement


async def test_up_to_500_sites_stand_in_the_status() -> None:
    body = await check_placed_and_restored(500)
    assert "slices" not in body["status"]["placement"]
    assert len(body["status"]["placement"]["groups"][0]["sites"]) == 500


async def test_a_scheduler_killed_between_slices_and_status_has_changed_nothing() -> None:
    loops = ControlLoops()
    sites = await put_sites(loops, 501)
    async with loops.leads(*sites):
        await loops.hub.create(WORKLOADS, duplicated())
        loops.read_hub()
        body = await place(loops)
        base = loops.objects.raw_workloads["ns", "w"]
        whole = loops.objects.workloads["ns", "w"].status.placement
        changed = to_plain_json(base["status"])
        changed["placement"]["groups"][0]["phase"] = "Running"
        _, slices = split(changed)
        await loops.slices.store(loops.hub, base, slices)
    following = ControlLoops(hub=loops.hub, clock=loops.clock, recorder=loops.recorder)
    async with following.leads(*sites):
        await place(following)
        assert following.objects.workloads["ns", "w"].status.placement == whole
    assert (await following.workload("w"))["status"]["placement"] == body["status"]["placement"]


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_workload_on_10_000_sites_fits_and_is_restored() -> None:
    body = await check_placed_and_restored(10_000)
    assert body["status"]["placement"]["slices"] == 32
    assert len(canonical_json(body)) < 20_000
