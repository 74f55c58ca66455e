"""Requests of a grid: who gives way, what is never done, and how near the best a promise is."""

from itertools import product

import numpy as np
import pytest

from scheduler.energy.plans.grid_event import (
    SheddableWork,
    plan_shedding,
    promised_watts,
    ways_of,
)

_SLOTS = 20


def _work(key: str = "w", **given: object) -> SheddableWork:
    usual: dict[str, object] = {"priority": 0, "watts": 100.0}
    return SheddableWork(key=key, **{**usual, **given})  # type: ignore[arg-type]


def _actions(*works: SheddableWork, limit: float, **given: object) -> dict[str, str]:
    usual: dict[str, object] = {"slots": _SLOTS, "reaction": 1, "room": {}}
    plan = plan_shedding(works, limit_watts=limit, **{**usual, **given})  # type: ignore[arg-type]
    assert plan.is_met
    assert (plan.watts[1:] <= limit + 1e-6).all()
    return {key: way.action for key, way in plan.ways.items()}


def test_the_lowest_priority_gives_way_and_no_more_of_it_than_is_needed() -> None:
    works = [
        _work("low-a", can_pause=True),
        _work("low-b", can_pause=True),
        _work("high", priority=5, can_pause=True),
    ]
    assert _actions(*works, limit=200.0) == {"low-a": "suspend"}
    assert set(_actions(*works, limit=100.0)) == {"low-a", "low-b"}
    assert len(_actions(*works, limit=300.0)) == 0


def test_of_equal_work_that_without_a_deadline_gives_way_first() -> None:
    works = [_work("due", can_pause=True, ends_in=90, spare=80), _work("free", can_pause=True)]
    assert _actions(*works, limit=100.0) == {"free": "suspend"}


def test_work_is_slowed_moved_and_held() -> None:
    assert _actions(_work(least_share=0.25), limit=25.0) == {"w": "slow"}
    moved = _actions(_work(may_move_to=("b",), moving=1), limit=0.0, room={"b": 1})
    assert moved == {"w": "move"}
    assert _actions(_work(starts_in=4, ends_in=30, spare=40), limit=0.0) == {"w": "hold"}


def test_no_way_costs_a_deadline() -> None:
    chance = np.random.default_rng(4)
    for _ in range(300):
        ends = int(chance.integers(1, 60))
        work = _work(
            ends_in=ends,
            starts_in=int(chance.integers(0, min(ends, 8))),
            spare=int(chance.integers(0, 30)),
            can_pause=True,
            least_share=0.5,
            may_move_to=("b",),
            moving=3,
            lost_by_moving=5,
        )
        for way in ways_of(work, _SLOTS, 1):
            lost = (1 - way.share) * (way.end - way.begin) if way.action != "move" else 3 + 5
            assert way.action == "run" or lost <= (work.spare or 0), way
            assert way.watts.shape == (_SLOTS,)
            assert set(np.unique(way.watts)) <= {0.0, 50.0, 100.0}


def test_a_pause_moves_the_rest_of_the_work_back_and_that_is_counted() -> None:
    work = _work(ends_in=6, spare=5, can_pause=True)
    first = next(way for way in ways_of(work, _SLOTS, 1) if way.action == "suspend")
    assert first.watts[:12].tolist() == [100.0, *[0.0] * 5, *[100.0] * 5, 0.0]


def test_two_short_pauses_can_follow_each_other() -> None:
    """Each may pause for half of the request only; together they hold it."""
    works = [_work(key, ends_in=99, spare=10, can_pause=True) for key in ("a", "b")]
    assert set(_actions(*works, limit=100.0)) == {"a", "b"}


@pytest.mark.parametrize(
    "work",
    [
        _work(),
        _work(can_pause=True, ends_in=99, spare=0),
        _work(may_move_to=("full",)),
        _work(may_move_to=("b",), ends_in=99, spare=2, lost_by_moving=5),
        _work(can_pause=True, ends_in=99, spare=5),
    ],
)
def test_what_cannot_be_shed_is_not_promised(work: SheddableWork) -> None:
    room = {"full": 0, "b": 9}
    plan = plan_shedding([work], limit_watts=50.0, slots=_SLOTS, reaction=1, room=room)
    assert not plan.is_met
    assert promised_watts([work], slots=_SLOTS, reaction=1, room=room) == pytest.approx(0, abs=0.1)


def test_room_elsewhere_is_given_once() -> None:
    works = [_work(key, may_move_to=("b",), cores=2) for key in ("a", "b", "c")]
    promised = promised_watts(works, slots=_SLOTS, reaction=1, room={"b": 5})
    assert promised == pytest.approx(200.0, abs=0.1)


def test_promises_are_kept_and_near_the_best_of_all_choices() -> None:
    chance = np.random.default_rng(8)
    shares = []
    for _ in range(12):
        works = [
            _work(
                str(number),
                priority=int(chance.integers(0, 3)),
                watts=float(chance.integers(20, 200)),
                ends_in=int(chance.integers(5, 60)),
                spare=int(chance.integers(0, 25)),
                can_pause=bool(chance.random() < 0.7),
                least_share=0.5 if chance.random() < 0.3 else 1.0,
            )
            for number in range(4)
        ]
        drawn = sum(work.watts for work in works)
        offered = [ways_of(work, _SLOTS, 1) for work in works]
        best = max(
            drawn - float(np.sum([way.watts for way in ways], axis=0)[1:].max())
            for ways in product(*offered)
        )
        promised = promised_watts(works, slots=_SLOTS, reaction=1, room={})
        assert promised <= best + 0.1
        shares.append(promised / best if best > 0 else 1.0)
    assert min(shares) >= 0.9
    assert np.mean(shares) >= 0.98


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"watts": float("nan")}, "nan W"),
        ({"watts": -5.0}, "-5.0 W"),
        ({"ends_in": 3, "starts_in": 3}, "it ends before it starts"),
        ({"spare": -1}, "its deadline has passed"),
        ({"least_share": 0.0}, "0.0 of its parallelism"),
    ],
)
def test_figures_that_cannot_be_are_refused_by_name(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match="w: ") as refused:
        promised_watts([_work("w", **given)], slots=_SLOTS, reaction=1, room={})
    assert message in str(refused.value)


def test_requests_that_cannot_be_are_refused() -> None:
    works = [_work("a"), _work("a")]
    with pytest.raises(ValueError, match="the same name"):
        plan_shedding(works, limit_watts=1.0, slots=9, reaction=1, room={})
    with pytest.raises(ValueError, match="9 slots with a reaction time of 9"):
        plan_shedding([], limit_watts=1.0, slots=9, reaction=9, room={})
    with pytest.raises(ValueError, match="no figure"):
        plan_shedding(works[:1], limit_watts=float("nan"), slots=9, reaction=1, room={})
