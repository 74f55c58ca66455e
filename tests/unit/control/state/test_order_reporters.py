"""Which sites report an order is known without a scan, and is what a scan would find."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.control.ports.agents import OrderState, OrderStatusReport
from scheduler.control.ports.hub import SITES, WatchEvent
from tests.support.control_loops import ControlLoops
from tests.support.sites import site_with_capacity

NAMES, ORDERS = ("m1", "m2", "m3"), ("a", "b", "c")
STEPS = st.lists(
    st.tuples(st.just("status"), st.sampled_from(NAMES), st.sets(st.sampled_from(ORDERS)))
    | st.tuples(st.just("gone"), st.sampled_from(NAMES), st.just(set()))
    | st.tuples(st.just("term"), st.just(""), st.just(set())),
    max_size=16,
)


def status(site: str, orders: set[str]) -> OrderStatusReport:
    return OrderStatusReport(
        site=site,
        site_uid=None,
        version=None,
        digest="",
        orders={one: OrderState(id=one, generation=1, phase="Ready") for one in sorted(orders)},
    )


@given(STEPS)
def test_the_sites_that_report_an_order_are_those_that_a_scan_finds(
    steps: list[tuple[str, str, set[str]]],
) -> None:
    loops = ControlLoops()
    sites = loops.sites
    for what, name, orders in steps:
        if what == "term":
            sites.end_term()
        elif what == "gone":
            sites.forget(name)
        else:
            raw = site_with_capacity(name, 9)
            event = WatchEvent("ADDED", {**raw, "metadata": {"name": name}})
            loops.objects.apply_event(SITES, event)
            sites.admit(name)
            assert sites.on_order_status(status(name, orders))
        for order_id in ORDERS:
            scanned = {
                site: state
                for site, state in sites.states.items()
                if state.order_status and order_id in state.order_status.orders
            }
            assert sites.reporters.states_of(order_id, sites.states) == scanned
    assert not sites.reporters.states_of("of nothing", sites.states)
