"""Dispatch: an index only to a site that has reported, contents first, repeated until echoed."""

from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.ports.agents import IndexVersion, OrderForSite, OrderState, OrderStatusReport
from scheduler.model.kinds.metadata import WorkKey
from tests.support.control_loops import FakePublisher
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry

KEY = ("health", "appointment")
ORDER = "kapok/health/appointment/abc"


def order(generation: int) -> OrderForSite:
    return OrderForSite(
        id=ORDER, generation=generation, namespace=KEY[0], name=KEY[1], manifests=()
    )


def status_report(
    version: IndexVersion | None = None,
    *,
    missing: tuple[str, ...] = (),
    runs: bool = False,
    proof: str = "",
) -> OrderStatusReport:
    orders = {ORDER: OrderState(id=ORDER, generation=1, phase="Ready")} if runs else {}
    digest = f"index-{version}" if version else ""
    return OrderStatusReport(
        site="m1",
        site_uid="u",
        version=version,
        digest=digest,
        orders=orders,
        missing=missing,
        index_proof=proof,
    )


class DispatcherFixture:
    def __init__(self) -> None:
        self.publisher, self.clock, self.epochs = FakePublisher(), FakeClock(), list[int]()
        self.refused = list[WorkKey]()
        self.dispatcher = Dispatcher(
            publisher=self.publisher,
            clock=self.clock,
            telemetry=NullTelemetry(),
            repeat_seconds=5.0,
            on_higher_epoch=self.epochs.append,
            on_refusal=self.refused.append,
            faults=make_faults(self.clock),
        )
        self.dispatcher.admit("m1", "u")
        self.dispatcher.start_epoch(7)
        self.dispatcher.start_publishing()

    def flush(self) -> list[tuple[str, str, object]]:
        self.publisher.log.clear()
        self.dispatcher.flush()
        return list(self.publisher.log)


def test_nothing_is_published_to_a_site_that_has_not_reported() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
    assert fixture.flush() == []
    fixture.dispatcher.on_order_status(status_report())
    assert fixture.flush() == [("order", "m1", 1), ("index", "m1", ((7, 1), (ORDER,)))]


def test_nothing_is_published_before_every_plan_is_complete() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.is_publishing = False
    fixture.dispatcher.on_order_status(status_report())
    fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
    assert fixture.flush() == []
    fixture.dispatcher.start_publishing()
    assert [one[0] for one in fixture.flush()] == ["order", "index"]


def test_the_first_index_of_a_site_that_runs_unknown_orders_is_held() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.hold_seconds = 10.0
    fixture.dispatcher.on_order_status(status_report(runs=True))
    assert fixture.flush() == []
    fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
    assert [one[0] for one in fixture.flush()] == ["order", "index"]


def test_orders_that_stay_unknown_are_withdrawn_after_that_time() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.hold_seconds = 10.0
    fixture.dispatcher.on_order_status(status_report(runs=True))
    fixture.clock._seconds = 11.0  # noqa: SLF001 - time passes
    fixture.dispatcher.on_order_status(status_report(runs=True))
    assert fixture.flush() == [("index", "m1", ((7, 1), ()))]


def test_a_new_generation_goes_out_under_a_new_sequence() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report())
    fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
    fixture.flush()
    fixture.dispatcher.set_orders(KEY, {"m1": order(2)})
    assert fixture.flush() == [("order", "m1", 2), ("index", "m1", ((7, 2), (ORDER,)))]
    fixture.dispatcher.set_orders(KEY, {"m1": order(2)})
    assert fixture.flush() == []


def test_withdrawing_publishes_the_shorter_index_before_the_content_is_cleared() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report())
    fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
    fixture.flush()
    fixture.dispatcher.set_orders(KEY, {})
    assert fixture.flush() == [("index", "m1", ((7, 2), ())), ("clear", "m1", ORDER)]


def test_an_index_that_is_not_echoed_is_repeated_after_a_while() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report())
    fixture.flush()
    fixture.dispatcher.on_order_status(status_report((7, 0)))
    assert fixture.flush() == []
    fixture.clock._seconds = 6.0  # noqa: SLF001 - time passes
    fixture.dispatcher.on_order_status(status_report((7, 0)))
    assert [one[0] for one in fixture.flush()] == ["index"]


