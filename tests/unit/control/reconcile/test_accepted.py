"""What was accepted stays in force with any leader: each one here begins with an empty ledger."""

import random
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from scheduler.control.ports.agents import OrderState, OrderStatusReport
from scheduler.control.ports.hub import (
    CONTROLLER_REVISIONS,
    GRANTS,
    SCHEMES,
    TENANTS,
    WORKLOADS,
    Object,
)
from tests.support.control_loops import ControlLoops
from tests.support.fake_hub import FakeHub
from tests.support.pod_kinds import of_kind, template
from tests.support.sites import Raw, nodes, site, workload

SITE = site("m1", nodes(8), observedAt="2026-11-24T08:00:00Z")
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s"},
    "stringData": {"password": "hunter2"},
}


def settings_of(size: int, seed: int = 0) -> Raw:
    """A ConfigMap that does not get smaller."""
    text = b64encode(random.Random(seed).randbytes(size)).decode()  # noqa: S311 - no secret
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": {"text": text},
    }


def deployed(*manifests: Raw, image: str = "web:1") -> Raw:
    web = of_kind("apps/v1", "Deployment", replicas=1, template=template())
    web["metadata"]["name"] = "a"
    web["spec"]["template"]["spec"]["containers"][0]["image"] = image
    made = workload(name="a", manifests=[web, *manifests])
    del made["spec"]["demand"], made["status"]
    return made


async def settle(loops: ControlLoops) -> None:
    for _ in range(8):
        loops.read_hub()
        await loops.clock.settle()
        await loops.clock.advance(1.0)
    loops.dispatcher.flush()


async def placed_on(hub: FakeHub, raw: Raw) -> dict[str, str]:
    """Has a first leader place a workload; returns its newest index of m1."""
    loops = ControlLoops(hub=hub)
    async with loops.started(SITE, raw):
        await settle(loops)
        return dict(loops.publisher.indexes["m1"])


@asynccontextmanager
async def next_leader(hub: FakeHub) -> AsyncIterator[ControlLoops]:
    """A leader that knows nothing but the hub; what it publishes before it decides is kept."""
    loops = ControlLoops(hub=hub)
    async with loops.leads(SITE):
        loops.dispatcher.flush()
        yield loops


def want_content(loops: ControlLoops, order_id: str) -> None:
    """The site reports that it lacks the content of an order."""
    state = OrderState(id=order_id, generation=1, phase="Pending")
    loops.controller.on_order_status(
        OrderStatusReport(
            site="m1",
            site_uid=None,
            version=None,
            digest="",
            orders={order_id: state},
            missing=(order_id,),
        )
    )


async def edit(hub: FakeHub, raw: Raw) -> None:
    await hub.merge_patch(WORKLOADS, "a", {"spec": raw["spec"]}, namespace="ns")


async def set_status(hub: FakeHub, **fields: Any) -> None:  # noqa: ANN401 - JSON
    await hub.merge_patch(WORKLOADS, "a", {"status": fields}, namespace="ns", subresource="status")


async def status_of(hub: FakeHub) -> dict[str, Any]:
    found: dict[str, Any] = (await hub.get(WORKLOADS, "a", "ns"))["status"]
    return found


async def condition(hub: FakeHub, kind: str) -> Raw:
    found = (await status_of(hub))["conditions"]
    return next((one for one in found if one["type"] == kind), {})


async def revisions(hub: FakeHub) -> list[Object]:
    return (await hub.list(CONTROLLER_REVISIONS, "ns")).items


async def test_a_status_says_what_was_accepted_and_which_order_each_site_has() -> None:
    hub = FakeHub()
    listed = await placed_on(hub, deployed())
    status = await status_of(hub)
    assert status["accepted"]["generation"] == 1
    assert len(status["accepted"]["content"]) < 4000
    assert list(listed.values()) == [status["placement"]["orders"]["m1"]]
    assert await revisions(hub) == []


async def test_the_next_leader_changes_no_order_and_writes_nothing() -> None:
    hub = FakeHub()
    listed = await placed_on(hub, deployed())
    before = await hub.get(WORKLOADS, "a", "ns")
    async with next_leader(hub) as loops:
        assert loops.publisher.indexes["m1"] == listed
        await settle(loops)
        assert loops.publisher.indexes["m1"] == listed
    assert await hub.get(WORKLOADS, "a", "ns") == before


