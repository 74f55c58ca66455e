"""Dispatch: an index only to a site that was heard, contents first, repeated until echoed."""

from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.ports.agents import IndexVersion, OrderForSite, OrderState, OrderStatusReport
from tests.support.control_loops import FakePublisher
from tests.support.fake_clock import FakeClock
from tests.support.null_telemetry import NullTelemetry

KEY = ("health", "appointment")
ORDER = "kapok/health/appointment/abc"


def order(generation: int) -> OrderForSite:
    return OrderForSite(
        id=ORDER, generation=generation, namespace=KEY[0], name=KEY[1], manifests=()
    )


def word(
    version: IndexVersion | None = None, *, missing: tuple[str, ...] = (), runs: bool = False
) -> OrderStatusReport:
    orders = {ORDER: OrderState(id=ORDER, generation=1, phase="Ready")} if runs else {}
    digest = f"index-{version}" if version else ""
    return OrderStatusReport(
        site="m1", site_uid="u", version=version, digest=digest, orders=orders, missing=missing
    )


class World:
    def __init__(self) -> None:
        self.said, self.clock, self.epochs = FakePublisher(), FakeClock(), list[int]()
        self.dispatcher = Dispatcher(
            publisher=self.said,
            clock=self.clock,
            telemetry=NullTelemetry(),
            repeat_seconds=5.0,
            on_higher_epoch=self.epochs.append,
        )
        self.dispatcher.admit("m1", "u")
        self.dispatcher.start_epoch(7)
        self.dispatcher.start_publishing()

    def flush(self) -> list[tuple[str, str, object]]:
        self.said.log.clear()
        self.dispatcher.flush()
        return list(self.said.log)


def test_nothing_is_said_to_a_site_that_was_not_heard() -> None:
    world = World()
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    assert world.flush() == []
    world.dispatcher.on_order_status(word())
    assert world.flush() == [("order", "m1", 1), ("index", "m1", ((7, 1), (ORDER,)))]


def test_nothing_is_said_before_every_plan_is_complete() -> None:
    world = World()
    world.dispatcher.is_publishing = False
    world.dispatcher.on_order_status(word())
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    assert world.flush() == []
    world.dispatcher.start_publishing()
    assert [one[0] for one in world.flush()] == ["order", "index"]


def test_a_site_that_runs_what_nobody_knows_is_given_time_before_its_first_index() -> None:
    world = World()
    world.dispatcher.hold_seconds = 10.0
    world.dispatcher.on_order_status(word(runs=True))
    assert world.flush() == []
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    assert [one[0] for one in world.flush()] == ["order", "index"]


def test_what_stays_unknown_is_withdrawn_after_that_time() -> None:
    world = World()
    world.dispatcher.hold_seconds = 10.0
    world.dispatcher.on_order_status(word(runs=True))
    world.clock._seconds = 11.0  # noqa: SLF001 - time passes
    world.dispatcher.on_order_status(word(runs=True))
    assert world.flush() == [("index", "m1", ((7, 1), ()))]


def test_a_new_generation_goes_out_under_a_new_sequence() -> None:
    world = World()
    world.dispatcher.on_order_status(word())
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    world.flush()
    world.dispatcher.set_orders(KEY, {"m1": order(2)})
    assert world.flush() == [("order", "m1", 2), ("index", "m1", ((7, 2), (ORDER,)))]
    world.dispatcher.set_orders(KEY, {"m1": order(2)})
    assert world.flush() == []


def test_withdrawing_publishes_the_shorter_index_before_the_content_is_cleared() -> None:
    world = World()
    world.dispatcher.on_order_status(word())
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    world.flush()
    world.dispatcher.set_orders(KEY, {})
    assert world.flush() == [("index", "m1", ((7, 2), ())), ("clear", "m1", ORDER)]


def test_an_index_that_is_not_echoed_is_repeated_after_a_while() -> None:
    world = World()
    world.dispatcher.on_order_status(word())
    world.flush()
    world.dispatcher.on_order_status(word((7, 0)))
    assert world.flush() == []
    world.clock._seconds = 6.0  # noqa: SLF001 - time passes
    world.dispatcher.on_order_status(word((7, 0)))
    assert [one[0] for one in world.flush()] == ["index"]


def test_a_content_that_a_site_misses_is_published_again() -> None:
    world = World()
    world.dispatcher.on_order_status(word())
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    world.flush()
    world.said.log.clear()
    world.dispatcher.on_order_status(word((7, 1), missing=(ORDER, "kapok/foreign/x/y")))
    assert world.said.log == [("order", "m1", 1)]


def test_a_site_that_knows_a_later_epoch_is_told_of() -> None:
    world = World()
    world.dispatcher.on_order_status(word((9, 3)))
    assert world.epochs == [9]


def test_a_workload_is_withdrawn_only_when_the_site_echoed_the_index_and_runs_it_no_more() -> None:
    world = World()
    world.dispatcher.on_order_status(word())
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    world.flush()
    world.dispatcher.set_orders(KEY, {})
    assert not world.dispatcher.is_withdrawn("m1", KEY, word((7, 1)))
    world.flush()
    still = word((7, 2), runs=True)
    world.dispatcher.on_order_status(still)
    assert not world.dispatcher.is_withdrawn("m1", KEY, still)
    gone = word((7, 2))
    world.dispatcher.on_order_status(gone)
    assert world.dispatcher.is_withdrawn("m1", KEY, gone)


def test_a_broker_that_lost_everything_gets_every_index_again() -> None:
    world = World()
    world.dispatcher.on_order_status(word())
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    world.flush()
    world.dispatcher.republish_all()
    assert [one[0] for one in world.flush()] == ["index"]


def test_a_word_is_about_an_orders_content_once_the_site_works_by_an_index_that_has_it() -> None:
    world = World()
    world.dispatcher.on_order_status(word((9, 9), runs=True))
    assert world.epochs == [9], "the hub is a restored backup"
    world.dispatcher.start_epoch(10)
    world.dispatcher.set_orders(KEY, {"m1": order(1)})
    world.dispatcher.on_order_status(word((9, 9), runs=True))
    assert not world.dispatcher.is_listed("m1", ORDER, word((9, 9)))
    world.flush()
    assert not world.dispatcher.is_listed("m1", ORDER, word((9, 9)))
    assert world.dispatcher.is_listed("m1", ORDER, word((10, 1)))
    world.dispatcher.set_orders(KEY, {"m1": order(2)})
    world.flush()
    assert not world.dispatcher.is_listed("m1", ORDER, word((10, 1)))
    assert world.dispatcher.is_listed("m1", ORDER, word((10, 2)))
