"""What is in flight is counted again where a report differs, and is what a full count gives."""

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.control.ports.agents import SiteReport
from scheduler.control.ports.hub import SITES, WatchEvent
from scheduler.model.demand.facts import InFlight, OrderGeneration
from scheduler.model.kinds.site import SiteStatus
from tests.support.control_loops import ControlLoops
from tests.support.sites import site_with_capacity

ORDERS = ("a", "b", "c")
BOUND = st.dictionaries(
    st.sampled_from(ORDERS), st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=3
)
REPORTS = st.tuples(
    st.just("report"), BOUND, st.dictionaries(st.sampled_from(ORDERS), st.integers(0, 2))
)
CHANGES = st.tuples(st.just("order"), st.sampled_from(ORDERS), st.integers(0, 4))
STEPS = st.lists(REPORTS | CHANGES, max_size=12)


@given(STEPS)
@example([("order", "a", 1), ("report", {"a": (1, 1)}, {}), ("report", {}, {})])
@example([("order", "a", 1), ("order", "a", 2), ("report", {"a": (2, 1)}, {"a": 1})])
def test_what_is_counted_step_by_step_is_what_a_full_count_gives(
    steps: list[tuple[str, object, object]],
) -> None:
    loops = ControlLoops()
    raw = site_with_capacity("m1", 9)
    loops.objects.apply_event(SITES, WatchEvent("ADDED", {**raw, "metadata": {"name": "m1"}}))
    loops.sites.admit("m1")
    loops.sites.stuck_after_seconds = 20.0
    for what, one, other in steps:
        loops.clock.stand_still(10.0)
        if what == "order":
            ordered = None
            if other:
                pod = InFlight(workload="w", replicas=1, requests={"cpu": 1})
                ordered = OrderGeneration(generation=int(str(other)), replicas=2, pod=pod)
            loops.sites.set_order("m1", str(one), ordered)
        else:
            loops.sites.on_report(
                SiteReport(
                    site="m1",
                    observed_seconds=loops.clock.monotonic(),
                    figures=SiteStatus(),
                    has_executor=True,
                    bound=one,  # type: ignore[arg-type]  # as the strategy makes it
                    unschedulable=other,  # type: ignore[arg-type]
                )
            )
        state = loops.sites.states["m1"]
        fresh = replace(state)  # has counted nothing
        assert state.in_flight(20.0) == fresh.in_flight(20.0)
