"""What is left of a workload where it no longer runs: orders of 0 replicas, claims, obstacles."""

from typing import Any

import pytest

from scheduler.control.orders.build import adopted_groups, orders_of
from scheduler.control.ports.agents import OrderState, OrderStatusReport
from scheduler.control.ports.hub import SITES as SITE_RESOURCE
from scheduler.control.ports.hub import WORKLOADS
from scheduler.control.sites.site_state import SiteState
from scheduler.control.status.migration import SiteShare
from scheduler.model.decode import decode
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.manifests import (
    holds_data,
    read_manifests,
    with_claims_retained,
    without_pods,
)
from tests.support.control_loops import ControlLoops
from tests.support.sites import nodes, site, workload

Json = dict[str, Any]
SITES = [site(name, nodes(8), observedAt="2026-11-24T08:00:00Z") for name in ("m1", "m2")]
CLAIM = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}}
VOLUME = {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}


def manifest(kind: str, *volumes: Json, **spec: Any) -> Json:  # noqa: ANN401 - any JSON
    pod = {"containers": [{"name": "c"}], "volumes": list(volumes)}
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": {"name": "web"},
        "spec": {**spec, "template": {"spec": pod}},
    }


def stateful(**spec: Any) -> Json:  # noqa: ANN401 - any JSON
    raw = workload(1, name="db")
    raw["spec"].pop("demand", None)
    raw["spec"] |= {"manifests": [CLAIM, manifest("Deployment", VOLUME)], **spec}
    return raw


def answer(loops: ControlLoops, name: str, **more: Any) -> None:  # noqa: ANN401 - fields
    """A site works by the newest index and runs all that it lists, but for what is told."""
    loops.dispatcher.flush()
    plan = loops.dispatcher.plans[name]
    plan.is_dirty = more.pop("is_busy", False)
    runs = {
        order_id: OrderState(
            id=order_id,
            generation=one.generation,
            applied_generation=one.generation,
            phase="Ready",
            ready=1,
            bound=1,
        )
        for order_id, one in plan.orders.items()
    }
    words: Json = {"orders": runs | more.pop("orders", {}), "site_uid": plan.uid}
    loops.controller.on_order_status(
        OrderStatusReport(
            site=name, version=plan.version, digest=plan.index_digest, **(words | more)
        )
    )


async def settled(loops: ControlLoops) -> Json:
    loops.read_hub()
    await loops.clock.advance(1)
    status: Json = (await loops.workload("db"))["status"]
    return status


async def order_id_of(loops: ControlLoops) -> str:
    [order_id] = {i for plan in loops.dispatcher.plans.values() for i in plan.orders}
    return order_id


async def running(loops: ControlLoops) -> tuple[str, str]:
    """The site that runs it, and the id of its order."""
    status = await settled(loops)
    [group] = status["placement"]["groups"]
    [where] = group["sites"]
    answer(loops, where)
    assert (await settled(loops))["phase"] == "Running"
    return where, await order_id_of(loops)


async def moved(loops: ControlLoops) -> tuple[str, str, str]:
    """The site that it has left, the one that runs it now, and the id of its orders."""
    old, order_id = await running(loops)
    [new] = {"m1", "m2"} - {old}
    taint = {"key": "x", "effect": "NoExecute"}
    await loops.hub.merge_patch(SITE_RESOURCE, old, {"spec": {"taints": [taint]}})
    await settled(loops)
    loops.requeuer.redecide(loops.objects.workloads)
    await settled(loops)
    answer(loops, new)
    return old, new, order_id


def condition(status: Json, kind: str) -> Json:
    return next((one for one in status["conditions"] if one["type"] == kind), {})


async def test_with_0_replicas_the_order_stays_and_work_with_a_claim_comes_back_to_it() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, stateful()):
        where, order_id = await running(loops)
        for replicas in (0, 1):
            spec = {"spec": {"replicas": replicas}}
            await loops.hub.merge_patch(WORKLOADS, "db", spec, namespace="ns")
            await settled(loops)
            answer(loops, where)
            status = await settled(loops)
            order = loops.dispatcher.order_at(where, order_id)
            assert order is not None
            claim, web = order.manifests
            assert claim["kind"] == "PersistentVolumeClaim"
            assert web["spec"]["replicas"] == replicas  # type: ignore[index]  # JSON
            assert condition(status, "Available")["status"] == "True"
            assert "remains" not in status


async def test_a_taint_with_nowhere_to_go_keeps_an_order_of_0_replicas() -> None:
    loops = ControlLoops()
    async with loops.started(SITES[0], stateful()):
        where, order_id = await running(loops)
        taint = {"key": "x", "effect": "NoExecute"}
        await loops.hub.merge_patch(SITE_RESOURCE, where, {"spec": {"taints": [taint]}})
        await settled(loops)
        loops.requeuer.redecide(loops.objects.workloads)
        status = await settled(loops)
        assert status["phase"] in ("Waiting", "Refused")
        order = loops.dispatcher.order_at(where, order_id)
        assert order is not None
        assert order.manifests[1]["spec"]["replicas"] == 0  # type: ignore[index]  # JSON


