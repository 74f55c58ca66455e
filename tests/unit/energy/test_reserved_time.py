"""Room reserved over time: never shared, and what becomes of plans when things change."""

from itertools import pairwise

import numpy as np
import pytest

from scheduler.energy.plans.reserved_time import (
    Outlook,
    ReservedTime,
    TimedWork,
    improve_plans,
    plan_work,
)
from scheduler.energy.plans.waiting_price import WaitingPrice

_SLOTS = 40


def _empty(*cores: int) -> ReservedTime:
    return ReservedTime(np.tile(np.array(cores)[:, None], (1, _SLOTS)))


def _work(
    key: str, slots: int = 4, *, cores: int = 1, earliest: int = 0, latest: int = 20
) -> TimedWork:
    return TimedWork(key, cores, slots, earliest, latest)


def _sums(*rows: list[float]) -> np.ndarray:
    """Intensities that go on as they end, summed up."""
    hours = np.array([row + row[-1:] * (_SLOTS - len(row)) for row in rows])
    return np.pad(np.cumsum(hours, axis=1), ((0, 0), (1, 0)))


def _is_within_room(reserved: ReservedTime, now: int = 0) -> bool:
    used = np.zeros_like(reserved.used)
    for run in [*reserved.plans.values(), *reserved.running.values()]:
        used[run.place, run.start : run.end] += run.work.cores
    used, kept, cores = (each[:, now:] for each in (used, reserved.used, reserved.cores))
    return bool((used == kept).all() and (used <= cores).all())


def test_work_starts_where_and_when_least_is_emitted() -> None:
    reserved = _empty(1, 1)
    sums = _sums([9.0] * 40, [9.0] * 6 + [1.0] * 4 + [9.0])
    assert plan_work(reserved, [_work("a")], Outlook(sums, 0)) == []
    run = reserved.plans["a"]
    assert (run.place, run.start, run.end) == (1, 6, 10)


def test_a_price_of_waiting_and_a_full_place_change_the_start() -> None:
    sums = _sums([5.0] * 6 + [4.0] * 4 + [5.0])
    dear, full = _empty(1), _empty(1)
    plan_work(dear, [_work("a")], Outlook(sums, 0, price=2.0))
    plan_work(full, [_work("a"), _work("b")], Outlook(sums, 0))
    assert dear.plans["a"].start == 0
    assert full.plans["a"].start == 6
    assert full.plans["b"].start in {0, 1, 2}
    assert _is_within_room(full)


def test_urgent_work_takes_the_room_of_plans_that_can_wait_longer() -> None:
    reserved = _empty(1)
    sums = _sums([1.0] * 6 + [9.0])
    plan_work(reserved, [_work("patient", 6, latest=30)], Outlook(sums, 0))
    assert plan_work(reserved, [_work("urgent", 6, latest=2)], Outlook(sums, 0)) == []
    assert reserved.plans["urgent"].start <= 2
    assert reserved.plans["patient"].start >= reserved.plans["urgent"].end
    assert _is_within_room(reserved)


def test_work_without_room_in_time_is_named_and_runs_as_early_as_can_be() -> None:
    reserved = _empty(1)
    sums = _sums([1.0])
    plan_work(reserved, [_work("first", 10, latest=0)], Outlook(sums, 0))
    late = plan_work(reserved, [_work("second", 5, latest=3)], Outlook(sums, 0))
    assert [work.key for work in late] == ["second"]
    assert reserved.plans["second"].start == 10


def test_work_that_no_place_can_hold_has_no_plan() -> None:
    reserved = _empty(2)
    late = plan_work(reserved, [_work("huge", cores=3)], Outlook(_sums([1.0]), 0))
    assert [work.key for work in late] == ["huge"]
    assert not reserved.plans


def test_a_run_that_takes_longer_moves_the_plans_behind_it_as_a_row() -> None:
    reserved = _empty(1)
    for number in range(3):
        reserved.reserve(_work(str(number)), 0, 4 * number)
    reserved.begin("0")
    assert reserved.prolong("0", 6) == []
    assert [reserved.plans[key].start for key in ("1", "2")] == [6, 10]
    assert _is_within_room(reserved)
    assert reserved.prolong("0", 6) == []


