"""What can wait is held for a month's budget, and no deadline is lost by it."""

from datetime import timedelta

import msgspec
import pytest

from scheduler.control.reconcile.draft import outcome_of
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.placement.choose import choose
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.sites import NOW, demand, facts_of, grant, nodes, site, workload

HOLD = "tenant bureau: 95 kgCO2e of the month's 100 kgCO2e are used, and 190 kgCO2e are expected"
FLEET = Fleet([facts_of(site("m1", nodes(5)), grant("m1"))])


def _asked(placed: dict[str, int] | None = None, **schedule: object) -> Demand:
    found = demand(workload(1, placed=placed, schedule=schedule))
    return msgspec.structs.replace(found, budget_hold=HOLD)


def test_work_with_a_deadline_waits_until_its_latest_start() -> None:
    deadline = NOW + timedelta(hours=4)
    asked = _asked(deadline=deadline.isoformat(), durationSeconds=3600)

    held = choose(asked, FLEET, now=NOW)

    assert (held.phase, held.reasons) == ("Waiting", {"quota": 1})
    assert HOLD in held.line
    # 4 h less the duration and the margin of 5 min
    assert outcome_of(held, asked).retry_after_seconds == pytest.approx(3 * 3600 - 300)
    later = NOW + timedelta(hours=3, minutes=-5)
    fresh = site("m1", nodes(5), observedAt=later.isoformat())
    released = choose(asked, Fleet([facts_of(fresh, grant("m1"))]), now=later)
    assert released.phase == "Placed"


def test_interruptible_work_waits_as_long_as_the_hold_lasts() -> None:
    asked = _asked(interruptible=True)

    held = choose(asked, FLEET, now=NOW)

    assert held.phase == "Waiting"
    assert outcome_of(held, asked).retry_after_seconds is None
    assert choose(msgspec.structs.replace(asked, budget_hold=""), FLEET, now=NOW).phase == "Placed"


@pytest.mark.parametrize("schedule", [{}, {"durationSeconds": 60}])
def test_what_cannot_wait_is_not_held(schedule: dict[str, int]) -> None:
    assert choose(_asked(None, **schedule), FLEET, now=NOW).phase == "Placed"


def test_the_smallest_change_is_a_larger_budget() -> None:
    asked = _asked(interruptible=True)

    (offer,) = suggest_changes(asked, FLEET, decision_context(NOW, DEFAULT_TERMS))

    assert (offer.kind, offer.verified) == ("tenant.budget", True)


def test_what_runs_goes_on() -> None:
    running = _asked({"m1": 1}, interruptible=True)

    found = choose(running, FLEET, now=NOW)

    assert [(one.site, one.replicas) for one in found.assignment] == [("m1", 1)]
