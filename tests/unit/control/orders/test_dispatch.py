"""Dispatch: an index only to a site that has reported, contents first, repeated until echoed."""

from dataclasses import replace

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
    assert not fixture.dispatcher.is_withdrawn("m1", ORDER, status_report((7, 1)))
    fixture.flush()
    still = status_report((7, 2), runs=True)
    fixture.dispatcher.on_order_status(still)
    assert not fixture.dispatcher.is_withdrawn("m1", ORDER, still)
    without_order = status_report((7, 2))
    fixture.dispatcher.on_order_status(without_order)
    assert fixture.dispatcher.is_withdrawn("m1", ORDER, without_order)


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


def test_sequences_never_fall_when_a_site_goes_and_comes_again() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report())
    for generation in range(1, 6):
        fixture.dispatcher.set_orders(KEY, {"m1": order(generation)})
        fixture.flush()
    fixture.dispatcher.forget_site("m1")
    fixture.dispatcher.set_orders(KEY, {})
    fixture.dispatcher.admit("m1", "another-uid")
    fixture.dispatcher.hold_seconds = 3600.0
    fixture.dispatcher.on_order_status(status_report((7, 5), runs=True))
    assert fixture.flush() == [("index", "m1", ((7, 6), ()))], "its workload runs elsewhere now"


def test_all_sites_share_one_sequence_and_a_new_epoch_begins_another() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.admit("m2", "v")
    for site in ("m1", "m2"):
        fixture.dispatcher.on_order_status(replace(status_report(), site=site))
    assert fixture.flush() == [("index", "m1", ((7, 1), ())), ("index", "m2", ((7, 2), ()))]
    fixture.dispatcher.start_epoch(7)
    fixture.dispatcher.on_order_status(status_report((7, 1)))
    assert fixture.dispatcher.sequence == 2
    fixture.dispatcher.start_epoch(8)
    fixture.dispatcher.on_order_status(status_report((7, 1)))
    assert fixture.flush()[0] == ("index", "m1", ((8, 1), ()))


def test_an_index_that_ours_would_not_replace_is_a_condition_of_the_site() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report())
    fixture.flush()
    for version, digest, is_foreign in (
        ((7, 1), "index-(7, 1)", False),
        ((6, 9), "x", False),
        ((7, 0), "x", False),
        ((7, 1), "x", True),
        ((7, 2), "x", True),
        ((2**31 - 1, 2**53), "x", True),
        (None, "", False),
    ):
        report = replace(status_report(version), digest=digest)
        fixture.dispatcher.on_order_status(report)
        found = fixture.dispatcher.foreign_index_condition("m1")
        assert (found is not None) == is_foreign, version
        if found and version:
            assert f"index {version[0]}/{version[1]}," in found.message
    assert fixture.dispatcher.foreign_index_condition("m9") is None


def test_an_order_of_the_former_workload_of_a_name_goes_with_the_first_of_the_next() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report())
    fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
    fixture.flush()
    following = replace(order(1), id=f"{ORDER}2")
    fixture.dispatcher.set_orders(KEY, {"m1": following})
    assert fixture.flush()[1] == ("index", "m1", ((7, 2), (following.id,)))


def test_an_order_whose_id_is_ambiguous_is_left_out_and_the_index_goes_on() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report())
    other = ("traffic", "signals")
    for bad in ("", "kapok/traffic/signals/", "kapok/traffic/signals/a/b", ORDER + "3"):
        wrong = replace(order(1), id=bad, namespace=other[0], name=other[1])
        fixture.dispatcher.set_orders(other, {"m1": wrong})
        fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
        fixture.refused.clear()
        [listed] = [detail for what, _, detail in fixture.flush() if what == "index"]
        assert isinstance(listed, tuple)
        assert listed[1] == (ORDER,)
        assert fixture.refused == [other]
        assert "HUB/NAMESPACE/NAME/INCARNATION" in fixture.dispatcher.refusal_at("m1", bad)


def test_only_an_order_of_the_same_hub_namespace_and_name_keeps_a_deletion_waiting() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report())
    fixture.flush()
    for reported, is_gone in (
        ("kapok/health/appointment/older", False),
        ("other/health/appointment/abc", True),
        ("x/kapok/health/appointment/abc", True),
        ("kapok/health/appointment", True),
        ("kapok/health/appointment/abc/d", True),
    ):
        orders = {reported: OrderState(id=reported, generation=1, phase="Ready")}
        report = replace(status_report((7, 1)), orders=orders)
        fixture.dispatcher.on_order_status(report)
        assert fixture.dispatcher.is_withdrawn("m1", ORDER, report) == is_gone, reported


def test_while_the_ledger_is_lost_no_index_withdraws_what_no_plan_has() -> None:
    fixture = DispatcherFixture()
    lost = [True]
    fixture.dispatcher.is_history_lost = lambda: lost[0]
    fixture.dispatcher.set_orders(KEY, {})
    fixture.dispatcher.on_order_status(status_report(runs=True))
    assert fixture.flush() == []
    lost.clear()
    lost.append(False)
    fixture.dispatcher.on_order_status(status_report(runs=True))
    assert fixture.flush() == [("index", "m1", ((7, 1), ()))]