def test_a_plan_that_would_be_too_late_by_that_is_void() -> None:
    reserved = _empty(1)
    reserved.reserve(_work("0"), 0, 0)
    reserved.reserve(_work("1", latest=5), 0, 4)
    reserved.begin("0")
    assert [work.key for work in reserved.prolong("0", 8)] == ["1"]
    assert "1" not in reserved.plans
    assert _is_within_room(reserved)


def test_a_lost_place_holds_nothing_until_it_is_back() -> None:
    reserved = _empty(1, 1)
    reserved.reserve(_work("runs"), 0, 0)
    reserved.begin("runs")
    reserved.reserve(_work("planned"), 0, 8)
    reserved.reserve(_work("elsewhere"), 1, 8)

    stopped, voided = reserved.lose(0, 2)

    assert [run.work.key for run in stopped] == ["runs"]
    assert [work.key for work in voided] == ["planned"]
    plan_work(reserved, voided, Outlook(_sums([1.0], [900.0]), 2))
    assert reserved.plans["planned"].place == 1
    assert not reserved.running
    reserved.regain(0, 12, 1)
    plan_work(reserved, [_work("new", latest=25)], Outlook(_sums([1.0], [900.0]), 5))
    assert (reserved.plans["new"].place, reserved.plans["new"].start) == (0, 12)


def test_an_early_end_leaves_room_that_better_plans_take() -> None:
    reserved = _empty(1)
    sums = _sums([1.0] * 8 + [9.0])
    plan_work(reserved, [_work("runs", 8, latest=0)], Outlook(sums, 0))
    reserved.begin("runs")
    plan_work(reserved, [_work("waits")], Outlook(sums, 0))
    assert reserved.plans["waits"].start >= 8
    reserved.end("runs", 3)
    improve_plans(reserved, Outlook(sums, 3))
    assert reserved.plans["waits"].start in {3, 4}
    assert _is_within_room(reserved, 3)


def test_whatever_happens_no_room_is_shared_and_plans_start_in_time() -> None:
    chance = np.random.default_rng(11)
    for _ in range(30):
        reserved = _empty(3, 2)
        now, ever_late = 0, set()
        for number in range(25):
            now = min(now + int(chance.integers(0, 2)), 25)
            sums = _sums(*(chance.uniform(1, 9, _SLOTS).tolist() for _ in range(2)))
            happens = int(chance.integers(0, 6))
            for key in [key for key, run in reserved.plans.items() if run.start <= now]:
                reserved.begin(key)
            for key in [key for key, run in reserved.running.items() if run.end <= now]:
                reserved.end(key, now)
            running, voided = sorted(reserved.running), []
            if happens == 0 and running:
                reserved.end(running[0], now)
            elif happens == 1 and running:
                longest = reserved.running[running[-1]].end + 2
                voided = reserved.prolong(running[-1], longest)
            elif happens == 2:
                improve_plans(reserved, Outlook(sums, now))
            work = _work(
                str(number),
                int(chance.integers(1, 6)),
                cores=int(chance.integers(1, 3)),
                earliest=now,
                latest=min(now + int(chance.integers(0, 12)), _SLOTS - 6),
            )
            late = plan_work(reserved, [*voided, work], Outlook(sums, now))
            ever_late |= {each.key for each in late}
            assert _is_within_room(reserved, now)
            for key, run in reserved.plans.items():
                assert run.start >= now
                assert run.start <= run.work.latest or key in ever_late


@pytest.mark.parametrize("aim", [2.0, 5.0])
def test_the_price_makes_work_wait_as_long_as_is_aimed_at(aim: float) -> None:
    chance = np.random.default_rng(2)
    price = WaitingPrice(aim, works=100)
    waits = np.arange(12.0)
    waited = []
    for _ in range(400):
        costs = chance.uniform(1, 9, 12)
        price.see(costs, waits)
        waited.append(float(waits[np.argmin(costs + price.price * waits)]))
        price.waited(waited[-1])
    free = WaitingPrice(None)
    free.see(np.ones(12), waits)

    assert np.mean(waited[100:]) == pytest.approx(aim, abs=0.4)
    assert free.price == 0.0
    assert all(later >= 0 for _, later in pairwise(waited))
