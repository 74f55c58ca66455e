"""What a scheduler that stands by prepares, and what it plans of that when it takes over."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from scheduler.control.orders import kept_orders
from scheduler.control.orders.kept_orders import KeptOrders
from scheduler.control.ports.hub import KAPOK_RESOURCES, TENANTS, WORKLOADS, WatchEvent
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from tests.support.control_loops import EPOCH, ControlLoops
from tests.support.fake_hub import FakeHub
from tests.support.pod_kinds import of_kind, template
from tests.support.sites import Raw, nodes, site, workload

SITE = site("m1", nodes(8), observedAt="2026-11-24T08:00:00Z")


def deployed(name: str) -> Raw:
    manifest = of_kind("apps/v1", "Deployment", replicas=1, template=template())
    manifest["metadata"] = {"name": name}
    made = workload(name=name, manifests=[manifest])
    del made["spec"]["demand"], made["status"]
    return made


async def with_placed(*names: str) -> FakeHub:
    """A hub in which a first leader has placed these workloads."""
    hub = FakeHub()
    loops = ControlLoops(hub=hub)
    async with loops.started(SITE, *map(deployed, names)):
        for _ in range(4):
            loops.read_hub()
            await loops.clock.settle()
            await loops.clock.advance(1.0)
    return hub


async def listed(hub: FakeHub) -> ControlLoops:
    """A scheduler that has listed the hub, and stands by."""
    loops = ControlLoops(hub=hub)
    for resource in KAPOK_RESOURCES:
        for one in (await hub.list(resource)).items:
            loops.objects.apply_event(resource, WatchEvent("ADDED", one))
    for key in loops.objects.workloads:
        loops.prepared.note_change(key)
    hub.take_events()
    return loops


async def prepare(loops: ControlLoops) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(loops.prepared.run())
        await loops.clock.advance(1.0)
        task.cancel()


async def take_over(loops: ControlLoops) -> Mapping[str, Any]:
    """What the scheduler plans and counts once it leads."""
    loops.dispatcher.start_epoch(EPOCH)
    loops.startup.begin()
    loops.report(SITE)
    await loops.startup.wait_for_sites()
    state = loops.sites.states["m1"]
    return {
        "orders": loops.dispatcher.plans["m1"].orders,
        "in flight": state.in_flight(300.0),
        "quota": loops.quotas.used_by(["ns"], excluding=("", "")),
    }


async def test_a_warm_take_over_plans_the_same_as_a_cold_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = await with_placed("a", "b")
    cold = await take_over(await listed(hub))
    assert len(cold["orders"]) == len(cold["in flight"]) == 2
    loops = await listed(hub)
    await prepare(loops)
    assert len(loops.prepared) == 2
    unpacked: list[object] = []
    monkeypatch.setattr(
        kept_orders, "unpack_accepted_demand", lambda *given: unpacked.append(given)
    )
    assert await take_over(loops) == cold
    assert unpacked == []
    assert len(loops.prepared) == 0


async def test_what_a_start_prepares_while_it_waits_for_sites_is_made_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = await with_placed("a", "b")
    cold = await take_over(await listed(hub))
    loops, made = await listed(hub), list[Any]()
    make = kept_orders.make_kept_orders

    def count(hub_id: str, key: WorkKey, work: Workload) -> KeptOrders | None:
        made.append(key)
        return make(hub_id, key, work)

    monkeypatch.setattr(kept_orders, "make_kept_orders", count)
    loops.prepared.note_change(("ns", "b"))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(loops.prepared.run())
        await loops.clock.settle()
        assert await take_over(loops) == cold  # before the half second is over
        await loops.clock.advance(1.0)
        task.cancel()
    assert sorted(made) == [("ns", "a"), ("ns", "b")]


async def test_what_changed_after_it_was_prepared_is_planned_as_it_is_now() -> None:
    hub = await with_placed("a", "b")
    loops = await listed(hub)
    await prepare(loops)
    edited = await hub.get(WORKLOADS, "a", "ns")
    group = {**edited["status"]["placement"]["groups"][0], "replicas": 3, "generation": 5}
    status = {"placement": {"groups": [group]}}
    await hub.merge_patch(WORKLOADS, "a", {"status": status}, namespace="ns", subresource="status")
    await hub.delete(WORKLOADS, "b", "ns")
    loops.read_hub()  # nobody has noted the change yet
    planned = await take_over(loops)
    cold = await take_over(await listed(hub))
    assert planned == cold
    [one] = planned["in flight"]
    assert one.replicas == 3


async def test_a_tenant_with_a_budget_counts_what_runs_against_it_after_a_warm_take_over() -> None:
    hub = await with_placed("a")
    loops = await listed(hub)
    await prepare(loops)
    [tenant] = (await hub.list(TENANTS)).items
    await hub.merge_patch(
        TENANTS, tenant["metadata"]["name"], {"spec": {"budget": {"cnyPerHour": 5.0}}}
    )
    loops.read_hub()
    await take_over(loops)
    assert loops.quotas._spend_of.keys() == {("ns", "a")}  # noqa: SLF001 - what it counts


async def test_work_without_the_digest_of_each_site_is_not_prepared() -> None:
    hub = await with_placed("a")
    await hub.merge_patch(
        WORKLOADS,
        "a",
        {"status": {"placement": {"orders": None}}},
        namespace="ns",
        subresource="status",
    )
    loops = await listed(hub)
    await prepare(loops)
    assert len(loops.prepared) == 0