async def test_a_move_is_not_done_before_the_old_site_confirms_and_names_what_it_keeps() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, stateful()):
        old, _new, order_id = await moved(loops)
        holds = OrderState(id=order_id, generation=1, phase="Withdrawing", message="Pod x is held")
        answer(loops, old, orders={order_id: holds})
        status = await settled(loops)
        assert condition(status, "Moving")["reason"] == "WaitsForWithdrawal"
        assert "Pod x is held" in condition(status, "Moving")["message"]
        for is_busy in (True, False):  # an index with another change is on its way
            answer(loops, old, kept={order_id: ("data",)}, is_busy=is_busy)
            status = await settled(loops)
            assert bool(condition(status, "Moving")) is is_busy
        [left] = status["remains"]
        assert (left["site"], left["claims"], "message" in left) == (old, ["data"], False)
        assert not loops.dispatcher.plans[old].purge
        await loops.hub.delete(SITE_RESOURCE, old)
        assert "remains" not in await settled(loops), "its claims are gone with the Site"


@pytest.mark.parametrize("word", ["Keep", "Delete"])
async def test_claims_go_by_onwithdraw_or_with_the_workload(word: str) -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, stateful(onWithdraw=word)):
        other, where, order_id = await moved(loops)
        answer(loops, other, kept={order_id: ("data",)})
        await settled(loops)
        assert loops.dispatcher.plans[other].purge == ({order_id} if word == "Delete" else set())
        deleted = {"metadata": {"deletionTimestamp": "2026-11-24T09:00:00Z"}}
        await loops.hub.merge_patch(WORKLOADS, "db", deleted, namespace="ns")
        await settled(loops)
        assert all(plan.purge == {order_id} for plan in loops.dispatcher.plans.values())
        answer(loops, where)
        answer(loops, other, kept={order_id: ("data",)})
        status = await settled(loops)
        assert status["phase"] == "Deleting"
        assert condition(status, "Withdrawn")["reason"] == "NotSeenGone"
        loops.clock_events.mark_silent(other)
        status = await settled(loops)
        loops.requeuer.requeue(loops.objects.workloads)
        status = await settled(loops)
        assert condition(status, "Withdrawn")["reason"] == "SiteSilent"
        assert "delete its Site" in condition(status, "Withdrawn")["message"]
        answer(loops, other)
        await loops.clock.advance(1)
        assert (await loops.hub.list(WORKLOADS)).items == []  # it went with its finalizer


async def test_a_site_that_never_had_a_workload_cannot_hold_it_up() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, stateful()):
        where, order_id = await running(loops)
        [other] = {"m1", "m2"} - {where}
        state = OrderState(id=order_id, generation=1, phase="Withdrawing", message="never")
        before = await settled(loops)
        answer(loops, other, kept={order_id: ("data",)}, orders={order_id: state})
        assert not list(loops.queue.active()), "what it says costs nothing"
        loops.requeuer.requeue(loops.objects.workloads)
        assert await settled(loops) == before
        deleted = {"metadata": {"deletionTimestamp": "2026-11-24T09:00:00Z"}}
        await loops.hub.merge_patch(WORKLOADS, "db", deleted, namespace="ns")
        await settled(loops)
        answer(loops, where)
        answer(loops, other, kept={order_id: ("data",)}, orders={order_id: state})
        await loops.clock.advance(1)
        assert (await loops.hub.list(WORKLOADS)).items == []  # it went with its finalizer


def test_a_generation_near_the_end_of_the_counter_is_not_adopted() -> None:
    for generation, is_adopted in ((2**52, True), (2**53, False)):
        state = OrderState(id="hub/ns/db/1", generation=generation, phase="Ready", bound=1)
        told = OrderStatusReport(
            site="m1", site_uid="u", version=(1, 1), digest="", orders={state.id: state}
        )
        found = adopted_groups(state.id, {"m1": SiteState(order_status=told)})
        assert bool(found) == is_adopted


def test_an_order_of_0_replicas_keeps_all_but_pods() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    kept = without_pods(
        [config, CLAIM, manifest("StatefulSet", replicas=3), manifest("Job"), manifest("DaemonSet")]
    )
    assert [one["kind"] for one in kept] == ["ConfigMap", "PersistentVolumeClaim", "StatefulSet"]
    assert kept[2]["spec"]["replicas"] == 0


def test_replicas_that_the_manifest_leaves_out_belong_to_the_site() -> None:
    decoded = decode(stateful())
    assert isinstance(decoded, Workload)
    shares = {"m1": SiteShare(replicas=1, generation=1)}
    [_, web] = orders_of(decoded, "hub/ns/db/1", shares, None, {})["m1"].manifests
    assert "replicas" not in web["spec"]  # type: ignore[operator]  # JSON


