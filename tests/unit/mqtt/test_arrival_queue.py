"""The queue of messages: fair, bounded, and only accepted messages displace others."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.mqtt.arrival_queue import ArrivalQueue, QueueLimits
from scheduler.mqtt.arrivals import Arrival, Lane
from scheduler.mqtt.token_bucket import BudgetRates, Rate
from tests.support.counts import examples
from tests.support.fake_clock import FakeClock

AMPLE = BudgetRates(messages=Rate(1e9, 1e9), size=Rate(1e12, 1e12), work=Rate(1e9, 1e9))
SMALL = BudgetRates(messages=Rate(1, 2), size=Rate(1e12, 1e12), work=Rate(1e9, 1e9))
LIMITS = QueueLimits(lane_messages=4, lanes=4, sender_bytes=20_000, total_bytes=50_000)


def queue(rates: BudgetRates = AMPLE, limits: QueueLimits = LIMITS) -> ArrivalQueue:
    return ArrivalQueue(
        clock=FakeClock(),
        rates=rates,
        limits=limits,
        shared_rates=rates,
        shared_limits=limits,
        shared_sender="",
    )


class Arrivals:
    """Makes arrivals with growing numbers."""

    def __init__(self) -> None:
        self.number = 0

    def one(self, site: str = "a", kind: str = "report", size: int = 10) -> Arrival:
        self.number += 1
        lane = Lane(site=site, kind=kind, key_id="k")
        return Arrival(number=self.number, topic="t", payload=b"x" * size, lane=lane)


def test_the_newest_message_is_taken_first_and_an_accepted_one_removes_older_ones() -> None:
    waiting, make = queue(), Arrivals()
    first, second, third = make.one(), make.one(), make.one()
    assert all(waiting.offer("a", one) for one in (first, second, third))
    assert waiting.take() == ("a", third)
    assert waiting.accept("a", third, work_seconds=0) == [first, second]
    assert waiting.take() is None
    assert waiting.size == 0


def test_a_message_that_was_not_accepted_removes_none() -> None:
    waiting, make = queue(), Arrivals()
    valid, forged = make.one(), make.one()
    waiting.offer("a", valid)
    waiting.offer("a", forged)
    assert waiting.take() == ("a", forged)
    assert waiting.take() == ("a", valid)


def test_a_full_lane_refuses_a_message_and_keeps_what_it_has() -> None:
    waiting, make = queue(), Arrivals()
    kept = [make.one() for _ in range(LIMITS.lane_messages)]
    assert all(waiting.offer("a", one) for one in kept)
    assert not waiting.offer("a", make.one())
    assert list(waiting) == kept


def test_a_verified_message_replaces_all_of_a_full_lane() -> None:
    waiting, make = queue(), Arrivals()
    kept = [make.one() for _ in range(LIMITS.lane_messages)]
    for one in kept:
        waiting.offer("a", one)
    newest = make.one()
    assert waiting.replace("a", newest) == kept
    assert list(waiting) == [newest]


def test_a_verified_message_gets_its_room_from_the_sender_with_most_bytes() -> None:
    waiting, make = queue(), Arrivals()
    for site in "bcd":
        while waiting.offer(site, make.one(site, size=6000)):
            pass
    small = make.one("a", size=9000)
    removed = [] if waiting.offer("a", small) else waiting.replace("a", small)
    assert small in list(waiting)
    assert {one.lane.site for one in removed} <= set("bcd")
    assert waiting.size <= LIMITS.total_bytes


def test_senders_take_turns_whatever_each_has_waiting() -> None:
    waiting, make = queue(), Arrivals()
    for _ in range(4):
        waiting.offer("loud", make.one("loud"))
    waiting.offer("quiet", make.one("quiet"))
    taken = [found[0] for found in (waiting.take(), waiting.take()) if found]
    assert sorted(taken) == ["loud", "quiet"]


def test_a_full_report_is_taken_before_the_delta_that_came_after_it() -> None:
    waiting, make = queue(), Arrivals()
    full, delta = make.one(kind="report"), make.one(kind="delta")
    waiting.offer("a", full)
    waiting.offer("a", delta)
    assert [waiting.take(), waiting.take()] == [("a", full), ("a", delta)]


async def test_a_sender_without_budget_waits_and_holds_back_no_other() -> None:
    waiting, make = queue(rates=SMALL), Arrivals()
    for _ in range(2):
        waiting.offer("a", make.one())
        found = waiting.take()
        assert found is not None
        waiting.accept(*found, work_seconds=0)
    waiting.offer("a", make.one())
    waiting.offer("b", make.one("b"))
    found = waiting.take()
    assert found is not None
    assert found[0] == "b"
    assert waiting.take() is None
    assert waiting.wait_seconds() == 0.001
    assert isinstance(waiting.clock, FakeClock)
    await waiting.clock.advance(1)
    assert waiting.take() is not None


def test_a_busy_sender_is_passed_over_and_its_messages_stay() -> None:
    waiting, make = queue(), Arrivals()
    waiting.offer("a", make.one())
    waiting.set_busy("a", is_busy=True)
    assert waiting.take() is None
    waiting.set_busy("a", is_busy=False)
    assert waiting.take() is not None


def test_a_sender_that_is_forgotten_leaves_nothing() -> None:
    waiting, make = queue(), Arrivals()
    waiting.offer("a", make.one())
    waiting.forget("a")
    assert (waiting.take(), waiting.size) == (None, 0)


Step = tuple[str, str, str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["offer", "replace", "accept", "reject", "forget"]),
        st.sampled_from("abcdefgh"),
        st.sampled_from(["report", "status", "offline", "x", "y"]),
        st.integers(1, 15_000),
    ),
    max_size=80,
)


@settings(max_examples=examples(40))
@given(STEPS)
def test_bytes_are_bounded_and_only_accepted_messages_displace(steps: list[Step]) -> None:
    waiting, make = queue(), Arrivals()
    for action, site, kind, size in steps:
        before = set(waiting)
        one = make.one(site, kind, size)
        gone: set[Arrival] = set()
        if action == "offer":
            waiting.offer(site, one)
        elif action == "replace":
            gone = set(waiting.replace(site, one))
        elif action == "forget":
            gone = {each for each in before if each.lane.site == site}
            waiting.forget(site)
        elif (found := waiting.take()) is not None:
            gone = {found[1]}
            if action == "accept":
                older = waiting.accept(*found, work_seconds=0)
                assert all(each.lane == found[1].lane for each in older)
                gone |= set(older)
        assert before - gone <= set(waiting)
        assert waiting.size == sum(each.size for each in waiting) <= LIMITS.total_bytes
        held = Counter(each.lane for each in waiting)
        assert all(count <= LIMITS.lane_messages for count in held.values())


@given(st.lists(st.sampled_from("aaaaaaaaab"), min_size=1, max_size=60))
def test_every_sender_with_messages_is_served_within_one_round(sites: list[str]) -> None:
    waiting, make = queue(), Arrivals()
    for site in sites:
        waiting.offer(site, make.one(site))
    present = {each.lane.site for each in waiting}
    taken = [waiting.take() for _ in present]
    assert {found[0] for found in taken if found} == present
