"""Numbered pods move without running twice, and a Job's completions are divided once."""

from typing import Any

from scheduler.control.ports.hub import SITES as SITE_RESOURCE
from tests.support.control_loops import ControlLoops
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