def test_a_content_that_a_site_lacks_is_published_again() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report())
    fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
    fixture.flush()
    fixture.publisher.log.clear()
    fixture.dispatcher.on_order_status(status_report((7, 1), missing=(ORDER, "kapok/foreign/x/y")))
    assert fixture.publisher.log == [("order", "m1", 1)]


def test_a_later_epoch_of_a_site_counts_when_the_site_proves_it() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report((9, 3)))
    assert (fixture.epochs, fixture.publisher.log) == ([], [("proof", "m1", 7)])
    fixture.dispatcher.on_order_status(status_report((9, 3), proof="m1 u 9 3"))
    assert fixture.epochs == [9]


def test_a_workload_is_withdrawn_once_the_site_echoes_the_index_and_no_longer_runs_it() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report())
    fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
    fixture.flush()
    fixture.dispatcher.set_orders(KEY, {})
    assert not fixture.dispatcher.is_withdrawn("m1", KEY, status_report((7, 1)))
    fixture.flush()
    still = status_report((7, 2), runs=True)
    fixture.dispatcher.on_order_status(still)
    assert not fixture.dispatcher.is_withdrawn("m1", KEY, still)
    without_order = status_report((7, 2))
    fixture.dispatcher.on_order_status(without_order)
    assert fixture.dispatcher.is_withdrawn("m1", KEY, without_order)


def test_a_broker_that_lost_everything_gets_every_index_again() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report())
    fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
    fixture.flush()
    fixture.dispatcher.republish_all()
    assert [one[0] for one in fixture.flush()] == ["index"]


def test_a_status_is_current_once_the_site_works_by_an_index_with_the_content() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report((9, 9), runs=True))
    fixture.dispatcher.on_order_status(status_report((9, 9), runs=True, proof="m1 u 9 9"))
    assert fixture.epochs == [9], "the hub is a restored backup"
    fixture.dispatcher.start_epoch(10)
    fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
    fixture.dispatcher.on_order_status(status_report((9, 9), runs=True))
    assert not fixture.dispatcher.is_listed("m1", ORDER, status_report((9, 9)))
    fixture.flush()
    assert not fixture.dispatcher.is_listed("m1", ORDER, status_report((9, 9)))
    assert fixture.dispatcher.is_listed("m1", ORDER, status_report((10, 1)))
    fixture.dispatcher.set_orders(KEY, {"m1": order(2)})
    fixture.flush()
    assert not fixture.dispatcher.is_listed("m1", ORDER, status_report((10, 1)))
    assert fixture.dispatcher.is_listed("m1", ORDER, status_report((10, 2)))
    for claim in ((10, 3), (11, 1), (2**31 - 1, 1)):
        assert not fixture.dispatcher.is_listed("m1", ORDER, status_report(claim)), "not of ours"


async def test_a_site_that_is_made_anew_under_its_name_gets_indexes_that_its_agent_accepts() -> (
    None
):
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report())
    assert fixture.flush() == [("index", "m1", ((7, 1), ()))]
    fixture.dispatcher.forget_site("m1")
    fixture.dispatcher.admit("m1", "another-uid")
    fixture.dispatcher.on_order_status(status_report((7, 1)))
    assert fixture.flush() == [("index", "m1", ((7, 2), ()))]
    assert fixture.epochs == []


async def test_an_index_waits_for_a_workload_whose_orders_could_not_be_restored() -> None:
    fixture = DispatcherFixture()
    other = ("traffic", "signals")
    fixture.dispatcher.hold_for(KEY, {"m1", "unknown-site"})
    fixture.dispatcher.set_orders(other, {})
    fixture.dispatcher.on_order_status(status_report(runs=True))
    await fixture.clock.advance(3600.0)
    assert fixture.flush() == []
    fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
    assert fixture.flush() == [("order", "m1", 1), ("index", "m1", ((7, 1), (ORDER,)))]
