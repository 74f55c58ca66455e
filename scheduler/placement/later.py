"""Where and when: work that can wait gets the cheapest (site, start) within its deadline.

Only work that names its deadline and its duration can wait, and only before any of it runs. A later
start is looked at where a forecast covers the whole run; all else that a replica costs is taken to
stay as it is now, and so is the room: capacity is not reserved, and everything is decided again at
the planned start. So a start is planned with a margin before the latest one, and when that time has
come the work takes what there is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.decision import Assigned, Decision
from scheduler.model.demand import Demand
from scheduler.placement.conclude import Case
from scheduler.placement.costs.waiting import waiting_price
from scheduler.placement.divide import Ask, Shares
from scheduler.placement.forecasts import believed, intensity_at
from scheduler.placement.groups import divide_in_groups
from scheduler.placement.hindrance import latest_start_seconds
from scheduler.placement.moment import Moment
from scheduler.placement.power_draw import pue, replica_kwh_per_hour
from scheduler.placement.price import Price, price_of

Floats = NDArray[np.float64]

_MOST_SITES = 64
_SECONDS_PER_HOUR = 3600
_GRAMS_PER_KILOGRAM = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """A start that is cheaper than now.

    Attributes:
        start_seconds: when, in seconds since 1970.
        shares: replicas by slot.
        saved_cny: over the whole run, waiting paid.
        saved_grams: of CO2, over the whole run; below 0 when it emits more.
    """

    start_seconds: float
    shares: Shares
    saved_cny: float
    saved_grams: float


def can_wait(demand: Demand) -> bool:
    """Whether a later start may be looked for at all."""
    schedule = demand.schedule
    is_timed = schedule.deadline is not None and bool(schedule.duration_seconds)
    return is_timed and demand.replicas > 0 and not demand.placed_replicas


def planned(case: Case, ask: Ask, now_shares: Shares) -> Plan | None:
    """The cheapest later start, if it saves enough; None: start now.

    Args:
        case: the case, of work that can wait.
        ask: what is divided, as for a start now.
        now_shares: the division for a start now.
    """
    slots = np.array(sorted(now_shares), np.int64)
    if not len(slots) or not case.price.is_known(slots) or not _carbon(case.price):
        return None
    start = min(_tries(case, ask), default=None)
    if start is None:
        return None
    later = replace(case.moment, start_seconds=start[1])
    price = price_of(case.demand, case.fleet, later)
    open_slots = ask.open[price.unknown[ask.open] == 0]
    division = divide_in_groups(replace(ask, open=open_slots, price=price), case.fleet)
    return _plan(case, price, now_shares, division.shares, start[1])


def _plan(
    case: Case, price: Price, now_shares: Shares, shares: Shares | None, start_seconds: float
) -> Plan | None:
    if shares is None:
        return None
    hours = (case.demand.schedule.duration_seconds or 0) / _SECONDS_PER_HOUR
    now_cny, now_grams = _now(case, now_shares)
    saved = now_cny - _sum(price.cny, shares)
    units = _carbon(case.price)
    if saved <= case.moment.terms.least_saving_ratio * max(0.0, now_grams * units):
        return None
    kwh = replica_kwh_per_hour(case.demand, case.moment)
    grams = (now_grams - _sum(_emitted(price), shares)) * kwh
    return Plan(start_seconds, shares, saved * hours, grams * hours)


def _now(case: Case, shares: Shares) -> tuple[float, float]:
    """What a start now costs in CNY per hour, and its gCO2 per kWh of one replica, summed.

    Where the forecast says that the run will be cleaner than the present figure, that counts: a
    moment's peak is no reason to wait.
    """
    emitted = _emitted(case.price)
    seconds = float(case.demand.schedule.duration_seconds or 0)
    forecast = intensity_at(case.fleet, case.moment.now_seconds, seconds, case.moment)
    honest = np.fmin(emitted, forecast * pue(case.fleet, case.moment).value)
    cny = case.price.cny - (emitted - honest) * _carbon(case.price)
    return _sum(cny, shares), _sum(honest, shares)


def _tries(case: Case, ask: Ask) -> Iterator[tuple[float, float]]:
    """(CNY per replica-hour, start) of the best start by each forecast."""
    demand, moment = case.demand, case.moment
    seconds = float(demand.schedule.duration_seconds or 0)
    latest = latest_start_seconds(demand)
    last = (latest or 0.0) - moment.terms.start_margin_seconds
    units = _carbon(case.price)
    fixed = case.price.cny - _emitted(case.price) * units
    building = pue(case.fleet, moment).value * units
    roomy = ask.open[(case.price.unknown[ask.open] == 0) & (ask.more_at(ask.open) > 0)]
    for profile, sites in believed(case.fleet, roomy, moment):
        starts = profile.starts_worth_trying(moment.now_seconds, last, seconds)
        means = profile.mean(starts, seconds)
        starts, means = starts[~np.isnan(means)], means[~np.isnan(means)]
        if not len(starts):
            continue
        waits = (starts - moment.now_seconds) / seconds * waiting_price(demand, moment)
        least = fixed[sites] + building[sites] * means.min()
        few = sites[np.argsort(least, kind="stable")[:_MOST_SITES]]
        costs = fixed[few, None] + building[few, None] * means + waits
        best = costs.min(axis=0)
        at = int(best.argmin())
        yield float(best[at]), float(starts[at])


def _carbon(price: Price) -> float:
    """CNY per gCO2/kWh of one replica; 0 when carbon has no price."""
    return next((units for cost, units, _ in price.terms if cost.term == "carbon"), 0.0)


def _emitted(price: Price) -> Floats:
    """The gCO2 per kWh at the machine that the carbon term stands on; [capacity]."""
    return next(figures.cny for cost, _, figures in price.terms if cost.term == "carbon")


def _sum(figures: Floats, shares: Shares) -> float:
    return float(sum(figures[slot] * count for slot, count in sorted(shares.items())))


def postponed(decision: Decision, case: Case, plan: Plan, now_shares: Shares) -> Decision:
    """The decision to wait for the planned start.

    Args:
        decision: the one that says that it is not yet time.
        case: the case.
        plan: when and where.
        now_shares: where it would run now.
    """
    there, here = _assigned(case, plan.shares), _assigned(case, now_shares)
    latest = latest_start_seconds(case.demand) or plan.start_seconds
    more = "saves" if plan.saved_grams >= 0 else "emits"
    line = (
        f"planned on {_told(there)} at {_instant(plan.start_seconds)}:"
        f" {more} {abs(plan.saved_grams) / _GRAMS_PER_KILOGRAM:.2g} kgCO2e"
        f"{'' if plan.saved_grams >= 0 else ' more'} and saves {plan.saved_cny:.2g} CNY against"
        f" now on {_told(here)}; latest start {_instant(latest)}"
    )
    return msgspec.structs.replace(
        decision, line=line, start_at=_at(plan.start_seconds), planned=there
    )


def _assigned(case: Case, shares: Shares) -> tuple[Assigned, ...]:
    named = {case.fleet.name_at(slot): count for slot, count in shares.items()}
    return tuple(Assigned(site=site, replicas=count) for site, count in sorted(named.items()))


_MOST_NAMED = 4


def _told(assigned: tuple[Assigned, ...]) -> str:
    told = ", ".join(f"{each.site} ({each.replicas})" for each in assigned[:_MOST_NAMED])
    more = len(assigned) - _MOST_NAMED
    return f"{told} and {more} more sites" if more > 0 else told


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _instant(seconds: float) -> str:
    return _at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def at_start(moment: Moment, decision: Decision) -> Moment:
    """The moment whose costs explain a decision: that of a planned start, if there is one."""
    if decision.start_at is None:
        return moment
    return replace(moment, start_seconds=decision.start_at.timestamp())