@pytest.mark.parametrize(
    ("manifests", "expected"),
    [
        ([CLAIM], True),
        ([manifest("Deployment", VOLUME)], True),
        ([manifest("StatefulSet", volumeClaimTemplates=[{"metadata": {"name": "d"}}])], True),
        ([manifest("Deployment", {"name": "d", "emptyDir": {}})], False),
    ],
)
def test_work_with_a_claim_has_state(manifests: list[Json], *, expected: bool) -> None:
    assert holds_data(manifests) is expected
    assert read_manifests(manifests).has_state is expected


@pytest.mark.parametrize(
    ("is_parked", "kept"),
    [
        (False, {"whenDeleted": "Retain", "whenScaled": "Delete"}),
        (True, {"whenDeleted": "Retain", "whenScaled": "Retain"}),
    ],
)
def test_a_stateful_set_at_a_site_never_takes_its_claims_with_it(
    kept: Json, *, is_parked: bool
) -> None:
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    written = manifest("StatefulSet", persistentVolumeClaimRetentionPolicy=policy)
    other = manifest("Deployment")
    found = with_claims_retained([written, other], is_parked=is_parked)
    assert found[0]["spec"]["persistentVolumeClaimRetentionPolicy"] == kept
    assert found[1] == other
    assert written["spec"]["persistentVolumeClaimRetentionPolicy"] == policy


def referring(name: str = "db", **spec: Any) -> Json:  # noqa: ANN401 - any JSON
    raw = stateful(**spec)
    raw["metadata"]["name"] = name
    raw["spec"]["manifests"] = [manifest("Deployment", VOLUME)]
    return raw


ALONG = "hub/ns/persistentvolumeclaim:data/along"


async def left_with_claim(loops: ControlLoops) -> str:
    """The site that it has left, and that keeps the claim which went along."""
    loops.dispatcher.wait_of = lambda _site, _order: None
    status = await settled(loops)
    [group] = status["placement"]["groups"]
    old: str = group["sites"][0]
    answer(loops, old)
    assert (await settled(loops))["phase"] == "Running"
    order_id = next(i for i in loops.dispatcher.plans[old].orders if "/db/" in i)
    [new] = {"m1", "m2"} - {old}
    taint = {"key": "x", "effect": "NoExecute"}
    await loops.hub.merge_patch(SITE_RESOURCE, old, {"spec": {"taints": [taint]}})
    await settled(loops)
    loops.requeuer.redecide(loops.objects.workloads)
    await settled(loops)
    answer(loops, new)
    await settled(loops)
    assert loops.dispatcher.order_at(old, order_id) is None
    answer(loops, old, kept={ALONG: ("data",)})
    await settled(loops)
    return old


@pytest.mark.parametrize("word", ["Keep", "Delete"])
async def test_a_claim_that_went_along_is_deleted_by_the_word_alone(word: str) -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, referring(onWithdraw=word)):
        old = await left_with_claim(loops)
        purged = loops.dispatcher.plans[old].purge
        assert (ALONG in purged) is (word == "Delete")
        remains = (await settled(loops)).get("remains", [])
        assert [one["claims"] for one in remains] == ([["data"]] if word == "Delete" else [])
        answer(loops, old)
        assert "remains" not in await settled(loops)
        assert ALONG not in loops.dispatcher.plans[old].purge


async def test_a_claim_that_another_workload_keeps_is_not_deleted() -> None:
    loops = ControlLoops()
    other = referring("other", onWithdraw="Keep", paused=True)
    async with loops.started(*SITES, referring(onWithdraw="Delete"), other):
        old = await left_with_claim(loops)
        assert ALONG not in loops.dispatcher.plans[old].purge


async def test_a_deleted_workload_takes_the_claims_along_only_by_the_word() -> None:
    for word in ("Keep", "Delete"):
        loops = ControlLoops()
        async with loops.started(*SITES, referring(onWithdraw=word)):
            loops.dispatcher.wait_of = lambda _site, _order: None
            status = await settled(loops)
            [where] = status["placement"]["groups"][0]["sites"]
            answer(loops, where)
            await settled(loops)
            deleted = {"metadata": {"deletionTimestamp": "2026-11-24T09:00:00Z"}}
            await loops.hub.merge_patch(WORKLOADS, "db", deleted, namespace="ns")
            await settled(loops)
            assert (ALONG in loops.dispatcher.plans[where].purge) is (word == "Delete")
            answer(loops, where, kept={ALONG: ("data",)})
            await loops.clock.advance(1)
            # It goes with its finalizer.
            assert bool((await loops.hub.list(WORKLOADS)).items) is (word == "Delete")
            answer(loops, where)
            await loops.clock.advance(1)
            assert (await loops.hub.list(WORKLOADS)).items == []
