"""Numbered pods move without running twice, and a Job's completions are divided once."""

from typing import Any

from scheduler.control.ports.agents import OrderState
from scheduler.control.ports.hub import KAPOK_RESOURCES, WORKLOADS, WatchEvent
from scheduler.control.ports.hub import SITES as SITE_RESOURCE
from tests.support.control_loops import EPOCH, ControlLoops
from tests.support.sites import nodes, site, workload
from tests.unit.control.orders.test_claims import answer, manifest, running, settled

Json = dict[str, Any]
SITES = [site(name, nodes(3), observedAt="2026-11-24T08:00:00Z") for name in ("m1", "m2")]


def work(kind: str, *, placement: Json | None = None, **spec: Any) -> Json:  # noqa: ANN401
    raw = workload(1, name="db", placement=placement)
    raw["spec"].pop("demand", None)
    raw["spec"]["manifests"] = [manifest(kind, **spec)]
    return raw


async def test_a_moved_set_starts_only_when_the_old_site_confirms_that_it_is_gone() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, work("StatefulSet", replicas=2)):
        old, order_id = await running(loops)
        [new] = {"m1", "m2"} - {old}
        taint = {"key": "x", "effect": "NoExecute"}
        await loops.hub.merge_patch(SITE_RESOURCE, old, {"spec": {"taints": [taint]}})
        answer(loops, new)
        await settled(loops)
        loops.requeuer.redecide(loops.objects.workloads)
        status = await settled(loops)
        assert [one["sites"] for one in status["placement"]["groups"]] == [[new]]
        for _ in range(3):  # the new site reports; the old one does not yet
            answer(loops, new)
            await settled(loops)
            assert loops.dispatcher.order_at(old, order_id) is None
            assert loops.dispatcher.order_at(new, order_id) is None
        answer(loops, old)
        await settled(loops)
        assert loops.dispatcher.order_at(new, order_id) is not None


async def test_a_new_leader_that_has_heard_no_site_starts_no_set_that_may_run_elsewhere() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, work("StatefulSet", replicas=2)):
        old, order_id = await running(loops)
        [new] = {"m1", "m2"} - {old}
        restored = await _restored(loops)
        assert restored.dispatcher.order_at(old, order_id) is not None
        taint = {"key": "x", "effect": "NoExecute"}
        await loops.hub.merge_patch(SITE_RESOURCE, old, {"spec": {"taints": [taint]}})
        await settled(loops)
        loops.requeuer.redecide(loops.objects.workloads)
        status = await settled(loops)
        assert [one["sites"] for one in status["placement"]["groups"]] == [[new]]
        restored = await _restored(loops)
        assert restored.dispatcher.order_at(new, order_id) is None
        answer(loops, new)
        answer(loops, old)
        await settled(loops)
        restored = await _restored(loops)
        assert restored.dispatcher.order_at(new, order_id) is not None


async def _restored(former: ControlLoops) -> ControlLoops:
    """The orders that a new leader plans from the hub and the ledger alone."""
    loops = ControlLoops(clock=former.clock, hub=former.hub, recorder=former.recorder)
    for resource in KAPOK_RESOURCES:
        for one in (await loops.hub.list(resource)).items:
            loops.objects.apply_event(resource, WatchEvent("ADDED", one))
    loops.dispatcher.start_epoch(EPOCH + 1)
    loops.startup.begin()
    await loops.startup.restorer.load_accepted()
    for _ in loops.startup.restorer.restore_orders(20):
        pass
    return loops


async def test_the_orders_of_a_divided_job_complete_its_total_and_keep_their_parts() -> None:
    loops = ControlLoops()
    placement = {"strategy": "Balanced", "spread": [{"by": "site", "minGroups": 2}]}
    job = work("Job", placement=placement, completions=8, parallelism=4)
    async with loops.started(*SITES, job):
        status = await settled(loops)
        orders = [each for plan in loops.dispatcher.plans.values() for each in plan.orders.values()]
        manifests: list[Json] = [dict(one.manifests[0]) for one in orders]
        specs: list[Json] = [one["spec"] for one in manifests]
        assert len(specs) == 2
        assert sum(each["completions"] for each in specs) == 8
        assert sum(each["parallelism"] for each in specs) == 4
        parts = [(one["sites"], one["completions"]) for one in status["placement"]["groups"]]
        assert sum(part * len(sites) for sites, part in parts) == 8


