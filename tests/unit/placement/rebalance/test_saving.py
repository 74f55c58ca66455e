"""Moves that save cost: what they save with the cost of the move, and which are worth it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from scheduler.model.decision import Decision, RebalanceStep
from scheduler.model.demand.demand import Demand, PlacedReplicas, RebalanceQuestion
from scheduler.model.kinds.rebalance import RebalanceBudget, RebalanceStatus
from scheduler.model.kinds.workload import Workload
from scheduler.placement.choose import choose
from scheduler.placement.rebalance.plan import (
    RebalanceCandidate,
    moves_left,
    why_it_cannot_move,
    why_it_stays,
    within_budget,
)
from scheduler.placement.rebalance.saving import is_worth_it
from tests.support.fake_clock import START
from tests.support.sites import (
    NOW,
    Raw,
    demand,
    fleet_of,
    nodes,
    site,
    with_placement,
    workload,
)


def priced(name: str, cny: float, grams: float | None = 500.0, room: int = 8) -> Raw:
    """A site whose figures are known, but for an intensity that is None."""
    spec = {
        "prices": {"energyCnyPerKwh": 0.5, "coreCnyPerHour": cny},
        "energy": {"pue": 1.5, "pueOrigin": "measured"},
        "location": {"metro": "guangzhou", "province": "CN-GD"},
    }
    known = {"intensity": {"gco2PerKwh": grams, "origin": "measured", "observedAt": OBSERVED}}
    return site(name, nodes(room), spec=spec, **(known if grams is not None else {}))


OBSERVED = "2026-11-23T08:00:00Z"
DEAR, CHEAP = priced("dear", 1.0), priced("cheap", 0.1, 100.0)


def asked(replicas: int = 2, *, spec: Raw | None = None, **question: Any) -> Demand:  # noqa: ANN401
    """A workload that runs at the dear site, and may move."""
    found = with_placement(
        demand(workload(replicas, **(spec or {}))),
        (PlacedReplicas(site="dear", replicas=replicas, phase="Running"),),
    )
    return msgspec.structs.replace(found, rebalance=RebalanceQuestion(**({"moves": 10} | question)))


def decided(one: Demand, *sites: Raw) -> Decision:
    return choose(one, fleet_of(*(sites or (DEAR, CHEAP))), now=NOW)


def places(decision: Decision) -> dict[str, int]:
    return {one.site: one.replicas for one in decision.assignment}


def test_a_move_that_saves_is_made_and_says_what_it_saves() -> None:
    decision = decided(asked())
    assert places(decision) == {"cheap": 2}
    step = decision.rebalance
    assert step is not None
    assert step.replicas == 2
    hourly = decided(msgspec.structs.replace(asked(), rebalance=None)).cost
    there = decision.cost
    assert hourly.cny_per_hour is not None
    assert there.cny_per_hour is not None
    saved = (hourly.cny_per_hour - there.cny_per_hour) * 24
    assert step.cost_cny == pytest.approx(there.cny_per_hour / 6)  # ten minutes of both
    assert step.saves_cny == pytest.approx(saved - step.cost_cny)
    assert "rebalanced (2 moved): saves" in decision.line


def test_without_the_question_nothing_moves() -> None:
    assert places(decided(msgspec.structs.replace(asked(), rebalance=None))) == {"dear": 2}


def test_too_little_of_a_saving_moves_nothing() -> None:
    found = decided(asked()).rebalance
    assert found is not None
    each = found.saves_cny / 2
    assert places(decided(asked(min_cny_per_move=each * 0.999))) == {"cheap": 2}
    assert places(decided(asked(min_cny_per_move=each * 1.001))) == {"dear": 2}


def test_carbon_alone_may_be_asked_for() -> None:
    cleaner = priced("cheap", 0.999, 100.0)
    found = decided(asked(min_gco2_per_move=1.0), DEAR, cleaner)
    assert places(found) == {"cheap": 2}
    assert places(decided(asked(min_gco2_per_move=1e6), DEAR, cleaner)) == {"dear": 2}


def test_the_cost_of_copying_data_counts() -> None:
    data: Raw = {
        "placement": {
            "data": [{"at": "dear", "gibibytes": 100}],
            "prices": {"movingCnyPerGibibyte": 1.0},
        }
    }
    decision = decided(asked(spec=data))
    assert places(decision) == {"dear": 2}
    data["placement"]["prices"] = {"movingCnyPerGibibyte": 0.01}
    step = decided(asked(spec=data)).rebalance
    assert step is not None
    assert step.cost_cny > 1.0  # 100 GiB at 0.01 CNY


def test_an_unknown_figure_saves_nothing() -> None:
    unknown = priced("cheap", 0.0, None)
    assert places(decided(asked(), DEAR, unknown)) == {"dear": 2}


def test_more_moves_than_are_left_move_nothing() -> None:
    assert places(decided(asked(4, moves=3))) == {"dear": 4}
    assert places(decided(asked(4, moves=4))) == {"cheap": 4}


def test_no_rule_is_weakened_for_a_saving() -> None:
    apart: Raw = {"placement": {"spread": [{"by": "site", "minGroups": 2, "required": True}]}}
    only_two = with_placement(
        demand(workload(2, **apart)),
        tuple(PlacedReplicas(site=one, replicas=1, phase="Running") for one in ("dear", "cheap")),
    )
    one = msgspec.structs.replace(only_two, rebalance=RebalanceQuestion(moves=10))
    assert places(decided(one)) == {"dear": 1, "cheap": 1}


def test_what_violates_a_right_is_no_matter_of_saving() -> None:
    one = asked()
    lone = fleet_of(DEAR, CHEAP, grants=())
    assert choose(one, lone, now=NOW).rebalance is None


@pytest.mark.parametrize(
    ("step", "question", "worth"),
    [
        ((2, 1.0, -5.0), {}, True),
        ((2, -1.0, 500.0), {}, False),
        ((2, 1.0, 0.0), {"min_cny_per_move": 0.5}, True),
        ((2, 1.0, 0.0), {"min_cny_per_move": 0.6}, False),
        ((2, 0.1, 10.0), {"min_cny_per_move": 0.6, "min_gco2_per_move": 5.0}, True),
        ((2, 0.0, 0.0), {"min_cny_per_move": 0.0}, False),
        ((3, 9.0, 9.0), {"moves": 2}, False),
    ],
)
def test_which_moves_are_worth_it(
    step: tuple[int, float, float],
    question: dict[str, float],
    worth: bool,  # noqa: FBT001 - a case
) -> None:
    replicas, cny, grams = step
    found = RebalanceStep(replicas=replicas, saves_cny=cny, saves_gco2=grams)
    asks = RebalanceQuestion(**({"moves": 10} | question))  # type: ignore[arg-type]
    assert is_worth_it(found, asks) == worth


def test_the_best_saving_for_each_replica_moves_first_within_the_budget() -> None:
    def one(name: str, replicas: int, cny: float) -> RebalanceCandidate:
        step = RebalanceStep(replicas=replicas, saves_cny=cny, saves_gco2=0.0)
        return RebalanceCandidate(key=("ns", name), priority=0, step=step)

    found = within_budget([one("a", 3, 3.0), one("b", 2, 8.0), one("c", 1, 2.0)], 4)
    assert [each.key[1] for each in found] == ["b", "c"]
    assert within_budget([one("a", 3, 3.0)], 0) == []


@dataclass(frozen=True)
class _Case:
    change: dict[str, Any]
    why: str


RUNNING: Raw = {
    "phase": "Running",
    "replicas": 2,
    "ready": 2,
    "observedGeneration": 1,
    "placement": {"groups": [{"sites": ["dear"], "replicas": 2, "phase": "Running"}]},
}


@pytest.mark.parametrize(
    "case",
    [
        _Case({}, ""),
        _Case({"ready": 1}, "not all of its replicas run"),
        _Case({"phase": "Degraded"}, "not all of its replicas run"),
        _Case({"rollout": {"phase": "Paused"}}, "a change of it is being rolled out"),
        _Case({"rollout": {"phase": "Complete"}}, ""),
        _Case({"observedGeneration": 0}, "it is paused, or its spec is not decided yet"),
        _Case(
            {"failover": {"moved": [{"site": "x", "replicas": 1}]}},
            "failover moved it, and may move it back",
        ),
        _Case(
            {"rebalance": {"at": "2026-11-23T09:00:00Z", "replicas": 2}},
            "it moved for a saving within a day",
        ),
        _Case({"rebalance": {"at": "2026-11-22T01:00:00Z", "replicas": 2}}, ""),
    ],
    ids=lambda case: case.why + str(sorted(case.change)),
)
def test_what_does_not_run_undisturbed_stays(case: _Case) -> None:
    raw = workload(2)
    raw["metadata"]["generation"] = 1
    raw["status"] = {**RUNNING, **case.change}
    one = msgspec.convert(raw, Workload)
    assert why_it_stays(one, START.replace(day=23, hour=20)) == case.why


def test_what_keeps_data_or_is_everywhere_cannot_move() -> None:
    assert why_it_cannot_move(demand(workload(2))) == ""
    everywhere = demand(workload(2, placement={"strategy": "Duplicated"}))
    assert why_it_cannot_move(everywhere) == "each of its sites has a whole copy"
    held = msgspec.structs.replace(demand(workload(2)), immovable="its data stays")
    assert why_it_cannot_move(held) == "its data stays"


def test_moves_of_the_last_hour_count_against_the_budget() -> None:
    def moved(minutes: int, replicas: int) -> Workload:
        at = NOW - timedelta(minutes=minutes)
        one = msgspec.convert(workload(2), Workload)
        status = msgspec.structs.replace(
            one.status, rebalance=RebalanceStatus(at=at, replicas=replicas)
        )
        return msgspec.structs.replace(one, status=status)

    budget = RebalanceBudget(mode="Auto", moves_per_hour=5)
    assert moves_left(budget, [moved(10, 2), moved(61, 2)], NOW) == 3
    assert moves_left(budget, [moved(10, 9)], NOW) == 0
    assert RebalanceBudget().moves == 10
    assert RebalanceBudget(max_moves_per_hour=3).moves == 3