@pytest.mark.parametrize("is_seen", [True, False])
async def test_a_refused_edit_is_not_rolled_out_after_a_take_over(*, is_seen: bool) -> None:
    hub = FakeHub()
    loops = ControlLoops(hub=hub)
    async with loops.started(SITE, deployed()):
        await settle(loops)
        listed = dict(loops.publisher.indexes["m1"])
        if is_seen:
            await edit(hub, deployed(SECRET, image="web:2"))
            await settle(loops)
    if not is_seen:
        await edit(hub, deployed(SECRET, image="web:2"))
    accepted = (await status_of(hub))["accepted"]
    for _ in range(2):
        async with next_leader(hub) as loops:
            assert loops.publisher.indexes["m1"] == listed
            await settle(loops)
            assert loops.publisher.indexes["m1"] == listed
            assert ("order", "m1", 1) not in loops.publisher.log, "the site has the content"
            want_content(loops, *listed)
            await settle(loops)
            assert ("order", "m1", 1) in loops.publisher.log, "the content is known"
            assert loops.publisher.indexes["m1"] == listed
    status = await status_of(hub)
    assert status["accepted"] == accepted
    assert (await condition(hub, "Accepted"))["status"] == "False"
    assert await condition(hub, "OrdersKept") == {}
    assert "hunter2" not in repr(status)


async def test_an_edit_that_came_while_nobody_led_is_ordered_after_its_decision() -> None:
    hub = FakeHub()
    listed = await placed_on(hub, deployed())
    await edit(hub, deployed(image="web:2"))
    async with next_leader(hub) as loops:
        assert loops.publisher.indexes["m1"] == listed
        await settle(loops)
        assert loops.publisher.indexes["m1"] != listed
    status = await status_of(hub)
    assert status["accepted"]["generation"] == 2
    assert status["placement"]["orders"] == {
        "m1": next(iter(loops.publisher.indexes["m1"].values()))
    }


async def test_a_site_that_is_left_keeps_its_older_content_with_the_next_leader() -> None:
    hub, other = FakeHub(), site("m2", nodes(8), observedAt="2026-11-24T08:00:00Z")
    loops = ControlLoops(hub=hub)

    def at(name: str, image: str) -> Raw:
        only = {"key": "kapok.dev/site", "operator": "In", "values": [name]}
        made = deployed(image=image)
        selector = {"matchExpressions": [only]}
        made["spec"]["placement"] = {"siteSelector": selector, "onViolation": "Move"}
        return made

    async with loops.started(SITE, other, at("m1", "web:1")):
        await settle(loops)
        await edit(hub, at("m2", "web:2"))
        await settle(loops)
        listed = dict(loops.publisher.indexes)
    orders = (await status_of(hub))["placement"]["orders"]
    assert set(orders) == {"m1", "m2"}
    following = ControlLoops(hub=hub)
    async with following.leads(SITE, other):
        await settle(following)
        assert following.publisher.indexes == listed
    assert (await status_of(hub))["placement"]["orders"] == orders


async def test_without_what_was_accepted_the_order_stays_and_the_status_says_so() -> None:
    hub = FakeHub()
    listed = await placed_on(hub, deployed())
    await edit(hub, deployed(SECRET, image="web:2"))
    await set_status(hub, accepted=None)
    async with next_leader(hub) as loops:
        await settle(loops)
        assert loops.publisher.indexes["m1"] == listed
        assert [one for one in loops.publisher.log if one[0] == "order"] == []
        assert (await condition(hub, "OrdersKept"))["reason"] == "AcceptedMissing"
        want_content(loops, *listed)
        loops.dispatcher.flush()
        await settle(loops)
        assert [one for one in loops.publisher.log if one[0] == "order"] == []
        assert "asks for the content" in (await status_of(hub))["reason"]
        await edit(hub, deployed(image="web:3"))
        await settle(loops)
        assert loops.publisher.indexes["m1"] != listed
        assert await condition(hub, "OrdersKept") == {}


async def test_an_object_of_an_older_version_follows_the_ledger_or_holds_its_site() -> None:
    hub = FakeHub()
    first = ControlLoops(hub=hub)
    async with first.started(SITE, deployed()):
        await settle(first)
        listed = dict(first.publisher.indexes["m1"])
        await edit(hub, deployed(SECRET, image="web:2"))
        await settle(first)
    await set_status(hub, accepted=None, placement={"orders": None})
    with_ledger = ControlLoops(hub=hub, recorder=first.recorder)
    async with with_ledger.leads(SITE):
        await settle(with_ledger)
        assert with_ledger.publisher.indexes["m1"] == listed
    async with next_leader(hub) as loops:
        await settle(loops)
        assert "m1" not in loops.publisher.indexes, "any index would change or end what runs"
        assert (await condition(hub, "OrdersKept"))["reason"] == "AcceptedMissing"
        await edit(hub, deployed())
        await settle(loops)
        assert list(loops.publisher.indexes["m1"]) == list(listed)
    assert (await status_of(hub))["accepted"]["content"]