def tell(loops: ControlLoops, name: str, order_id: str, **counts: Any) -> None:  # noqa: ANN401
    """A site works by the newest index, with these counts of pods."""
    loops.dispatcher.flush()
    one = loops.dispatcher.plans[name].orders[order_id]
    state = OrderState(
        id=order_id,
        generation=one.generation,
        applied_generation=one.generation,
        phase="Ready",
        **counts,
    )
    answer(loops, name, orders={order_id: state})


def ordinals(loops: ControlLoops, name: str, order_id: str) -> range:
    """What the order of a site asks for."""
    order = loops.dispatcher.order_at(name, order_id)
    if order is None:
        return range(0)
    manifest: Json = dict(order.manifests[0])
    spec = manifest["spec"]
    start = spec["ordinals"]["start"]
    return range(start, start + spec["replicas"])


async def test_a_range_that_moves_waits_until_its_former_site_has_confirmed() -> None:
    loops = ControlLoops()
    sites = [site(n, nodes(2), observedAt="2026-11-24T08:00:00Z") for n in ("m1", "m2", "m3")]
    placement = {"identity": "Ranges", "spread": [{"by": "site", "minGroups": 2, "maxGroups": 2}]}
    async with loops.started(*sites, work("StatefulSet", replicas=4, placement=placement)):
        status = await settled(loops)
        [order_id] = {i for plan in loops.dispatcher.plans.values() for i in plan.orders}
        placed = sorted(name for one in status["placement"]["groups"] for name in one["sites"])
        [free] = {"m1", "m2", "m3"} - {*placed}
        parts = {name: ordinals(loops, name, order_id) for name in placed}
        assert sorted(number for part in parts.values() for number in part) == [0, 1, 2, 3]
        for name in placed:
            tell(loops, name, order_id, ready=2, bound=2, replicas=2)
        assert (await settled(loops))["phase"] == "Running"
        left = placed[0]
        taint = {"key": "x", "effect": "NoExecute"}
        await loops.hub.merge_patch(SITE_RESOURCE, left, {"spec": {"taints": [taint]}})
        await settled(loops)
        loops.requeuer.redecide(loops.objects.workloads)
        status = await settled(loops)
        for _ in range(2):  # the new site reports; the old one does not yet
            tell(loops, free, order_id, ready=0, bound=0, replicas=0)
            status = await settled(loops)
            assert list(ordinals(loops, free, order_id)) == []
            assert ordinals(loops, placed[1], order_id) == parts[placed[1]]
        assert any(one["type"] == "Moving" for one in status["conditions"])
        answer(loops, left)
        await settled(loops)
        now = {name: set(ordinals(loops, name, order_id)) for name in (free, placed[1])}
        assert now[placed[1]] >= set(parts[placed[1]])
        assert sorted([*now[free], *now[placed[1]]]) == [0, 1, 2, 3]


async def test_what_an_autoscaler_has_added_counts_against_the_quota_up_to_its_maximum() -> None:
    loops = ControlLoops()
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 5,
        },
    }
    raw = work("Deployment", replicas=2)
    raw["spec"]["manifests"].append(scaler)
    async with loops.started(*SITES, raw):
        status = await settled(loops)
        [[where]] = [one["sites"] for one in status["placement"]["groups"]]
        [order_id] = {i for plan in loops.dispatcher.plans.values() for i in plan.orders}

        def used() -> int:
            totals = loops.quotas.totals
            return sum(each["pods"] for each in totals.values())

        assert used() == 2
        for asked, counted in ((4, 4), (9, 5), (1, 2)):  # 9 is a site's word against the maximum
            tell(loops, where, order_id, ready=asked, bound=asked, replicas=asked)
            await settled(loops)
            assert used() == counted
        await loops.hub.merge_patch(
            WORKLOADS, "db", {"spec": {"manifests": raw["spec"]["manifests"][:1]}}, namespace="ns"
        )
        await settled(loops)
        tell(loops, where, order_id, ready=4, bound=4, replicas=4)
        await settled(loops)
        assert used() == 2
