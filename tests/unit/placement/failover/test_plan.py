"""What is due, in which order, and what waits for an operator."""

import pytest
from msgspec.structs import replace as with_fields

from scheduler.model.kinds.failover import FailoverMove
from scheduler.placement.choose import choose
from scheduler.placement.failover.moving_back import (
    moving_back,
    reverting,
    with_move,
    without_settled,
)
from scheduler.placement.failover.plan import EvictionCandidate, plan_evictions
from tests.support.sites import NOW, demand, fleet_of, nodes, site, site_with_capacity, workload


def candidate(name: str, **given: object) -> EvictionCandidate:
    fields = {
        "key": ("ns", name),
        "site": "m1",
        "replicas": 1,
        "priority": 0,
        "created_at_seconds": 0.0,
        "mode": "Automatic",
        "after_seconds": 300.0,
        "quiet_seconds": 300.0,
        **given,
    }
    return EvictionCandidate(**fields)  # type: ignore[arg-type]


def test_what_is_due_comes_by_priority_then_age_then_name() -> None:
    plan = plan_evictions(
        [
            candidate("d", priority=1, created_at_seconds=2.0),
            candidate("b", priority=1, created_at_seconds=1.0),
            candidate("a", priority=1, created_at_seconds=1.0),
            candidate("c", priority=9, created_at_seconds=5.0),
        ]
    )
    assert [one.key[1] for one in plan.due] == ["c", "a", "b", "d"]
    assert plan.next_seconds is None


def test_what_is_not_due_says_when_it_is() -> None:
    plan = plan_evictions(
        [candidate("a", quiet_seconds=299.0), candidate("b", after_seconds=900.0)]
    )
    assert plan.due == ()
    assert plan.next_seconds == 1.0


def test_manual_fenced_and_numbered_work_waits_for_an_operator() -> None:
    plan = plan_evictions(
        [
            candidate("a", mode="Manual"),
            candidate("b", mode="Fenced"),
            candidate("c", is_numbered=True),
            candidate("d", mode="Manual", quiet_seconds=1.0),
        ]
    )
    assert plan.due == ()
    assert [(one.key[1], why) for one, why in plan.held] == [
        ("a", "Manual"),
        ("b", "CannotFence"),
        ("c", "CannotFence"),
    ]
    disabled = plan_evictions([candidate("e")], is_enabled=False)
    assert [why for _, why in disabled.held] == ["Disabled"]


def move(at: str, to: str, replicas: int = 2) -> FailoverMove:
    return FailoverMove(site=at, replicas=replicas, to=(to,))


def test_a_chain_of_moves_leads_back_to_the_first_site() -> None:
    moves = with_move((), move("m1", "m2"))
    assert with_move(moves, move("m2", "m3")) == (move("m1", "m3"),)
    # One replica of m2 was its own.
    assert with_move(moves, move("m2", "m3", 3)) == (move("m1", "m3"), move("m2", "m3", 1))


def test_a_move_is_settled_when_its_site_has_replicas_or_none_of_it_is_left() -> None:
    moves = (move("m1", "m2"), move("m3", "m4"), move("m5", "m2"))
    left = without_settled(moves, staying={"m2", "m3"}, known_sites={"m1", "m2", "m3"})
    assert left == (move("m1", "m2"),)


def test_what_moves_back_goes_to_its_original_site_or_not_at_all() -> None:
    asked = demand(workload(3, placed={"m2": 3}))
    back = moving_back(asked, (move("m1", "m2"),), {"m1"})
    assert back is not None
    for room, expected in ((2, {"m1": 2, "m2": 1}), (1, None)):
        fleet = fleet_of(site_with_capacity("m1", room), site_with_capacity("m2", 9))
        decision = choose(back, fleet, now=NOW)
        placed = {one.site: one.replicas for one in decision.assignment}
        assert (placed if decision.phase == "Placed" else None) == expected
    assert moving_back(asked, (move("m1", "m2"),), {"m9"}) is None


def test_a_move_that_is_not_complete_is_reverted_where_the_original_runs() -> None:
    asked = demand(workload(2, placed={"m2": 2}))
    leaving = with_fields(asked.placed[0], site="m1", phase="Withdrawing")
    asked = with_fields(asked, placed=(*asked.placed, leaving))
    back = reverting(asked, (move("m1", "m2"),), lambda _: True)
    assert back is not None
    assert back.placed_replicas == {"m1": 2}
    assert reverting(asked, (move("m1", "m2"),), lambda _: False) is None


def test_the_line_of_a_decision_says_what_was_moved_and_since_when() -> None:
    silent = site(
        "m1",
        nodes(9),
        conditions=[
            {"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-11-23T07:00:00Z"}
        ],
    )
    asked = demand(workload(2, placed={"m1": 2}), evicted=("m1",))
    line = choose(asked, fleet_of(silent, site_with_capacity("m2", 9)), now=NOW).line
    assert line == "placed on m2 (2); moved from m1: silent since 2026-11-23T07:00:00Z"
    line = choose(asked, fleet_of(silent, site_with_capacity("m2", 1)), now=NOW).line
    assert line.endswith("; not moved from m1: silent since 2026-11-23T07:00:00Z")
    reports = fleet_of(site_with_capacity("m1", 9), site_with_capacity("m2", 9))
    assert choose(asked, reports, now=NOW).line.endswith("m1: asked by an operator")


@pytest.mark.parametrize("on_unmet", ["Report", "Move"])
def test_what_never_left_is_not_judged_by_where_the_others_return_to(on_unmet: str) -> None:
    """m1 had two of four; m2 took them, and has the other two anyway."""
    asked = with_fields(demand(workload(4, placed={"m2": 4})), on_unmet_rules=on_unmet)
    moves = [FailoverMove(site="m1", to=("m2",), replicas=2)]
    back = moving_back(asked, moves, {"m1"})
    assert back is not None
    sites = [site_with_capacity(name, 9) for name in ("m0", "m1", "m2")]
    decision = choose(back, fleet_of(*sites), now=NOW)
    assert {one.site: one.replicas for one in decision.assignment} == {"m1": 2, "m2": 2}
    assert (decision.phase, decision.unmet) == ("Placed", ())
    assert decision.line == "placed on m1 (2), m2 (2)"


def test_a_selector_of_the_workload_still_judges_what_stays() -> None:
    only = {"siteSelector": {"matchLabels": {"kapok.dev/site": "m1"}}}
    asked = demand(workload(4, placed={"m2": 4}, placement=only))
    back = moving_back(asked, [FailoverMove(site="m1", to=("m2",), replicas=2)], {"m1"})
    assert back is not None
    fleet = fleet_of(site_with_capacity("m1", 9), site_with_capacity("m2", 9))
    decision = choose(back, fleet, now=NOW)
    assert [one.rule for one in decision.unmet] == ["selector"]
    assert "m2 has kapok.dev/site=m2; required: m1" in decision.line


def test_a_site_that_is_gone_takes_nothing_back() -> None:
    asked = demand(workload(2, placed={"m2": 2}))
    back = moving_back(asked, [FailoverMove(site="m1", to=("m2",), replicas=2)], {"m1"})
    assert back is not None
    decision = choose(back, fleet_of(site_with_capacity("m2", 9)), now=NOW)
    assert decision.phase != "Placed"
    assert "selector" in decision.line
