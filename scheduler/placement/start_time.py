"""Where and when: work that can wait gets the cheapest (site, start) within its deadline.

Only work that names its deadline and its duration can wait, and only before any of it runs. A later
start is looked at where a forecast covers the whole run, or where the price changes with the hours
and the intensity does not; all else that a replica costs is taken to stay as it is now, and so is
the room: capacity is not reserved, and everything is decided again at the planned start. So a start
is planned with a margin before the latest one, and when that time has come the work takes what
there is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from scheduler.energy.forecast import IntensityProfile
from scheduler.energy.tariff import Tariff
from scheduler.model.decision import Decision, SiteAssignment
from scheduler.model.demand.demand import Demand
from scheduler.model.units import GRAMS_PER_KILOGRAM, SECONDS_PER_HOUR
from scheduler.placement.cost.energy import (
    carbon_intensity_at_start,
    carbon_intensity_of_run,
    pue,
    replica_kwh_per_hour,
)
from scheduler.placement.cost.forecasts import (
    forecast_intensity_of_run,
    group_by_forecast_and_tariff,
)
from scheduler.placement.cost.site_costs import SiteCosts, site_costs_of
from scheduler.placement.cost.terms.waiting import waiting_price
from scheduler.placement.divide.divide import DivisionRequest, ReplicasBySlot
from scheduler.placement.divide.site_groups import divide_in_groups
from scheduler.placement.fleet.context import Moment
from scheduler.placement.gates import latest_start_seconds
from scheduler.placement.result import Case

Floats = NDArray[np.float64]

_MOST_SITES = 64


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
    shares: ReplicasBySlot
    saved_cny: float
    saved_grams: float


def can_wait(demand: Demand) -> bool:
    """Whether a later start may be looked for at all."""
    schedule = demand.schedule
    is_timed = schedule.deadline is not None and bool(schedule.duration_seconds)
    return is_timed and demand.replicas > 0 and not demand.placed_replicas


def planned(case: Case, ask: DivisionRequest, now_shares: ReplicasBySlot) -> Plan | None:
    """The cheapest later start, if it saves enough; None: start now.

    Args:
        case: the case, of work that can wait.
        ask: what is divided, as for a start now.
        now_shares: the division for a start now.
    """
    slots = np.array(sorted(now_shares), np.int64)
    if not len(slots) or not case.price.are_known(slots):
        return None
    start = min(_tries(case, ask), default=None)
    if start is None:
        return None
    later = replace(case.moment, start_seconds=start[1])
    price = site_costs_of(case.demand, case.fleet, later)
    # Only what is known now was looked at for starts: a site must not gain by what another lost.
    unknown = price.unknown[ask.open_slots] + case.price.unknown[ask.open_slots]
    open_slots = ask.open_slots[unknown == 0]
    division = divide_in_groups(replace(ask, open_slots=open_slots, costs=price), case.fleet)
    return _plan(case, price, now_shares, division.replicas_by_slot, start[1])


def _plan(
    case: Case,
    price: SiteCosts,
    now_shares: ReplicasBySlot,
    shares: ReplicasBySlot | None,
    start_seconds: float,
) -> Plan | None:
    if shares is None:
        return None
    demand, moment = case.demand, case.moment
    seconds = float(demand.schedule.duration_seconds or 0)
    carbon, grams_now = _term(case.price, "carbon"), _honest_grams(case, seconds)
    cny_now = case.price.cny - (carbon.figures - grams_now) * carbon.units
    saved = _sum(cny_now, now_shares) - _sum(price.cny, shares)
    at_stake = carbon.units * _sum(grams_now, now_shares) or abs(
        _term(case.price, "energy").cny(now_shares)
    )
    if saved <= moment.terms.least_saving_ratio * max(0.0, at_stake):
        return None
    grams_then = carbon_intensity_at_start(
        case.fleet, demand, replace(moment, start_seconds=start_seconds)
    ).value
    kwh = replica_kwh_per_hour(demand, moment) * seconds / SECONDS_PER_HOUR
    grams = (_sum(grams_now, now_shares) - _sum(grams_then, shares)) * kwh
    return Plan(start_seconds, shares, saved * seconds / SECONDS_PER_HOUR, grams)


def _honest_grams(case: Case, seconds: float) -> Floats:
    """The gCO2 per kWh at the machine of a start now; [capacity].

    Where the forecast says that the run will be cleaner than the present figure, that counts: a
    moment's peak is no reason to wait.
    """
    fleet, moment = case.fleet, case.moment
    forecast = (
        forecast_intensity_of_run(fleet, moment.now_seconds, seconds, moment)
        * pue(fleet, moment).value
    )
    return np.fmin(carbon_intensity_of_run(fleet, case.demand, moment).value, forecast)


def _tries(case: Case, ask: DivisionRequest) -> Iterator[tuple[float, float]]:
    """(CNY per replica-hour, start) of the best start by each forecast and tariff."""
    demand, moment = case.demand, case.moment
    seconds = float(demand.schedule.duration_seconds or 0)
    last = (latest_start_seconds(demand) or 0.0) - moment.terms.start_margin_seconds
    carbon, energy = _term(case.price, "carbon"), _term(case.price, "energy")
    building = pue(case.fleet, moment).value
    roomy = ask.open_slots[
        (case.price.unknown[ask.open_slots] == 0) & (ask.max_additional_at(ask.open_slots) > 0)
    ]
    for profile, tariff, sites in group_by_forecast_and_tariff(case.fleet, roomy, moment):
        starts = _starts(profile, tariff, moment.now_seconds, last, seconds)
        changes = np.zeros(len(starts))
        fixed = case.price.cny[sites]
        if profile is not None:
            changes += profile.mean_gco2_per_kwh(starts, seconds) * carbon.units
            fixed = fixed - carbon.figures[sites] * carbon.units
        if tariff is not None:
            changes += tariff.mean_cny_per_kwh(starts, seconds) * energy.units
            fixed = fixed - energy.figures[sites] * energy.units
        starts, changes = starts[~np.isnan(changes)], changes[~np.isnan(changes)]
        if not len(starts):
            continue
        waits = (starts - moment.now_seconds) / seconds * waiting_price(demand, moment)
        least = fixed + building[sites] * changes.min()
        few = np.argsort(least, kind="stable")[:_MOST_SITES]
        costs = fixed[few, None] + building[sites[few], None] * changes + waits
        best = costs.min(axis=0)
        at = int(best.argmin())
        yield float(best[at]), float(starts[at])


def _starts(
    profile: IntensityProfile | None,
    tariff: Tariff | None,
    first: float,
    last: float,
    seconds: float,
) -> Floats:
    tried = [each.candidate_starts(first, last, seconds) for each in (profile, tariff) if each]
    return np.unique(np.concatenate(tried))


@dataclass(frozen=True, slots=True)
class _Term:
    """A term of the price: CNY per replica-hour = units * figures; 0 where it has no price."""

    units: float
    figures: Floats

    def cny(self, shares: ReplicasBySlot) -> float:
        return _sum(self.figures, shares) * self.units


def _term(price: SiteCosts, name: str) -> _Term:
    for cost, units, figures in price.terms:
        if cost.term == name:
            return _Term(units, figures.value)
    return _Term(0.0, np.zeros(len(price.cny)))


def _sum(figures: Floats, shares: ReplicasBySlot) -> float:
    return float(sum(figures[slot] * count for slot, count in sorted(shares.items())))


def postponed(decision: Decision, case: Case, plan: Plan, now_shares: ReplicasBySlot) -> Decision:
    """The decision to wait for the planned start.

    Args:
        decision: the one that says that it is not yet time.
        case: the case.
        plan: when and where.
        now_shares: where it would run now.
    """
    there, here = _assigned(case, plan.shares), _assigned(case, now_shares)
    latest = latest_start_seconds(case.demand) or plan.start_seconds
    kilograms = abs(plan.saved_grams) / GRAMS_PER_KILOGRAM
    carbon = f"and {kilograms:.2g} kgCO2e"
    if plan.saved_grams < 0:
        carbon = f"and emits {kilograms:.2g} kgCO2e more"
    line = (
        f"planned on {_told(there)} at {_instant(plan.start_seconds)}: saves"
        f" {plan.saved_cny:.2g} CNY {carbon} against now on {_told(here)};"
        f" latest start {_instant(latest)}"
    )
    return msgspec.structs.replace(
        decision, line=line, start_at=_at(plan.start_seconds), planned=there
    )


def _assigned(case: Case, shares: ReplicasBySlot) -> tuple[SiteAssignment, ...]:
    named = {case.fleet.name_at(slot): count for slot, count in shares.items()}
    return tuple(SiteAssignment(site=site, replicas=count) for site, count in sorted(named.items()))


_MOST_NAMED = 4


def _told(assigned: tuple[SiteAssignment, ...]) -> str:
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
