"""A start: what it reads of unchanged workloads, and what it writes to them."""

from typing import Any

import pytest

from scheduler.control.ports.agents import OrderState, OrderStatusReport, SiteReport
from scheduler.control.ports.hub import (
    EVENTS,
    GRANTS,
    KAPOK_RESOURCES,
    SITES,
    WORKLOADS,
    WatchEvent,
)
from scheduler.control.state import manifest_readings
from scheduler.model.decode import decode_as
from scheduler.model.kinds.site import Site
from tests.support.control_loops import EPOCH, ControlLoops
from tests.support.fake_hub import FakeHub
from tests.support.pod_kinds import of_kind, template
from tests.support.sites import Raw, nodes, site, workload

SITE = site("m1", nodes(8), observedAt="2026-11-24T08:00:00Z")


def deployed() -> Raw:
    made = workload(
        name="a", manifests=[of_kind("apps/v1", "Deployment", replicas=1, template=template())]
    )
    del made["spec"]["demand"], made["status"]
    return made


async def settle(loops: ControlLoops) -> None:
    for _ in range(8):
        loops.read_hub()
        await loops.clock.settle()
        await loops.clock.advance(1.0)
    loops.dispatcher.flush()


def say(loops: ControlLoops, **running: int) -> None:
    """The site reports that it runs so many ready replicas of each of these orders."""
    figures = decode_as(SITE, Site).status
    now = loops.clock.monotonic()
    bound = {order_id: (1, count) for order_id, count in running.items()}
    loops.controller.on_report(
        SiteReport(site="m1", observed_seconds=now, figures=figures, has_executor=True, bound=bound)
    )
    say_status(loops, **running)


def say_status(loops: ControlLoops, **running: int) -> None:
    orders = {
        order_id: OrderState(
            id=order_id,
            generation=1,
            phase="Ready",
            applied_generation=1,
            replicas=count,
            ready=count,
            bound=count,
        )
        for order_id, count in running.items()
    }
    plan = loops.dispatcher.plans["m1"]
    loops.controller.on_order_status(
        OrderStatusReport(
            site="m1",
            site_uid=None,
            version=plan.version,
            digest=plan.index_digest,
            orders=orders,
        )
    )


async def running_on(hub: FakeHub) -> str:
    """Has a first leader place a workload that then runs; returns the id of its order."""
    loops = ControlLoops(hub=hub)
    async with loops.started(SITE, deployed()):
        await settle(loops)
        [order_id] = loops.publisher.indexes["m1"]
        say(loops, **{order_id: 1})
        await settle(loops)
        assert await loops.phase("a") == "Running"
    return order_id


async def test_a_start_reads_no_manifest_of_what_is_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = FakeHub()
    order_id = await running_on(hub)
    before = await hub.get(WORKLOADS, "a", "ns")
    read: list[Any] = []
    monkeypatch.setattr(manifest_readings, "read_pods", lambda *given: read.append(given))
    loops = ControlLoops(hub=hub)
    for resource in KAPOK_RESOURCES:
        for one in (await hub.list(resource)).items:
            loops.objects.apply_event(resource, WatchEvent("ADDED", one))
    loops.dispatcher.start_epoch(EPOCH)
    loops.startup.begin()
    say(loops, **{order_id: 1})
    await loops.startup.wait_for_sites()
    loops.dispatcher.flush()
    assert loops.publisher.indexes["m1"] == {
        order_id: before["status"]["placement"]["orders"]["m1"]
    }
    assert loops.quotas.used_by(["ns"], excluding=("", "")) == {"cpu": 250, "pods": 1}
    assert read == []


async def test_a_start_writes_nothing_about_a_site_before_that_is_heard() -> None:
    hub = FakeHub()
    order_id = await running_on(hub)
    before = await hub.get(WORKLOADS, "a", "ns")
    events = len((await hub.list(EVENTS)).items)
    loops = ControlLoops(hub=hub)
    loops.startup.wait_for_sites_seconds = 0.0
    async with loops.leads():
        await settle(loops)
        assert await hub.get(WORKLOADS, "a", "ns") == before
        loops.controller.on_report(
            SiteReport(
                site="m1",
                observed_seconds=loops.clock.monotonic(),
                figures=decode_as(SITE, Site).status,
                has_executor=True,
                bound={order_id: (1, 1)},
            )
        )
        await settle(loops)
        assert await hub.get(WORKLOADS, "a", "ns") == before, "not known which orders it has"
        say_status(loops, **{order_id: 1})
        await settle(loops)
        assert await hub.get(WORKLOADS, "a", "ns") == before
        assert len((await hub.list(EVENTS)).items) == events


async def test_an_order_that_a_site_turns_out_to_lack_after_a_start_is_written() -> None:
    hub = FakeHub()
    await running_on(hub)
    loops = ControlLoops(hub=hub)
    loops.startup.wait_for_sites_seconds = 0.0
    async with loops.leads():
        await settle(loops)
        say(loops)
        await settle(loops)
        assert await loops.phase("a") == "Degraded"


