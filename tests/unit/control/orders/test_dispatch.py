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
    version: IndexVersion | None = None, *, missing: tuple[str, ...] = (), runs: bool = False
) -> OrderStatusReport:
    orders = {ORDER: OrderState(id=ORDER, generation=1, phase="Ready")} if runs else {}
    digest = f"index-{version}" if version else ""
    return OrderStatusReport(
        site="m1", site_uid="u", version=version, digest=digest, orders=orders, missing=missing
    )


class World:
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
    world = World()
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    assert world.flush() == []
    world.dispatcher.on_order_status(status_report())
    assert world.flush() == [("order", "m1", 1), ("index", "m1", ((7, 1), (ORDER,)))]


def test_nothing_is_published_before_every_plan_is_complete() -> None:
    world = World()
    world.dispatcher.is_publishing = False
    world.dispatcher.on_order_status(status_report())
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    assert world.flush() == []
    world.dispatcher.start_publishing()
    assert [one[0] for one in world.flush()] == ["order", "index"]


def test_the_first_index_of_a_site_that_runs_unknown_orders_is_held() -> None:
    world = World()
    world.dispatcher.hold_seconds = 10.0
    world.dispatcher.on_order_status(status_report(runs=True))
    assert world.flush() == []
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    assert [one[0] for one in world.flush()] == ["order", "index"]


def test_orders_that_stay_unknown_are_withdrawn_after_that_time() -> None:
    world = World()
    world.dispatcher.hold_seconds = 10.0
    world.dispatcher.on_order_status(status_report(runs=True))
    world.clock._seconds = 11.0  # noqa: SLF001 - time passes
    world.dispatcher.on_order_status(status_report(runs=True))
    assert world.flush() == [("index", "m1", ((7, 1), ()))]


def test_a_new_generation_goes_out_under_a_new_sequence() -> None:
    world = World()
    world.dispatcher.on_order_status(status_report())
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    world.flush()
    world.dispatcher.set_orders(KEY, {"m1": order(2)})
    assert world.flush() == [("order", "m1", 2), ("index", "m1", ((7, 2), (ORDER,)))]
    world.dispatcher.set_orders(KEY, {"m1": order(2)})
    assert world.flush() == []


def test_withdrawing_publishes_the_shorter_index_before_the_content_is_cleared() -> None:
    world = World()
    world.dispatcher.on_order_status(status_report())
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    world.flush()
    world.dispatcher.set_orders(KEY, {})
    assert world.flush() == [("index", "m1", ((7, 2), ())), ("clear", "m1", ORDER)]


def test_an_index_that_is_not_echoed_is_repeated_after_a_while() -> None:
    world = World()
    world.dispatcher.on_order_status(status_report())
    world.flush()
    world.dispatcher.on_order_status(status_report((7, 0)))
    assert world.flush() == []
    world.clock._seconds = 6.0  # noqa: SLF001 - time passes
    world.dispatcher.on_order_status(status_report((7, 0)))
    assert [one[0] for one in world.flush()] == ["index"]


def test_a_content_that_a_site_lacks_is_published_again() -> None:
    world = World()
    world.dispatcher.on_order_status(status_report())
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    world.flush()
    world.publisher.log.clear()
    world.dispatcher.on_order_status(status_report((7, 1), missing=(ORDER, "kapok/foreign/x/y")))
    assert world.publisher.log == [("order", "m1", 1)]


def test_a_later_epoch_of_a_site_is_reported() -> None:
    world = World()
    world.dispatcher.on_order_status(status_report((9, 3)))
    assert world.epochs == [9]


def test_a_workload_is_withdrawn_once_the_site_echoes_the_index_and_runs_it_no_more() -> None:
    world = World()
    world.dispatcher.on_order_status(status_report())
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    world.flush()
    world.dispatcher.set_orders(KEY, {})
    assert not world.dispatcher.is_withdrawn("m1", KEY, status_report((7, 1)))
    world.flush()
    still = status_report((7, 2), runs=True)
    world.dispatcher.on_order_status(still)
    assert not world.dispatcher.is_withdrawn("m1", KEY, still)
    gone = status_report((7, 2))
    world.dispatcher.on_order_status(gone)
    assert world.dispatcher.is_withdrawn("m1", KEY, gone)


def test_a_broker_that_lost_everything_gets_every_index_again() -> None:
    world = World()
    world.dispatcher.on_order_status(status_report())
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    world.flush()
    world.dispatcher.republish_all()
    assert [one[0] for one in world.flush()] == ["index"]


def test_a_status_is_current_once_the_site_works_by_an_index_with_the_content() -> None:
    world = World()
    world.dispatcher.on_order_status(status_report((9, 9), runs=True))
    assert world.epochs == [9], "the hub is a restored backup"
    world.dispatcher.start_epoch(10)
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    world.dispatcher.on_order_status(status_report((9, 9), runs=True))
    assert not world.dispatcher.is_listed("m1", ORDER, status_report((9, 9)))
    world.flush()
    assert not world.dispatcher.is_listed("m1", ORDER, status_report((9, 9)))
    assert world.dispatcher.is_listed("m1", ORDER, status_report((10, 1)))
    world.dispatcher.set_orders(KEY, {"m1": order(2)})
    world.flush()
    assert not world.dispatcher.is_listed("m1", ORDER, status_report((10, 1)))
    assert world.dispatcher.is_listed("m1", ORDER, status_report((10, 2)))


async def test_a_site_cannot_raise_the_epoch_far_or_often() -> None:
    world = World()
    for claim in (2**53, 2**31 - 1, 7 + 1001):
        world.dispatcher.on_order_status(status_report((claim, 1)))
    assert world.epochs == []
    for claim in range(8, 1000):
        world.dispatcher.on_order_status(status_report((claim, 1)))
    assert world.epochs == [8]
    await world.clock.advance(5.0)
    world.dispatcher.on_order_status(status_report((1000, 1)))
    assert world.epochs == [8, 1000]


async def test_an_index_waits_for_a_workload_whose_orders_could_not_be_restored() -> None:
    world = World()
    other = ("traffic", "signals")
    world.dispatcher.hold_for(KEY, {"m1", "unknown-site"})
    world.dispatcher.set_orders(other, {})
    world.dispatcher.on_order_status(status_report(runs=True))
    await world.clock.advance(3600.0)
    assert world.flush() == []
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    assert world.flush() == [("order", "m1", 1), ("index", "m1", ((7, 1), (ORDER,)))]
