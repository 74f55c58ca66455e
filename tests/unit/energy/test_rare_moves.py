"""Services that move rarely: least cost under room, and what is never done."""

from itertools import product

import numpy as np
import pytest

from scheduler.energy.plans.rare_moves import Floats, expected_level, rare_moves


def _moved(at: list[int], levels: list[float], **given: object) -> list[int]:
    size = (len(at), len(levels))
    usual: dict[str, object] = {
        "allowed": np.ones(size, np.bool_),
        "room": np.full(len(levels), len(at)),
        "horizon_hours": 168.0,
        "moving_hours": 1.0,
    }
    found = rare_moves(at, np.array(levels), **{**usual, **given})  # type: ignore[arg-type]
    return [int(each) for each in found]


def test_services_go_where_least_is_expected() -> None:
    assert _moved([0, 1, 2], [400.0, 90.0, 300.0]) == [1, 1, 1]


def test_a_move_that_gains_less_than_it_costs_is_not_made() -> None:
    assert _moved([0], [100.0, 99.5]) == [0]
    assert _moved([0], [100.0, 99.5], moving_hours=0.1) == [1]


def test_rules_unknown_levels_and_services_that_may_not_move_hold() -> None:
    allowed = np.array([[True, False, True]])
    assert _moved([0], [400.0, 90.0, 300.0], allowed=allowed) == [2]
    assert _moved([0], [400.0, float("nan"), 300.0]) == [2]
    assert _moved([0], [400.0, 90.0], movable=np.array([False])) == [0]


def test_a_service_at_a_place_of_unknown_level_stays_or_leaves_but_is_never_drawn_there() -> None:
    assert _moved([1, 0], [400.0, float("nan"), 300.0]) == [2, 2]


def test_room_is_given_to_those_that_gain_most() -> None:
    """One slot at the cleanest place: the service whose only other place is dirty gets it."""
    allowed = np.array([[True, True, False], [False, True, True]])
    found = _moved([0, 2], [300.0, 50.0, 900.0], allowed=allowed, room=np.array([1, 1, 1]))
    assert found == [0, 1]


def test_a_service_without_any_room_stays() -> None:
    assert _moved([0, 0], [300.0, 50.0], room=np.array([0, 1])).count(1) == 1


def test_nothing_is_better_than_the_plan() -> None:
    """By trying all divisions of small cases."""
    chance = np.random.default_rng(7)
    for _ in range(60):
        services, places = int(chance.integers(1, 5)), int(chance.integers(2, 4))
        at = chance.integers(0, places, services).tolist()
        levels = chance.uniform(20, 900, places)
        room = chance.integers(1, 4, places)
        allowed = chance.random((services, places)) < 0.6
        for service in range(services):
            room[at[service]] = max(room[at[service]], at.count(at[service]))

        def cost(chosen: list[int], at: list[int] = at, levels: Floats = levels) -> float:
            pairs = zip(chosen, at, strict=True)
            return sum(float(levels[to]) * (168 + 5 * (to != old)) for to, old in pairs)

        found = _moved(at, levels.tolist(), allowed=allowed, room=room, moving_hours=5.0)
        possible = [
            list(each)
            for each in product(range(places), repeat=services)
            if all(each.count(place) <= room[place] for place in range(places))
            and all(allowed[n, to] or to == at[n] for n, to in enumerate(each))
        ]
        assert found in possible
        assert cost(found) == pytest.approx(min(cost(each) for each in possible))


@pytest.mark.parametrize(
    "given", [{"horizon_hours": 0.0}, {"moving_hours": -1.0}, {"room": np.array([1])}]
)
def test_wrong_figures_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"each service needs a place|a horizon is above 0 h"):
        _moved([0], [100.0, 50.0], **given)


def test_the_level_is_of_weeks_and_unknown_without_half_of_the_hours() -> None:
    hours = np.concatenate([np.full(504, 100.0), np.full(168, 200.0)])
    gaps = hours.copy()
    gaps[-120:] = np.nan

    assert expected_level(hours) == (200 + 125) / 2
    assert expected_level(np.full(30, 90.0)) == 90.0
    assert np.isnan(expected_level(gaps))
    assert np.isnan(expected_level(np.full(20, 90.0)))
    assert np.isnan(expected_level(np.empty(0)))
