"""Budgets of tenants by the month: used, expected at its end, and what follows.

The forecast is what was used, at the same rate until the month's end; in the first day of a month
nothing is forecast. Above the budget by forecast: a warning. Almost used up as well: what can wait
is held, until it can wait no longer. What is not known counts with the fall-back figures of
decisions, which are on the expensive side: unknown is never free.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from scheduler.energy.accounts.hours import EnergyHour
from scheduler.energy.accounts.ledgers import JOULES_PER_KWH, grid_kwh, location_emission
from scheduler.energy.accounts.money import energy_cny
from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
from scheduler.model.kinds.tenant import Budget
from scheduler.model.units import GRAMS_PER_KILOGRAM

BudgetLevel = Literal["within", "warning", "held"]

HELD_FROM_RATIO = 0.9
"""What can wait is held once this ratio of the budget is used, if the forecast is above it."""
_LEAST_HOURS = 24


@dataclass(frozen=True, slots=True)
class MonthUse:
    """What a tenant has used of a month."""

    kgco2e: float = 0.0
    cny: float = 0.0

    def plus(self, other: "MonthUse") -> "MonthUse":
        """The sum of both."""
        return MonthUse(self.kgco2e + other.kgco2e, self.cny + other.cny)


@dataclass(frozen=True, slots=True)
class TenantMonth:
    """A tenant's month so far.

    Attributes:
        used: since it began.
        expected: at its end, at the same rate.
        budget: of the tenant.
    """

    used: MonthUse
    expected: MonthUse
    budget: Budget


@dataclass(frozen=True, slots=True)
class BudgetState:
    """What a budget says now.

    Attributes:
        level: what follows.
        line: used, expected and budget, for people; "" while within.
    """

    level: BudgetLevel
    line: str = ""


def use_by_tenant(rows: Iterable[EnergyHour], terms: Terms = DEFAULT_TERMS) -> dict[str, MonthUse]:
    """What each tenant has used by some rows; a share of an hour is that of its IT energy.

    Carbon is that of the location ledger. The month's peak price is not in it: which hour is the
    highest is known at its end only.
    """
    found: dict[str, MonthUse] = {}
    for row in rows:
        whole = _use_of(row, terms)
        for tenant, joules in row.users.items():
            if tenant and row.it_joules:
                share = joules / row.it_joules
                part = MonthUse(whole.kgco2e * share, whole.cny * share)
                found[tenant] = found.get(tenant, MonthUse()).plus(part)
    return found


def tenant_month(
    use: MonthUse, budget: Budget, *, hours_over: float, hours_in_month: float
) -> TenantMonth:
    """A month's use with its forecast.

    Args:
        use: since the month began.
        budget: of the tenant.
        hours_over: of the month.
        hours_in_month: of the whole month.
    """
    factor = 1.0 if hours_over < _LEAST_HOURS else max(1.0, hours_in_month / hours_over)
    return TenantMonth(use, MonthUse(use.kgco2e * factor, use.cny * factor), budget)


def budget_state(month: TenantMonth) -> BudgetState:
    """What follows from a month: the stricter of carbon and money counts."""
    used, expected, budget = month.used, month.expected, month.budget
    states = [
        _state_of("kgCO2e", used.kgco2e, expected.kgco2e, budget.kgco2e_per_month),
        _state_of("CNY", used.cny, expected.cny, budget.cny_per_month),
    ]
    return max(states, key=lambda one: _ORDER.index(one.level))


_ORDER: tuple[BudgetLevel, ...] = ("within", "warning", "held")


def _state_of(unit: str, used: float, expected: float, limit: float | None) -> BudgetState:
    if limit is None or expected <= limit:
        return BudgetState("within")
    level: BudgetLevel = "held" if used >= limit * HELD_FROM_RATIO else "warning"
    return BudgetState(
        level,
        f"{used:.4g} {unit} of the month's {limit:.4g} {unit} are used, and {expected:.4g} {unit}"
        " are expected by its end",
    )


def _use_of(row: EnergyHour, terms: Terms) -> MonthUse:
    kwh = grid_kwh(row)
    if kwh is None:
        kwh = row.it_joules / JOULES_PER_KWH * terms.fallback_pue
    grams = location_emission(row).grams
    if grams is None:
        known = row.location.gco2_per_kwh if row.location else terms.fallback_gco2_per_kwh
        grams = kwh * known
    cny = energy_cny(row)
    if cny is None:
        price = row.energy_cny_per_kwh
        cny = kwh * (terms.fallback_energy_cny_per_kwh if price is None else price)
    return MonthUse(grams / GRAMS_PER_KILOGRAM, cny)
