"""What a move would save, with the cost of the move counted. Pure.

A saving counts for one day, because a workload moves at most once a day. The move itself costs the
new replicas for as long as both run (`OVERLAP_SECONDS`: the replacement runs first), and copying
the data to sites that lack it. An unknown figure saves nothing.
"""

from collections.abc import Mapping

from scheduler.model.decision import Decision, RebalanceStep
from scheduler.model.demand.demand import Demand, RebalanceQuestion
from scheduler.model.units import SECONDS_PER_HOUR
from scheduler.placement.cost.spend import spend_of
from scheduler.placement.cost.terms.moving import data_transfer_price, gibibytes_elsewhere
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

HORIZON_HOURS = 24.0
"""A saving counts for so long; a workload moves no sooner again."""
OVERLAP_SECONDS = 600.0
"""For so long the former and the new replicas run side by side, assumed."""


def saving_of(
    steady: Decision, fresh: Decision, demand: Demand, fleet: Fleet, context: DecisionContext
) -> RebalanceStep | None:
    """What moving from one placement to another saves in a day; None: nothing moves, or not known.

    Args:
        steady: the decision that leaves replicas where they run.
        fresh: the decision that starts over.
        demand: what both are about.
        fleet: the sites.
        context: the time and the terms.
    """
    before, after = _replicas(steady), _replicas(fresh)
    gained = {site: n - before.get(site, 0) for site, n in after.items() if n > before.get(site, 0)}
    moved = sum(gained.values())
    if not moved or fresh.phase != "Placed" or sum(before.values()) != sum(after.values()):
        return None
    costs = (steady.cost, fresh.cost)
    known = [(one.cny_per_hour, one.gco2_per_hour) for one in costs]
    (cny_before, gco2_before), (cny_after, gco2_after) = known
    if cny_before is None or cny_after is None or gco2_before is None or gco2_after is None:
        return None
    cost_cny, cost_gco2 = _cost_of_move(gained, before, demand, fleet, context)
    return RebalanceStep(
        replicas=moved,
        saves_cny=(cny_before - cny_after) * HORIZON_HOURS - cost_cny,
        saves_gco2=(gco2_before - gco2_after) * HORIZON_HOURS - cost_gco2,
        cost_cny=cost_cny,
        cost_gco2=cost_gco2,
    )


def is_worth_it(step: RebalanceStep, question: RebalanceQuestion) -> bool:
    """Whether a move saves as much as is asked, and is within the budget of moves.

    Without a least saving, any saving of money is enough.
    """
    if step.replicas > question.moves:
        return False
    least_cny, least_gco2 = question.min_cny_per_move, question.min_gco2_per_move
    if least_cny is None and least_gco2 is None:
        return step.saves_cny > 0.0
    saves_cny = step.saves_cny > 0.0 and least_cny is not None
    saves_gco2 = step.saves_gco2 > 0.0 and least_gco2 is not None
    return (saves_cny and step.saves_cny >= (least_cny or 0.0) * step.replicas) or (
        saves_gco2 and step.saves_gco2 >= (least_gco2 or 0.0) * step.replicas
    )


def format_saving(step: RebalanceStep) -> str:
    """What a move saves, to follow the rest of a decision's line."""
    saves = f"saves {step.saves_cny:.4g} CNY and {step.saves_gco2:.4g} gCO2e in a day"
    return f"; rebalanced ({step.replicas} moved): {saves}"


def _replicas(decision: Decision) -> dict[str, int]:
    return {one.site: one.replicas for one in decision.assignment if one.replicas > 0}


def _cost_of_move(
    gained: Mapping[str, int],
    before: Mapping[str, int],
    demand: Demand,
    fleet: Fleet,
    context: DecisionContext,
) -> tuple[float, float]:
    """CNY and gCO2e of running twice for a while and of copying the data."""
    spend = spend_of(demand, fleet, context, gained)
    hours = OVERLAP_SECONDS / SECONDS_PER_HOUR
    new_sites = [site for site in gained if site not in before]
    copied = sum(gibibytes_elsewhere(fleet.facts_of(site), demand.data) for site in new_sites)
    cny = spend.cny_per_hour * hours + copied * data_transfer_price(demand, context)
    return cny, spend.gco2_per_hour * hours