async def test_a_site_that_stays_silent_after_a_start_is_written_in_the_end() -> None:
    hub = FakeHub()
    await running_on(hub)
    loops = ControlLoops(hub=hub)
    loops.sites.silent_after_seconds = 20.0
    loops.startup.wait_for_sites_seconds = 0.0
    async with loops.leads():
        await settle(loops)
        assert await loops.phase("a") == "Running"
        for _ in range(3):
            await settle(loops)
        assert await loops.phase("a") == "Degraded"


OTHER = site("m2", nodes(8), observedAt="2026-11-24T08:00:00Z")
TAINT = {"key": "maintenance", "effect": "NoExecute"}


async def placed_before(
    hub: FakeHub, *sites: Raw, replicas: int = 1, placement: Raw | None = None
) -> None:
    """Has a first leader place a workload, and the hub know the figures of the sites."""
    loops = ControlLoops(hub=hub)
    async with loops.started(*sites, workload(replicas, name="a", placement=placement)):
        await settle(loops)
    for one in sites:
        name = one["metadata"]["name"]
        await hub.merge_patch(SITES, name, {"status": one["status"]}, subresource="status")


async def two_seconds(loops: ControlLoops) -> None:
    for _ in range(4):
        loops.read_hub()
        await loops.clock.settle()
        await loops.clock.advance(0.5)


def placed_at(raw: Raw) -> dict[str, int]:
    groups = raw["status"].get("placement", {}).get("groups", ())
    return {site: one["replicas"] for one in groups if one["replicas"] for site in one["sites"]}


async def test_a_taint_that_came_before_a_start_ends_work_though_no_site_is_heard() -> None:
    hub = FakeHub()
    await placed_before(hub, SITE)
    await hub.merge_patch(SITES, "m1", {"spec": {"taints": [TAINT]}})
    loops = ControlLoops(hub=hub)
    loops.startup.wait_for_sites_seconds = 0.0
    async with loops.leads():
        await two_seconds(loops)
        assert placed_at(await loops.workload("a")) == {}


async def test_a_right_that_ends_after_a_start_is_told_though_no_site_is_heard() -> None:
    hub = FakeHub()
    await placed_before(hub, SITE)
    loops = ControlLoops(hub=hub)
    loops.startup.wait_for_sites_seconds = 0.0
    async with loops.leads():
        await settle(loops)
        before = await loops.workload("a")
        assert placed_at(before) == {"m1": 1}
        await hub.merge_patch(GRANTS, "granted", {"spec": {"dataClass": "general-1"}})
        loops.read_hub()
        await two_seconds(loops)
        [group] = (await loops.workload("a"))["status"]["placement"]["groups"]
        assert group["violates"] == "data-class"


async def test_a_deleted_site_is_left_though_another_one_is_not_heard() -> None:
    hub = FakeHub()
    await placed_before(hub, SITE, OTHER, replicas=2, placement={"strategy": "Duplicated"})
    loops = ControlLoops(hub=hub)
    loops.startup.wait_for_sites_seconds = 0.0
    async with loops.leads():
        await settle(loops)
        assert placed_at(await loops.workload("a")).keys() == {"m1", "m2"}
        await hub.delete(SITES, "m1")
        loops.read_hub()
        await two_seconds(loops)
        assert placed_at(await loops.workload("a")).keys() == {"m2"}


async def test_work_that_waits_is_not_written_before_the_sites_are_heard() -> None:
    hub = FakeHub()
    full = site("m1", nodes(8, cpu="100m"), observedAt="2026-11-24T08:00:00Z")
    await placed_before(hub, full)
    before = await hub.get(WORKLOADS, "a", "ns")
    assert before["status"]["phase"] == "Waiting"
    loops = ControlLoops(hub=hub)
    loops.startup.wait_for_sites_seconds = 0.0
    async with loops.leads():
        await settle(loops)
        assert await hub.get(WORKLOADS, "a", "ns") == before
        loops.report(full)
        await settle(loops)
        assert await hub.get(WORKLOADS, "a", "ns") == before
        loops.report(SITE)
        await settle(loops)
        assert placed_at(await loops.workload("a")) == {"m1": 1}


async def test_work_that_waits_is_placed_where_room_is_known_before_all_sites_are_heard() -> None:
    hub = FakeHub()
    full = [
        site(name, nodes(8, cpu="100m"), observedAt="2026-11-24T08:00:00Z") for name in ("m1", "m2")
    ]
    await placed_before(hub, *full)
    loops = ControlLoops(hub=hub)
    loops.startup.wait_for_sites_seconds = 0.0
    async with loops.leads():
        await settle(loops)
        assert await loops.phase("a") == "Waiting"
        loops.report(SITE)
        await settle(loops)
        assert placed_at(await loops.workload("a")) == {"m1": 1}
