"""Decisions that a killed scheduler recorded without their status are told apart after a start."""

import copy

from scheduler.control.ports.agents import OrderState, OrderStatusReport
from scheduler.control.ports.hub import SITES, WORKLOADS
from scheduler.control.ports.ledger import RecordedIdentity
from tests.support.control_loops import ControlLoops
from tests.support.sites import nodes, site, workload

SITE = site("m1", nodes(2, cpu="4", memory="8Gi"), observedAt="2026-11-24T08:00:00Z")


async def test_what_was_recorded_and_not_written_is_marked_once() -> None:
    loops = ControlLoops()
    loops.recorder.records.append(("ns/app", {}))
    async with loops.started(SITE, workload(3, name="app")):
        await loops.clock.settle()
        assert loops.recorder.undone == [("ns/app", "7-1")]
        assert len(loops.recorder.records) == 2
        assert loops.ordered() == {"app"}
        loops.requeuer.redecide([("ns", "app")])
        await loops.clock.settle()
        assert loops.recorder.undone == [("ns/app", "7-1")]


async def test_a_workload_that_came_later_is_not_looked_at() -> None:
    loops = ControlLoops()
    async with loops.started(SITE):
        loops.recorder.records.append(("ns/app", {}))
        await loops.hub.create(WORKLOADS, workload(3, name="app"))
        loops.read_hub()
        await loops.clock.settle()
        assert loops.ordered() == {"app"}
        assert loops.recorder.undone == []


async def test_what_a_site_runs_had_an_effect_though_the_status_is_older() -> None:
    first = ControlLoops()
    async with first.started(SITE, workload(3, name="app")):
        await first.clock.settle()
        was = copy.deepcopy(await first.workload("app"))
    loops = ControlLoops()
    loops.recorder.records += [("ns/app", {}), ("ns/app", {})]
    loops.recorder.identities["ns/app"] = RecordedIdentity(incarnation=was["status"]["incarnation"])
    await loops.hub.create(SITES, {**SITE, "status": {}})
    await loops.hub.create(WORKLOADS, was)
    async with loops.leads(SITE):
        order_id = loops.order_sync.order_id(loops.objects.workloads["ns", "app"])
        newer = OrderState(id=order_id, generation=9, phase="Ready", applied_generation=9)
        loops.controller.on_order_status(
            OrderStatusReport(
                site="m1", site_uid=None, version=None, digest="", orders={order_id: newer}
            )
        )
        await loops.clock.settle()
        assert loops.recorder.undone == []
