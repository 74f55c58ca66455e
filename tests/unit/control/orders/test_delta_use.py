"""Who gets deltas, when a site gets its whole index again, and how often indexes go out."""

import asyncio
from dataclasses import replace

from scheduler.control.ports.agents import IndexVersion, OrderStatusReport
from tests.support.fake_clock import FakeClock
from tests.unit.control.orders.test_dispatch import KEY, DispatcherFixture, order

WHOLE, DELTA, RENEWED = (False, False), (True, False), (True, True)


def status(version: IndexVersion | None, **more: bool | str) -> OrderStatusReport:
    words = {"agent": "main", "takes_deltas": True, "is_executing": True, **more}
    return replace(
        OrderStatusReport(
            site="m1",
            site_uid="u",
            version=version,
            digest=f"index-{version}" if version else "",
            orders={},
        ),
        **words,  # type: ignore[arg-type]
    )


class Fixture(DispatcherFixture):
    """A site with one order, whose agents say what a test has them say."""

    def __init__(self) -> None:
        super().__init__()
        self.generation = 0

    def hear(self, report: OrderStatusReport, *, after: float = 0.0) -> None:
        self.clock._seconds += after  # noqa: SLF001 - time passes
        self.dispatcher.on_order_status(report)

    def change(self) -> list[tuple[bool, bool]]:
        """Changes the plan; returns in which forms indexes go out."""
        self.generation += 1
        self.dispatcher.set_orders(KEY, {"m1": order(self.generation)})
        return self.forms()

    def forms(self) -> list[tuple[bool, bool]]:
        self.publisher.forms.clear()
        self.dispatcher.flush()
        return list(self.publisher.forms)

    @property
    def newest(self) -> IndexVersion:
        return self.dispatcher.epoch, self.dispatcher.sequence


def test_deltas_go_to_agents_that_say_that_they_take_them() -> None:
    able, unable = Fixture(), Fixture()
    able.hear(status(None))
    unable.hear(status(None, takes_deltas=False))
    assert able.change() == [RENEWED], "a new leader sends a base first"
    assert able.change() == [DELTA]
    assert unable.change() == [WHOLE]


def test_one_agent_of_a_site_that_takes_none_has_all_get_whole_indexes() -> None:
    """It may take the lease, and would withdraw what was added since the base."""
    fixture = Fixture()
    fixture.hear(status(None))
    fixture.change()
    fixture.hear(status(None, agent="old", takes_deltas=False, is_executing=False))
    assert fixture.forms() == [WHOLE], "at once"
    fixture.hear(status(None, agent="old", takes_deltas=False, is_executing=False))
    assert fixture.forms() == []
    fixture.hear(status(fixture.newest))
    assert fixture.change() == [WHOLE]
    fixture.hear(status(None, agent="old", is_executing=False))  # it was upgraded
    assert fixture.change() == [DELTA]


def test_an_agent_that_is_gone_for_long_does_not_count() -> None:
    fixture = Fixture()
    fixture.hear(status(None, agent="old", takes_deltas=False, is_executing=False))
    fixture.hear(status(None))
    assert fixture.change() == [WHOLE]
    fixture.hear(status(fixture.newest), after=601)
    assert fixture.change() == [DELTA], "of a base that goes out with it"
    assert fixture.publisher.base_version("m1") == fixture.newest


def test_a_site_that_asks_gets_a_base_and_not_more_often_than_repeats_are() -> None:
    fixture = Fixture()
    fixture.hear(status(None))
    fixture.change()
    fixture.hear(status(fixture.newest), after=10)
    fixture.change()
    fixture.hear(status(None, wants_full_index=True))
    assert fixture.forms() == [RENEWED]
    fixture.hear(status(None, wants_full_index=True), after=1)
    assert fixture.forms() == []


def test_a_delta_that_is_not_echoed_is_repeated_without_its_base() -> None:
    fixture = Fixture()
    fixture.hear(status(None))
    fixture.change()
    first = fixture.newest
    fixture.change()
    fixture.hear(status(first), after=6)
    assert fixture.forms() == [DELTA]


def test_where_no_delta_arrives_whole_indexes_are_sent() -> None:
    """A broker whose rules are those of a version before does not let the topic through."""
    fixture = Fixture()
    fixture.hear(status(None))
    assert fixture.change() == [RENEWED]
    fixture.hear(status(None), after=6)
    assert fixture.forms() == [RENEWED]
    fixture.hear(status(None), after=6)
    assert fixture.forms() == [WHOLE]
    fixture.hear(status(fixture.newest), after=6)
    assert fixture.change() == [WHOLE]
    fixture.dispatcher.republish_all()  # a new session with the broker
    assert fixture.forms() == [RENEWED]


def test_a_new_leader_and_a_new_session_send_bases() -> None:
    fixture = Fixture()
    fixture.hear(status(None))
    fixture.change()
    fixture.hear(status(fixture.newest))
    fixture.dispatcher.republish_all()
    assert fixture.forms() == [RENEWED]
    fixture.dispatcher.start_epoch(8)
    assert fixture.forms() == [RENEWED]
    assert fixture.newest == (8, 1)


def test_what_a_site_lists_and_withdraws_counts_by_complete_indexes() -> None:
    fixture = Fixture()
    fixture.hear(status(None))
    fixture.change()
    before = fixture.newest
    fixture.change()
    order_id = order(1).id
    assert not fixture.dispatcher.is_listed("m1", order_id, status(before))
    assert fixture.dispatcher.is_listed("m1", order_id, status(fixture.newest))
    fixture.dispatcher.set_orders(KEY, {})
    fixture.forms()
    assert not fixture.dispatcher.is_withdrawn("m1", order_id, status(before))
    fixture.hear(status(fixture.newest))
    assert fixture.dispatcher.is_withdrawn("m1", order_id, status(fixture.newest))


async def _indexes_in(fixture: Fixture, seconds: float, changes_per_second: int) -> int:
    clock: FakeClock = fixture.clock
    fixture.publisher.forms.clear()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(fixture.dispatcher.run())
        for _ in range(round(seconds * changes_per_second)):
            fixture.generation += 1
            fixture.dispatcher.set_orders(KEY, {"m1": order(fixture.generation)})
            await clock.advance(1 / changes_per_second)
        await clock.advance(0.5)
        task.cancel()
    return len(fixture.publisher.forms)


async def test_a_site_gets_at_most_five_indexes_a_second_and_the_first_at_once() -> None:
    fixture = Fixture()
    fixture.hear(status(None))
    fixture.clock._seconds += 1.0  # noqa: SLF001 - time passes
    assert await _indexes_in(fixture, 0.02, 50) == 1
    assert 9 <= await _indexes_in(fixture, 2.0, 100) <= 12
    assert fixture.dispatcher.plans["m1"].orders[order(1).id].generation == fixture.generation
    assert not fixture.dispatcher.plans["m1"].is_dirty
