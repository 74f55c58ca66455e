"""A failure that one workload causes: it is tried again, and the work on others goes on.

The queue, the worker, the reconciler and all that they use are the real ones.
"""

import pytest

from scheduler.control.ports.agents import OrderForSite, OrderNotPublishable
from scheduler.control.ports.hub import SITES, WORKLOADS, Busy, HubError, Refused
from scheduler.control.ports.not_recorded import NotRecorded
from tests.support.control_loops import ControlLoops
from tests.support.sites import nodes, site, workload

SITE = site("m1", nodes(8), observedAt="2026-11-24T08:00:00Z")
BAD, GOOD = workload(1, name="bad"), workload(1, name="good")
FAULTS = [
    RuntimeError("generator raised StopIteration"),
    KeyError("x"),
    ZeroDivisionError(),
    TypeError("not an int"),
    ValueError("the record cannot be read"),
    AttributeError("no such attribute"),
    OverflowError("date value out of range"),
    OSError(28, "no space left on device"),
    NotRecorded("the disk is full"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: type(each).__name__)
async def test_a_failure_of_one_workload_does_not_stop_the_work_on_others(
    fault: Exception,
) -> None:
    loops = ControlLoops()
    loops.recorder.faults["ns/bad"] = fault
    async with loops.started(SITE, BAD, GOOD):
        await loops.clock.settle()
        assert loops.telemetry.results == ["error", "placed"]
        assert await loops.phase("bad") == ""  # nothing is written that is not recorded
        assert await loops.phase("good") == "Placed"
        assert loops.ordered() == {"good"}
        assert loops.queue.depths() == {"active": 0, "backoff": 1, "unschedulable": 0}
        await loops.clock.advance(1)
        assert loops.telemetry.results == ["error", "placed", "error"]
        del loops.recorder.faults["ns/bad"]
        await loops.clock.advance(2)  # the pause doubles
        assert loops.telemetry.results[3:] == ["placed"]
        assert loops.ordered() == {"bad", "good"}


@pytest.mark.parametrize("error", [Busy("429"), Refused("403")], ids=["busy", "refused"])
async def test_a_status_that_the_hub_refuses_does_not_block_other_workloads(
    error: HubError,
) -> None:
    loops = ControlLoops()
    loops.hub.faults["bad"] = error
    async with loops.started(SITE, BAD, GOOD):
        await loops.clock.settle()
        assert loops.telemetry.results == ["error", "placed"]
        assert loops.ordered() == {"good"}
        del loops.hub.faults["bad"]
        await loops.clock.advance(1)
        assert loops.ordered() == {"bad", "good"}


async def test_a_write_of_another_client_is_read_before_the_next_decision() -> None:
    loops = ControlLoops()
    async with loops.started(SITE, BAD, GOOD):
        edited = {"spec": {"demand": {"replicas": 3}}}
        await loops.hub.merge_patch(WORKLOADS, "bad", edited, namespace="ns")
        await loops.clock.settle()
        assert loops.telemetry.results == ["error", "placed"]  # bad: Conflict
        assert loops.ordered() == {"good"}
        loops.read_hub()
        await loops.clock.settle()
        assert (await loops.workload("bad"))["status"]["replicas"] == 3
        assert loops.ordered() == {"bad", "good"}


async def test_a_reason_to_decide_again_survives_a_failure() -> None:
    loops = ControlLoops()
    async with loops.started(SITE, BAD):
        await loops.clock.settle()
        assert await loops.phase("bad") == "Placed"
        loops.read_hub()
        await loops.clock.settle()
        recorded = len(loops.recorder.records)
        loops.hub.faults["bad"] = Busy("429")
        loops.recorder.faults["ns/bad"] = RuntimeError("the disk is full")
        await loops.hub.delete(SITES, "m1")
        loops.read_hub()
        await loops.clock.settle()
        assert loops.telemetry.results[-1] == "error"
        loops.hub.faults.clear()
        loops.recorder.faults.clear()
        await loops.clock.advance(1)
        assert len(loops.recorder.records) == recorded + 1
        assert loops.recorder.records[-1][1]["decision"].phase != "Placed"


async def test_what_was_not_recorded_is_decided_at_once_when_the_ledger_can_be_written() -> None:
    loops = ControlLoops()
    loops.recorder.faults |= dict.fromkeys(("ns/bad", "ns/good"), NotRecorded("locked"))
    async with loops.started(SITE, BAD, GOOD):
        await loops.clock.advance(100)
        assert set(loops.telemetry.results) == {"error"}
        assert loops.ordered() == set()
        assert loops.fault_places == []
        loops.recorder.faults.clear()
        loops.worker.retry_not_recorded()
        await loops.clock.settle()
        assert loops.telemetry.results[-2:] == ["placed", "placed"]
        assert loops.ordered() == {"bad", "good"}


async def test_a_spec_that_brings_out_a_fault_is_refused_and_not_tried_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loops = ControlLoops()

    def fail(*_: object) -> None:
        raise AttributeError("'list' object has no attribute 'get'")

    monkeypatch.setattr("scheduler.control.reconcile.reconciler.resolve_demand", fail)
    async with loops.started(SITE, BAD):
        await loops.clock.advance(60)
        assert loops.telemetry.results == ["not-accepted"]
        assert await loops.phase("bad") == "Refused"
        assert set(loops.fault_places) == {"workload"}


async def test_an_order_that_agents_would_refuse_is_told_and_holds_up_no_other() -> None:
    loops = ControlLoops()
    publish = loops.publisher.publish_order

    def publish_some(site: str, order: OrderForSite) -> str:
        if order.name == "bad":
            raise OrderNotPublishable("the order cannot be sent: nested deeper than 64 levels")
        return publish(site, order)

    loops.publisher.publish_order = publish_some  # type: ignore[method-assign]
    async with loops.started(SITE, BAD, GOOD):
        await loops.clock.settle()
        assert loops.ordered() == {"good"}
        await loops.clock.settle()
        assert await loops.phase("bad") == "Degraded"
        assert "nested deeper" in (await loops.workload("bad"))["status"]["reason"]
        assert loops.ordered() == {"good"}