def test_an_order_for_which_the_index_has_no_room_is_left_out_and_no_other() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report())
    fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
    fixture.flush()
    fixture.publisher.max_orders = 1
    earlier = ("a", "a")
    other = replace(order(1), id="kapok/a/a/b", namespace="a", name="a")
    fixture.dispatcher.set_orders(earlier, {"m1": other})
    assert fixture.flush()[-1] == ("index", "m1", ((7, 2), (ORDER,))), "what is listed stays"
    assert fixture.refused == [earlier]
    assert "index is full" in fixture.dispatcher.refusal_at("m1", other.id)
    assert fixture.dispatcher.refusal_at("m1", ORDER) == ""
    assert not fixture.dispatcher.is_listed("m1", other.id, status_report((7, 2)))
    fixture.dispatcher.set_orders(KEY, {})
    assert ("index", "m1", ((7, 3), (other.id,))) in fixture.flush()
    assert fixture.dispatcher.refusal_at("m1", other.id) == ""


async def test_orders_that_a_hub_forgot_are_never_withdrawn_before_an_operator_says_so() -> None:
    fixture, keeps = DispatcherFixture(), [True]
    fixture.dispatcher.keeps_unknown_orders = lambda: keeps[0]
    fixture.dispatcher.on_order_status(status_report(runs=True))
    assert fixture.flush() == []
    new = replace(order(1), id="kapok/health/new/c", name="new")
    fixture.dispatcher.set_orders(("health", "new"), {"m1": new})
    await fixture.clock.advance(1e9)
    fixture.dispatcher.on_order_status(status_report(runs=True))
    assert fixture.flush() == []
    assert fixture.dispatcher.unknown_orders_at("m1") == (ORDER,)
    fixture.dispatcher.start_epoch(8)  # a higher epoch, or a new leader, changes nothing
    fixture.dispatcher.on_order_status(status_report(runs=True))
    assert fixture.flush() == []
    keeps[0] = False
    await fixture.clock.advance(1.0)
    fixture.dispatcher.on_order_status(status_report(runs=True))
    assert fixture.flush()[-1] == ("index", "m1", ((8, 1), (new.id,)))
    assert fixture.dispatcher.unknown_orders_at("m1") == ()


def test_an_order_that_becomes_known_ends_the_wait() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.keeps_unknown_orders = lambda: True
    fixture.dispatcher.on_order_status(status_report(runs=True))
    assert fixture.flush() == []
    fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
    assert fixture.dispatcher.unknown_orders_at("m1") == ()
    assert fixture.flush()[-1] == ("index", "m1", ((7, 1), (ORDER,)))


def test_an_index_that_has_not_gone_out_for_an_hour_is_published_again_where_it_is_outdated() -> (
    None
):
    fixture = DispatcherFixture()
    fixture.dispatcher.on_order_status(status_report())
    assert fixture.flush() == [("index", "m1", ((7, 1), ()))]
    fixture.clock._seconds = 3600.0  # noqa: SLF001 - time passes
    fixture.dispatcher.refresh(3600.0, lambda _site: False)
    assert fixture.flush() == []
    fixture.dispatcher.refresh(3600.0, lambda site: site == "m1")
    assert fixture.flush() == [("index", "m1", ((7, 2), ()))]
    fixture.dispatcher.refresh(3600.0, lambda _site: True)
    assert fixture.flush() == []


def test_the_content_of_an_order_that_is_over_is_cleared_and_not_sent_again() -> None:
    """A site that has lost its disk would run the jobs again."""
    fixture = DispatcherFixture()
    over = replace(order(1), kept_digest="sha256:1", is_over=True)
    fixture.dispatcher.set_orders(KEY, {"m1": order(1)})
    fixture.dispatcher.on_order_status(status_report())
    fixture.flush()
    fixture.dispatcher.set_orders(KEY, {"m1": over})
    fixture.clock.stand_still(60)
    assert ("clear", "m1", ORDER) in fixture.flush()
    assert ORDER in fixture.publisher.indexes["m1"]
    fixture.dispatcher.on_order_status(status_report((7, 2), missing=(ORDER,)))
    assert fixture.flush() == []
    fixture.dispatcher.republish_all()  # the broker may have rolled back
    assert ("clear", "m1", ORDER) in fixture.flush()


async def test_a_site_that_reports_and_does_not_echo_its_index_is_asked_for_its_status() -> None:
    fixture = DispatcherFixture()
    fixture.dispatcher.on_report("m1")
    fixture.dispatcher.on_report("unknown")
    fixture.dispatcher.on_order_status(status_report())
    fixture.flush()
    asked = []
    for _ in range(8):
        await fixture.clock.advance(5.0)
        fixture.publisher.log.clear()
        fixture.dispatcher.on_report("m1")
        asked.append(list(fixture.publisher.log))
    question = ("ask", "m1", (7, True, False))
    assert asked == [[], [], [question], [], [], [question], [], []]
    fixture.dispatcher.on_order_status(status_report((7, 1)))
    await fixture.clock.advance(60.0)
    fixture.publisher.log.clear()
    fixture.dispatcher.on_report("m1")
    assert fixture.publisher.log == []
