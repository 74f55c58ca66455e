"""Budgets of a month: used, expected, a warning, and the hold."""

import msgspec
import pytest

from scheduler.energy.accounts.hours import EnergyHour
from scheduler.energy.budgets import (
    BudgetState,
    MonthUse,
    budget_state,
    tenant_month,
    use_by_tenant,
)
from scheduler.energy.factors.official_china import official_factor
from scheduler.model.kinds.tenant import Budget

_KWH = 3_600_000
_MONTH = 720.0
_ROW = EnergyHour(
    site="m1",
    hour=500_000,
    seconds=3600,
    it_joules=100 * _KWH,
    pue=1.5,
    location=official_factor("CN-GD", year=2026),
    energy_cny_per_kwh=0.6,
    users={"health": 40 * _KWH, "": 60 * _KWH},
)


def _level(kgco2e: float, hours: float, limit: float = 100.0) -> str:
    budget = Budget(kgco2e_per_month=limit)
    return _state(MonthUse(kgco2e=kgco2e), budget, hours).level


def _state(use: MonthUse, budget: Budget, hours: float) -> BudgetState:
    return budget_state(tenant_month(use, budget, hours_over=hours, hours_in_month=_MONTH))


def test_a_tenant_uses_its_share_of_grams_and_money() -> None:
    use = use_by_tenant([_ROW, _ROW])["health"]

    assert use.kgco2e == pytest.approx(2 * 150 * 0.4419 * 0.4)
    assert use.cny == pytest.approx(2 * 150 * 0.6 * 0.4)


def test_what_is_not_known_counts_with_the_figures_of_the_expensive_side() -> None:
    unknown = msgspec.structs.replace(_ROW, pue=None, location=None, energy_cny_per_kwh=None)

    use = use_by_tenant([unknown])["health"]

    assert use.kgco2e == pytest.approx(100 * 2.5 * 1.0 * 0.4)
    assert use.cny == pytest.approx(100 * 2.5 * 2.0 * 0.4)


@pytest.mark.parametrize(
    ("kgco2e", "hours", "level"),
    [
        (49.0, 360.0, "within"),
        (51.0, 360.0, "warning"),
        (89.0, 360.0, "warning"),
        (90.0, 360.0, "held"),
        (90.0, 719.0, "within"),  # little is left of the month
        (120.0, 719.0, "held"),
        (0.0, 360.0, "within"),
        (50.0, 3.0, "within"),  # nothing is forecast on the first day
        (101.0, 3.0, "held"),
    ],
)
def test_the_forecast_warns_and_then_what_can_wait_is_held(
    kgco2e: float, hours: float, level: str
) -> None:
    assert _level(kgco2e, hours) == level


def test_a_budget_of_nothing_holds_at_once_and_no_budget_never() -> None:
    assert _level(0.1, 100.0, limit=0.0) == "held"
    free = _state(MonthUse(1e9, 1e9), Budget(), 99)
    assert (free.level, free.line) == ("within", "")


def test_the_stricter_of_money_and_carbon_counts_and_says_its_figures() -> None:
    budget = Budget(kgco2e_per_month=1000.0, cny_per_month=50.0)

    state = _state(MonthUse(400.0, 48.0), budget, 360)

    assert state.level == "held"
    assert state.line == (
        "48 CNY of the month's 50 CNY are used, and 96 CNY are expected by its end"
    )
