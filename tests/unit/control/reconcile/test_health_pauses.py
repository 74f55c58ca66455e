"""A burst of reports of one workload is one write; decisions and phases do not wait."""

import msgspec
import pytest

from scheduler.control.ports.agents import OrderState, OrderStatusReport
from scheduler.control.ports.hub import WORKLOADS
from scheduler.control.reconcile.health_pauses import HealthPauses, is_health_only
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import DecisionReference, PlacementStatus, WorkloadStatus
from tests.support.control_loops import ControlLoops
from tests.support.fake_clock import FakeClock
from tests.support.sites import nodes, site, workload

KEY = ("ns", "w")
STATUS = WorkloadStatus(
    phase="Placed", conditions=(Condition(type="Available", status="False", message="0/6"),)
)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, False),
        ({"epoch": 9}, False),
        ({"ready": 3}, True),
        ({"readiness": "3/6", "reason": "m1: 3 of 6"}, True),
        ({"ready": 6, "phase": "Running"}, False),
        ({"ready": 6, "decision": DecisionReference(id="7-1")}, False),
        ({"ready": 6, "observed_generation": 2}, False),
        ({"ready": 6, "placement": PlacementStatus(generation=2)}, False),
        ({"ready": 6, "selector": "a=b"}, False),
        ({"conditions": (Condition(type="Available", status="False", message="1/6"),)}, True),
        ({"conditions": (Condition(type="Available", status="True"),)}, False),
        ({"conditions": ()}, False),
    ],
)
def test_only_what_sites_report_of_running_replicas_may_wait(
    changed: dict[str, object], *, expected: bool
) -> None:
    assert is_health_only(STATUS, msgspec.structs.replace(STATUS, **changed)) is expected


async def test_a_change_is_held_for_a_bounded_time_from_its_first_report_on() -> None:
    clock = FakeClock()
    pauses = HealthPauses(clock=clock, pause_seconds=1.0)
    for ready, left in ((1, 1.0), (2, 0.6), (3, 0.2)):
        after = msgspec.structs.replace(STATUS, ready=ready)
        assert pauses.hold(KEY, STATUS, after) == pytest.approx(left)
        await clock.advance(0.4)
    assert pauses.hold(KEY, STATUS, msgspec.structs.replace(STATUS, ready=4)) == 0
    # What comes after the write begins a new pause.
    assert pauses.hold(KEY, STATUS, msgspec.structs.replace(STATUS, ready=5)) == 1.0
    running = msgspec.structs.replace(STATUS, ready=6, phase="Running")
    assert pauses.hold(KEY, STATUS, running) == 0


def report(loops: ControlLoops, order_id: str, ready: int) -> None:
    phase = "Ready" if ready == 6 else "Applied"
    state = OrderState(
        id=order_id,
        generation=1,
        applied_generation=1,
        phase=phase,
        replicas=6,
        bound=6,
        ready=ready,
    )
    *_, detail = (detail for what, _, detail in loops.publisher.log if what == "index")
    assert isinstance(detail, tuple)
    version = detail[0]
    loops.controller.on_order_status(
        OrderStatusReport(
            site="m1",
            site_uid=None,
            version=version,
            digest=f"index-{version}",
            orders={order_id: state},
        )
    )


async def test_reports_in_a_burst_are_one_write_and_running_is_written_at_once() -> None:
    loops = ControlLoops()
    one = workload(6, name="w")
    one["metadata"]["finalizers"] = ["kapok.dev/withdraw"]
    async with loops.started(
        site("m1", nodes(2, cpu="8", memory="16Gi"), observedAt="2026-11-24T08:00:00Z"), one
    ):
        await loops.clock.settle()
        loops.dispatcher.flush()
        order_id = f"hub/ns/w/{(await loops.workload('w'))['status']['incarnation']}"
        loops.hub.take_events()

        def writes() -> list[object]:
            found = [event for resource, event in loops.hub.take_events() if resource is WORKLOADS]
            for event in found:
                loops.objects.apply_event(WORKLOADS, event)
            return [event.object["status"].get("ready", 0) for event in found]

        for ready in range(1, 5):
            report(loops, order_id, ready)
            await loops.clock.advance(0.1)
        assert writes() == []
        await loops.clock.advance(1)
        assert writes() == [4]
        report(loops, order_id, 5)
        await loops.clock.advance(0.1)
        report(loops, order_id, 6)
        await loops.clock.settle()
        assert writes() == [6]
        assert await loops.phase("w") == "Running"
        await loops.clock.advance(5)
        assert writes() == []
