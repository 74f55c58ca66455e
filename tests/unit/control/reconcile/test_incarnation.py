"""The incarnation of a workload over its life: first decision, restart, restore, deletion."""

from typing import Any

import pytest

from scheduler.control.orders.identity import new_incarnation
from scheduler.control.ports.agents import OrderState, OrderStatusReport
from scheduler.control.ports.hub import WORKLOADS, NotFound
from scheduler.control.ports.ledger import RecordedIdentity
from scheduler.control.ports.not_recorded import NotRecorded
from tests.support.control_loops import ControlLoops
from tests.support.sites import nodes, site, workload

SITE = site("m1", nodes(8), observedAt="2026-11-24T08:00:00Z")
FORGED = {"kapok.dev/incarnation": "f0f0"}


def with_annotation() -> dict[str, Any]:
    one = workload(1, name="db")
    one["metadata"]["annotations"] = dict(FORGED)
    return one


def ids(loops: ControlLoops) -> tuple[str, ...]:
    """The ids in the newest index of m1."""
    loops.publisher.log.clear()
    loops.dispatcher.republish_all()
    loops.dispatcher.flush()
    [detail] = [detail for what, _, detail in loops.publisher.log if what == "index"]
    assert isinstance(detail, tuple)
    found: tuple[str, ...] = detail[1]
    return found


def report_order(loops: ControlLoops, order_id: str) -> None:
    state = OrderState(id=order_id, generation=4, phase="Ready", replicas=3, bound=3)
    loops.controller.on_order_status(
        OrderStatusReport(
            site="m1", site_uid=None, version=None, digest="", orders={order_id: state}
        )
    )


async def test_the_first_decision_sets_it_and_no_annotation_is_read_or_written() -> None:
    loops = ControlLoops()
    async with loops.started(SITE, with_annotation()):
        await loops.clock.settle()
        found = await loops.workload("db")
        expected = new_incarnation(found["metadata"]["uid"])
        assert found["status"]["incarnation"] == expected
        assert found["metadata"]["annotations"] == FORGED
        assert ids(loops) == (f"hub/ns/db/{expected}",)
        assert loops.recorder.identities["ns/db"] == RecordedIdentity(incarnation=expected)


async def test_an_object_restored_without_status_finds_its_orders_by_the_ledger() -> None:
    loops = ControlLoops()
    loops.recorder.identities["ns/db"] = RecordedIdentity(incarnation="abc")
    async with loops.started(SITE, with_annotation()):
        report_order(loops, "hub/ns/db/abc")
        await loops.clock.settle()
        assert (await loops.workload("db"))["status"]["incarnation"] == "abc"
        assert ids(loops) == ("hub/ns/db/abc",)


async def test_a_workload_that_waits_for_the_operator_holds_the_index_of_its_sites() -> None:
    loops = ControlLoops()
    loops.recorder.is_lost = True
    async with loops.started(SITE, with_annotation()):
        report_order(loops, "hub/ns/db/abc")
        await loops.clock.settle()
        status = (await loops.workload("db"))["status"]
        assert (status["phase"], "incarnation" in status) == ("Refused", False)
        assert "kapok hub adopt" in status["reason"]
        loops.dispatcher.flush()
        assert [one for one in loops.publisher.log if one[0] == "index"] == []
        loops.recorder.is_lost = False
        loops.recorder.identities["ns/db"] = RecordedIdentity(is_complete=False, is_adopted=True)
        await loops.clock.advance(3)
        assert (await loops.workload("db"))["status"]["incarnation"] == "abc"
        assert ids(loops) == ("hub/ns/db/abc",)


@pytest.mark.parametrize("fault", [None, NotRecorded("the disk is full")])
async def test_an_object_goes_only_after_its_deletion_is_recorded(
    fault: NotRecorded | None,
) -> None:
    loops = ControlLoops()
    async with loops.started(SITE, workload(1, name="db")):
        await loops.clock.settle()
        loops.read_hub()
        loops.recorder.deletion_fault = fault
        when = {"metadata": {"deletionTimestamp": "2026-11-24T09:00:00Z"}}
        await loops.hub.merge_patch(WORKLOADS, "db", when, namespace="ns")
        loops.read_hub()
        loops.dispatcher.forget_site("m1")  # it need not confirm
        loops.sites.forget("m1")
        await loops.clock.settle()
        left = [one["metadata"]["finalizers"] for one in (await loops.hub.list(WORKLOADS)).items]
        assert left == ([["kapok.dev/withdraw"]] if fault else [])
        assert loops.recorder.ended == ([] if fault else ["ns/db"])


async def test_an_object_that_went_although_its_answer_was_cut_off_is_done_with() -> None:
    loops = ControlLoops()
    async with loops.started(SITE, workload(1, name="db")):
        await loops.clock.settle()
        loops.read_hub()
        when = {"metadata": {"deletionTimestamp": "2026-11-24T09:00:00Z"}}
        await loops.hub.merge_patch(WORKLOADS, "db", when, namespace="ns")
        loops.read_hub()
        loops.hub.faults["db"] = NotFound("db not found", status=404, reason="NotFound")
        loops.dispatcher.forget_site("m1")  # it need not confirm
        loops.sites.forget("m1")
        await loops.clock.settle()
        assert loops.telemetry.results[-1] == "deleted"
        assert loops.recorder.ended == ["ns/db"]