async def test_what_is_damaged_counts_as_missing() -> None:
    hub = FakeHub()
    listed = await placed_on(hub, deployed())
    await edit(hub, deployed(SECRET, image="web:2"))
    content = (await status_of(hub))["accepted"]["content"]
    await set_status(hub, accepted={"content": content[:-8] + "AAAAAAA="})
    async with next_leader(hub) as loops:
        await settle(loops)
        assert loops.publisher.indexes["m1"] == listed
        assert (await condition(hub, "OrdersKept"))["reason"] == "AcceptedDamaged"
        await edit(hub, deployed(image="web:3"))
        await settle(loops)
        assert await condition(hub, "OrdersKept") == {}


async def test_what_a_status_has_no_room_for_stands_in_an_object_beside_the_workload() -> None:
    hub = FakeHub()
    listed = await placed_on(hub, deployed(settings_of(80_000)))
    status = await status_of(hub)
    [revision] = await revisions(hub)
    assert "content" not in status["accepted"]
    digits = status["accepted"]["digest"].removeprefix("sha256:")[:16]
    assert revision["metadata"]["name"] == f"a-{digits}"
    uid = (await hub.get(WORKLOADS, "a", "ns"))["metadata"]["uid"]
    assert [one["uid"] for one in revision["metadata"]["ownerReferences"]] == [uid]
    written = int(revision["metadata"]["resourceVersion"])
    assert written < int((await hub.get(WORKLOADS, "a", "ns"))["metadata"]["resourceVersion"])
    await edit(hub, deployed(SECRET))
    async with next_leader(hub) as loops:
        await settle(loops)
        assert loops.publisher.indexes["m1"] == listed
        assert await condition(hub, "OrdersKept") == {}
        await edit(hub, deployed(settings_of(80_000, seed=1)))
        await settle(loops)
        [replaced] = await revisions(hub)
        assert replaced["metadata"]["name"] != revision["metadata"]["name"]
        await edit(hub, deployed())
        await settle(loops)
        assert await revisions(hub) == []


async def test_an_object_beside_the_workload_that_is_gone_or_changed_counts_as_missing() -> None:
    hub = FakeHub()
    listed = await placed_on(hub, deployed(settings_of(80_000)))
    [revision] = await revisions(hub)
    name = revision["metadata"]["name"]
    await edit(hub, deployed(SECRET))
    await hub.merge_patch(CONTROLLER_REVISIONS, name, {"data": {"content": "eJw="}}, namespace="ns")
    async with next_leader(hub) as loops:
        await settle(loops)
        assert loops.publisher.indexes["m1"] == listed
        assert (await condition(hub, "OrdersKept"))["reason"] == "AcceptedDamaged"
    await hub.delete(CONTROLLER_REVISIONS, name, "ns")
    async with next_leader(hub) as loops:
        await settle(loops)
        assert loops.publisher.indexes["m1"] == listed
        assert "is gone" in (await condition(hub, "OrdersKept"))["message"]


async def test_todays_grants_judge_what_was_accepted() -> None:
    hub = FakeHub()
    await placed_on(hub, deployed())
    await edit(hub, deployed(SECRET, image="web:2"))
    await hub.delete(GRANTS, "granted")
    async with next_leader(hub) as loops:
        await settle(loops)
        [group] = (await status_of(hub))["placement"]["groups"]
        assert group["violates"] == "not-allowed"
        assert (await condition(hub, "Violation"))["status"] == "True"


async def test_todays_scheme_judges_what_was_accepted() -> None:
    hub = FakeHub()
    await placed_on(hub, deployed())
    await edit(hub, deployed(SECRET, image="web:2"))
    rule = {"name": "general-2", "protectionLevel": 5}
    scheme = {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "DataClassScheme",
        "metadata": {"name": "default"},
        "spec": {"classes": [rule]},
    }
    await hub.create(SCHEMES, scheme)
    async with next_leader(hub) as loops:
        await settle(loops)
        [group] = (await status_of(hub))["placement"]["groups"]
        assert group["violates"]


async def test_a_tenant_that_is_gone_exempts_nothing() -> None:
    hub = FakeHub()
    listed = await placed_on(hub, deployed())
    await hub.delete(TENANTS, "ns")
    await hub.delete(GRANTS, "granted")
    async with next_leader(hub) as loops:
        await settle(loops)
        assert list(loops.publisher.indexes["m1"]) == list(listed)
        [group] = (await status_of(hub))["placement"]["groups"]
        assert group["violates"]
