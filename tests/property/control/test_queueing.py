"""The real work queue is fair and ordered, and no workload waits for ever."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.control.queue.work_queue import SchedulingQueue, Urgency
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.reasons import REASONS
from scheduler.placement.filter.rules import WakeEvent
from scheduler.placement.queue.order import (
    AGING_WINDOW_SECONDS,
    UNRANKED,
    QueuedWork,
    could_wake,
    dominant_share,
    wake_events_of,
)
from tests.support.counts import examples
from tests.support.fake_clock import FakeClock
from tests.support.queues import make_queue, next_in_order

EVENTS = get_args(WakeEvent)
TENANTS = ("", "modest", "greedy")
RECHECK_SECONDS = 300.0
LONGEST_WAIT_SECONDS = 26 * AGING_WINDOW_SECONDS


def key_of(number: int) -> WorkKey:
    return ("ns", f"w{number:02}")


@dataclass
class Model:
    """A slow and simple model of the queue, and what must be true of both."""

    clock: FakeClock = field(default_factory=FakeClock)
    shares: dict[str, float] = field(default_factory=dict)
    active: dict[WorkKey, QueuedWork] = field(default_factory=dict)
    urgency: dict[WorkKey, Urgency] = field(default_factory=dict)
    attempts: dict[WorkKey, int] = field(default_factory=dict)
    aside: dict[WorkKey, tuple[float, frozenset[str] | None]] = field(default_factory=dict)
    again: dict[WorkKey, bool] = field(default_factory=dict)
    events: dict[WorkKey, set[WakeEvent]] = field(default_factory=dict)
    ranks: dict[WorkKey, int] = field(default_factory=dict)
    queue: SchedulingQueue = field(init=False)

    def __post_init__(self) -> None:
        self.queue = make_queue(
            self.clock,
            last_backoff_seconds=60.0,
            recheck_seconds=RECHECK_SECONDS,
            shares=self.share,
        )

    def share(self, tenant: str) -> float:
        return self.shares.get(tenant, 0.0)

    def activate(self, key: WorkKey) -> None:
        if key in self.again:
            self.again[key] = True
            return
        before, one = self.active.get(key), self.urgency[key]
        since = before.waiting_since_seconds if before else self.clock.monotonic()
        self.active[key] = QueuedWork(
            key=key,
            priority=one.priority,
            tenant=one.tenant,
            waiting_since_seconds=since,
            created_at_seconds=one.created_at_seconds,
            **({"rank": self.ranks[key]} if key in self.ranks else {}),
        )

    def add(self, number: int, priority: int, tenant: str, age: int) -> None:
        key, urgency = key_of(number), Urgency(priority, age, tenant)
        self.queue.add(key, urgency)
        self.urgency[key] = urgency
        self.aside.pop(key, None)
        self.attempts.pop(key, None)
        self.activate(key)

    def forget(self, number: int) -> None:
        key = key_of(number)
        self.queue.forget(key)
        for shelf in (self.active, self.urgency, self.aside, self.attempts, self.ranks):
            shelf.pop(key, None)
        if key in self.again:
            self.again[key] = False
            self.events[key] = set()

    async def take(self) -> None:
        now = self.clock.monotonic()
        for key in [key for key, (due, _) in self.aside.items() if due <= now]:
            del self.aside[key]
            self.activate(key)
        expected = next_in_order(self.active.values(), self.share, now_seconds=now)
        if expected is None:
            return
        key = await self.queue.take()
        assert key == expected.key
        assert key not in self.again  # never in two decisions at once
        del self.active[key]
        self.again[key], self.events[key] = False, set()

    def end(self, verdict: str, reasons: frozenset[str]) -> None:
        """Ends the oldest decision."""
        if not self.again:
            return
        key, now = next(iter(self.again)), self.clock.monotonic()
        is_there = key in self.urgency
        aside: tuple[float, frozenset[str] | None] | None = None
        if is_there and verdict == "fail":
            self.queue.fail(key)
            self.attempts[key] = self.attempts.get(key, 0) + 1
            aside = (now + min(2.0 ** (self.attempts[key] - 1), 60.0), None)
        elif is_there and verdict == "unschedulable":
            self.queue.succeed(key)
            self.attempts.pop(key, None)
            self.queue.mark_unschedulable(key, reasons)
            aside = (now + RECHECK_SECONDS, reasons)
        self.queue.finish(key)
        again, events = self.again.pop(key), frozenset(self.events.pop(key))
        if not is_there:
            return
        helped = verdict == "unschedulable" and could_wake(events, reasons)
        if again or helped:
            self.activate(key)
        elif aside is not None:
            self.aside[key] = aside

    def wake(self, events: tuple[WakeEvent, ...]) -> None:
        woken = self.queue.wake(*events)
        for seen in self.events.values():
            seen.update(events)
        helped = [
            key
            for key, (_, reasons) in self.aside.items()
            if reasons is not None and could_wake(frozenset(events), reasons)
        ]
        assert woken == len(helped)
        for key in helped:
            del self.aside[key]
            self.activate(key)

    def rank(self, ranks: dict[int, int]) -> None:
        by_key = {key_of(number): rank for number, rank in ranks.items()}
        self.queue.set_ranks(by_key)
        for key in by_key.keys() & self.urgency.keys():
            self.ranks[key] = by_key[key]
        for key in by_key.keys() & self.active.keys():
            self.active[key] = replace(self.active[key], rank=by_key[key])

    def check(self) -> None:
        """Every workload is in exactly one pool."""
        unschedulable = [key for key, (_, reasons) in self.aside.items() if reasons is not None]
        assert self.queue.depths() == {
            "active": len(self.active) + len(self.again),
            "backoff": len(self.aside) - len(unschedulable),
            "unschedulable": len(unschedulable),
        }
        assert {work.key: work for work in self.queue.active()} == self.active


def run(steps: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(steps())


NUMBERS = st.integers(0, 7)
REASON_SETS = st.frozensets(st.sampled_from(sorted(REASONS)), min_size=1, max_size=3)
STEPS = st.one_of(
    st.tuples(
        st.just("add"),
        NUMBERS,
        st.sampled_from((-5, 0, 0, 0, 100, 10**9)),
        st.sampled_from(TENANTS),
        st.integers(0, 3),
    ),
    st.tuples(st.just("take")),
    st.tuples(st.just("take")),
    st.tuples(
        st.just("end"),
        st.sampled_from(("done", "fail", "unschedulable", "unschedulable")),
        REASON_SETS,
    ),
    st.tuples(st.just("forget"), NUMBERS),
    st.tuples(st.just("wake"), st.lists(st.sampled_from(EVENTS), min_size=1, max_size=2)),
    st.tuples(st.just("pass"), st.sampled_from((0.5, 30.0, 400.0, 1500.0))),
    st.tuples(st.just("share"), st.sampled_from(TENANTS), st.floats(0, 2)),
    st.tuples(
        st.just("rank"), st.dictionaries(NUMBERS, st.sampled_from((0, 1, 2, UNRANKED)), max_size=4)
    ),
)


async def follow(model: Model, step: tuple[Any, ...]) -> None:
    match step:
        case ("take",):
            await model.take()
        case ("pass", seconds):
            await model.clock.advance(seconds)
        case ("share", tenant, share):
            model.shares[tenant] = share
        case ("wake", events):
            model.wake(tuple(events))
        case _:
            getattr(model, step[0])(*step[1:])
    model.check()


@given(st.lists(STEPS, min_size=20, max_size=60))
@settings(max_examples=examples(200), deadline=None)
def test_no_workload_is_lost_or_decided_twice_and_the_order_is_right(
    steps: list[tuple[Any, ...]],
) -> None:
    async def all_steps() -> None:
        model = Model()
        for step in steps:
            await follow(model, step)
        await model.clock.advance(2 * RECHECK_SECONDS)  # then all that is left is decided
        for _ in range(20):
            await model.take()
            model.check()
        assert not model.active

    run(all_steps)


@given(
    low=st.integers(-(10**9), 0),
    urgent=st.integers(0, 10**9),
    share=st.floats(0, 5),
    step_seconds=st.sampled_from((7.0, 61.0, 599.0)),
)
@settings(max_examples=examples(25), deadline=None)
def test_urgent_work_never_delays_the_rest_without_end(
    low: int, urgent: int, share: float, step_seconds: float
) -> None:
    """Work that waits is next after 26 windows at most, whatever urgent work keeps arriving."""

    async def stream() -> None:
        model = Model(shares={"greedy": share})
        model.add(0, low, "greedy", 9)
        while key_of(0) in model.active:
            assert model.clock.monotonic() <= LONGEST_WAIT_SECONDS + step_seconds
            model.add(1, urgent, "modest", 0)
            model.add(2, urgent, "modest", 0)
            await model.take()
            model.end("done", frozenset())
            await model.clock.advance(step_seconds)

    run(stream)


def test_order_is_priority_then_share_then_rank_then_age() -> None:
    async def order() -> list[str]:
        shares = {"greedy": 0.9, "modest": 0.1}
        queue = make_queue(FakeClock(), shares=lambda tenant: shares.get(tenant, 0.0))
        queue.add(("a", "old"), Urgency(0, 1, "greedy"))
        queue.add(("a", "young"), Urgency(0, 2, "modest"))
        queue.add(("a", "younger"), Urgency(0, 3, "modest"))
        queue.add(("a", "youngest"), Urgency(0, 4, "modest"))
        queue.add(("a", "urgent"), Urgency(1, 5, "greedy"))
        queue.set_ranks({("a", "youngest"): 0})
        taken = []
        for _ in range(5):
            taken.append((await queue.take())[1])
            shares["modest"] += 0.3  # what is taken is placed: the share grows while others wait
        return taken

    assert asyncio.run(order()) == ["urgent", "youngest", "young", "old", "younger"]


def test_the_dominant_share_counts_by_weight() -> None:
    assert dominant_share({"cpu": 5, "memory": 1}, {"cpu": 10, "memory": 10}) == 0.5
    assert dominant_share({"cpu": 5}, {"cpu": 10}, weight=2.0) == 0.25
    assert dominant_share({"cpu": 5}, {}) == 0.0


def test_every_reason_has_wake_events_and_only_fitting_ones() -> None:
    known = set(EVENTS)
    for reason in REASONS:
        assert wake_events_of(reason)
        assert wake_events_of(reason) <= known
    assert "capacity" in wake_events_of("full")
    assert "capacity" not in wake_events_of("data-class")
    assert "grant" in wake_events_of("data-class")
    assert "report" in wake_events_of("stale")
    assert {"placed", "gone"} <= wake_events_of("spread")
