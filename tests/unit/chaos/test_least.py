"""The least number of moves by counting is what a search over all divisions finds."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from benchmarks._chaos.checker.sight import Raw
from benchmarks._chaos.figures import Figures
from benchmarks._chaos.least import Loss, least_by_count, least_by_search, least_moves
from tests.support.chaos_sights import placed, sight, site_object, workload, wrote


def _loss(**facts: object) -> Loss:
    usual: dict[str, object] = {
        "before": {"a": 2, "b": 1},
        "lost": frozenset({"a"}),
        "admits": frozenset({"b", "c"}),
        "wanted": 3,
    }
    return Loss(**(usual | facts))  # type: ignore[arg-type]  # the fields of the class


@pytest.mark.parametrize(
    ("loss", "least"),
    [
        (_loss(), 2),
        (_loss(lost=frozenset()), 0),
        (_loss(lost=frozenset({"a", "b"})), 3),
        (_loss(admits=frozenset()), float("inf")),
        (_loss(spread=[({"a": "x", "b": "y", "c": "x"}, 2)]), 2),
        (_loss(before={"b": 3}, spread=[({"a": "x", "b": "y", "c": "x"}, 2)]), 1),
        (_loss(spread=[({"a": "x", "b": "y", "c": "y"}, 2)]), float("inf")),
    ],
)
def test_the_least_of_a_loss(loss: Loss, least: float) -> None:
    assert least_by_search(loss) == least == least_by_count(loss)


def test_counting_finds_what_a_search_finds_on_small_fleets() -> None:
    rng = random.Random(3)  # noqa: S311 - a test, seeded
    for _ in range(400):
        names = "abcde"[: rng.randint(1, 5)]
        group = {name: rng.choice("xyz") for name in names}
        before = {name: rng.randint(0, 3) for name in names if rng.random() < 0.7}
        loss = Loss(
            before=before,
            lost=frozenset(name for name in names if rng.random() < 0.3),
            admits=frozenset(name for name in names if rng.random() < 0.8),
            wanted=sum(before.values()),
            spread=[(group, rng.randint(1, 3))] if rng.random() < 0.5 else (),
        )
        found, counted = least_by_search(loss), least_by_count(loss)
        assert counted <= found
        if not loss.spread:
            assert counted == found


def test_a_large_fleet_is_counted() -> None:
    names = [f"s{number}" for number in range(1000)]
    loss = Loss(
        before={"s0": 4, "s1": 4}, lost=frozenset({"s0"}), admits=frozenset(names), wanted=8
    )
    assert least_moves(loss) == 4


def _figures_of(before: dict[str, int], after: dict[str, int]) -> Figures:
    """What is counted of one write, while the first site is silent."""
    figures, one = Figures(), workload()
    sites_of: Callable[..., Raw] = partial(placed, one)
    silent = site_object("m1")
    silent["status"] = {"conditions": [{"type": "Ready", "status": "False", "reason": "Silent"}]}
    objects = {"m1": silent, "m2": site_object("m2"), "m3": site_object("m3")}
    moment = sight(site_objects=objects, **wrote(sites_of(**before), sites_of(**after)))
    sites = {**moment.sites, "m3": moment.sites["m2"]}
    figures.look(replace(moment, sites=sites))
    return figures


def test_moves_beyond_the_least_are_counted() -> None:
    good = _figures_of({"m1": 1, "m2": 1}, {"m2": 2})
    assert (good.moves, good.least_moves) == (1, 1)
    wasted = _figures_of({"m1": 1, "m2": 1}, {"m3": 2})
    assert (wasted.moves, wasted.least_moves) == (2, 1)


def test_a_move_without_a_cause_is_counted() -> None:
    moved = _figures_of({"m2": 2}, {"m3": 2})
    assert (moved.moves, moved.least_moves) == (2, 0)


def _recovery_of(listening_since: float) -> float:
    """How long a recovery took of a site that was heard last at 999 s and replaced at 2,000 s."""
    figures, one, silent = Figures(), workload(), site_object("m1")
    silent["status"] = {"conditions": [{"type": "Ready", "status": "False", "reason": "Silent"}]}
    objects = {"m1": silent, "m2": site_object("m2")}
    figures.look(sight(1000.0, site_objects=objects, failover_seconds=300.0))
    facts = wrote(placed(one, m1=2), placed(one, m2=2))
    facts["writes"] = tuple(replace(each, at=2000.0) for each in facts["writes"])
    moment = sight(2000.0, site_objects=objects, failover_seconds=300.0, **facts)
    figures.look(replace(moment, listening_since=listening_since))
    [seconds] = figures.recover_seconds
    return seconds


def test_a_leader_that_listens_later_may_evict_later() -> None:
    """It has not heard itself for how long a site is silent, so it waits as long again."""
    assert _recovery_of(listening_since=0.0) == 2000 - (999 + 300)
    assert _recovery_of(listening_since=1500.0) == 2000 - (1500 + 300)


def test_a_recovery_counts_from_when_the_hold_of_the_site_ended() -> None:
    figures, one, silent = Figures(), workload(), site_object("m1")
    ready = {"type": "Ready", "status": "False", "reason": "Silent"}
    held = {"type": "EvictionsHeld", "status": "True"}
    silent["status"] = {"conditions": [ready, held]}
    objects = {"m1": silent, "m2": site_object("m2")}
    seen = sight(2000.0, site_objects=objects, failover_seconds=300.0)
    sites = {name: replace(one, heard_at=1000.0) for name, one in seen.sites.items()}
    figures.look(replace(seen, sites=sites))
    free = {**silent, "status": {"conditions": [ready]}}
    facts = wrote(placed(one, m1=2), placed(one, m2=2))
    facts["writes"] = tuple(replace(each, at=2001.75) for each in facts["writes"])
    moment = sight(2002.0, site_objects={**objects, "m1": free}, failover_seconds=300.0, **facts)
    figures.look(replace(moment, freed={"m1": 2001.5}))
    assert figures.recover_seconds == [0.25]
