"""The least budgets with which a workload would be placed, found by running the engine."""

from collections.abc import Iterator, Mapping
from math import floor, log10

from msgspec.structs import replace

from scheduler.model.decision import SuggestedChange
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.tenant import BudgetLeft, Spend
from scheduler.model.units import GRAMS_PER_KILOGRAM
from scheduler.placement.explain.relaxations import FitsDemand, find_largest
from scheduler.placement.explain.trial import Trial
from scheduler.placement.filter.fix import Fix


def raise_budget(trial: Trial, spend: Spend | None, fits: FitsDemand) -> Iterator[Trial]:
    """The least budgets that suffice, rounded up to two significant digits.

    One of them alone if that is enough, else both.

    Args:
        trial: the changes to begin with.
        spend: what the cheapest placement would cost without a budget; None: there is none.
        fits: whether the engine places a demand.
    """
    if trial.demand.budget_left is None or spend is None:
        return
    highest = _sufficient_budgets(trial.demand, trial.demand.budget_left, spend)
    alone = [_least_budgets(trial.demand, {name: most}, fits) for name, most in highest.items()]
    found = [each for each in alone if each] or [_least_budgets(trial.demand, highest, fits)]
    for budgets in found:
        if budgets:
            yield trial.with_fix(_budget_fix(trial.demand, budgets))


def _sufficient_budgets(demand: Demand, left: BudgetLeft, spend: Spend) -> dict[str, float]:
    """Budgets that are too small for the cheapest placement, as they would be enough for it."""
    enough: dict[str, float] = {}
    for name, (field, per_unit) in _LEFT_FIELD_OF_BUDGET.items():
        was, rest, asked = getattr(demand.budget, name), getattr(left, field), getattr(spend, field)
        if was is not None and asked > rest:
            enough[name] = was + (asked - rest) / per_unit
    return enough


def _least_budgets(
    demand: Demand, highest: Mapping[str, float], fits: FitsDemand
) -> dict[str, float]:
    """Of each of some budgets the least that suffices with the others; empty: they do not."""
    budgets = {name: _two_digits(_rank_above(most)) for name, most in highest.items()}
    if not budgets or not fits(_with_budgets(demand, budgets)):
        return {}
    for name in sorted(budgets, reverse=True):  # carbon first
        was, top = getattr(demand.budget, name), _rank_above(budgets[name])
        lowest = _rank_above(was) if was > 0 else top - _MAX_RANKS
        lowest = max(lowest, top - _MAX_RANKS)

        def suffices(less: int, name: str = name, top: int = top) -> bool:
            return fits(_with_budgets(demand, {**budgets, name: _two_digits(top - less)}))

        budgets[name] = _two_digits(top - find_largest(top - lowest, suffices))
    return budgets


def _rank_above(amount: float) -> int:
    """The number of the smallest figure of two significant digits that is not below an amount."""
    if amount <= 0:
        return -_DIGITS * _DECADES
    decade = floor(log10(amount)) - 1
    rank = decade * _DIGITS
    while _two_digits(rank) < amount:
        rank += 1
    return rank


def _two_digits(rank: int) -> float:
    """The figures of two significant digits, by their number in the order of size."""
    decade, digits = divmod(rank, _DIGITS)
    return float(f"{_FIRST_DIGITS + digits}e{decade - 1}")


_DIGITS, _FIRST_DIGITS = 90, 10
"""There are 90 figures of two digits, from 10 to 99, in each decade."""
_DECADES, _MAX_RANKS = 300, 90 * 12


def _with_budgets(demand: Demand, budgets: Mapping[str, float]) -> Demand:
    left = demand.budget_left or BudgetLeft()
    raised = {name: becomes - getattr(demand.budget, name) for name, becomes in budgets.items()}
    wider = BudgetLeft(
        cny_per_hour=_add_to_known(left.cny_per_hour, raised.get("cny_per_hour", 0.0)),
        gco2_per_hour=_add_to_known(
            left.gco2_per_hour, raised.get("kgco2e_per_hour", 0.0) * GRAMS_PER_KILOGRAM
        ),
    )
    return replace(demand, budget_left=wider)


def _budget_fix(demand: Demand, budgets: Mapping[str, float]) -> Fix:
    named = {_SHOWN_BUDGET_NAMES[name]: name for name in sorted(budgets)}
    change = SuggestedChange(
        kind="tenant.budget",
        target=f"Tenant {demand.tenant}",
        from_=", ".join(f"{key}: {getattr(demand.budget, name):g}" for key, name in named.items()),
        to=", ".join(f"{key}: {budgets[name]:g}" for key, name in named.items()),
    )
    return Fix(change=change, demand=_with_budgets(demand, budgets))


_LEFT_FIELD_OF_BUDGET = {
    "cny_per_hour": ("cny_per_hour", 1),
    "kgco2e_per_hour": ("gco2_per_hour", GRAMS_PER_KILOGRAM),
}
"""By field of `Budget`: the field of `BudgetLeft`, and how many of its units make one here."""
_SHOWN_BUDGET_NAMES = {"cny_per_hour": "cnyPerHour", "kgco2e_per_hour": "kgco2ePerHour"}


def _add_to_known(left: float | None, more: float) -> float | None:
    return None if left is None else left + more
