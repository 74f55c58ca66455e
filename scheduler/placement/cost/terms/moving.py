"""Data transfer: what a site must copy before it can work on the data that the workload names.

The copy is paid once; the term spreads it over the hours that the work runs. Running replicas stay
where they are in Steady mode, so moving one needs no price of its own.
"""

from functools import partial

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import Origin
from scheduler.model.kinds.policy import DataAt
from scheduler.model.units import SECONDS_PER_HOUR
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.distance import METRO_PREFIX
from scheduler.placement.fleet.fleet import Bools, Fleet
from scheduler.placement.fleet.site_vector import SiteVector, known_everywhere


def data_transfer_price(demand: Demand, context: DecisionContext) -> float:
    """CNY per GiB: the workload's own price, else that of the terms."""
    own = demand.prices.moving_cny_per_gibibyte
    return context.terms.moving_cny_per_gibibyte if own is None else own


class DataTransfer:
    """Gibibytes that are elsewhere * the price of copying one, per replica and hour of work."""

    term = "moving"

    def units(self, demand: Demand, context: DecisionContext) -> float:
        """CNY per GiB and replica-hour; the copy of a site serves all its replicas."""
        if not demand.data or demand.replicas <= 0:
            return 0.0
        seconds = demand.schedule.duration_seconds or context.terms.moving_spread_seconds
        return data_transfer_price(demand, context) / (seconds / SECONDS_PER_HOUR) / demand.replicas

    def per_unit(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> SiteVector:
        """GiB to copy to each site; data whose place is not in the fleet is copied, and unknown."""
        cache_key = ("moving", demand.data)
        found: SiteVector = fleet.cached_figure(
            cache_key, context, partial(_gibibytes_to_transfer, demand.data)
        )
        return found

    def origin(
        self, facts: SiteFacts, demand: Demand, context: DecisionContext
    ) -> tuple[Origin, float | None]:
        """Always `assumed`: the workload states how much data there is, and where."""
        del facts, demand, context
        return "assumed", None


_FLOAT = np.float64


def _gibibytes_to_transfer(
    data: tuple[DataAt, ...], fleet: Fleet, context: DecisionContext
) -> tuple[SiteVector, float]:
    del context
    elsewhere = fleet.description_column(
        ("data", data), lambda facts: gibibytes_elsewhere(facts, data), _FLOAT
    )
    unknown_places = sum(not _is_in_fleet(fleet, each.at) for each in data)
    if not unknown_places:
        return known_everywhere(elsewhere.copy()), np.inf
    missing = np.full(fleet.slot_capacity, unknown_places, np.int64)
    return SiteVector(elsewhere.copy(), missing == 0, missing), np.inf


def gibibytes_elsewhere(facts: SiteFacts, data: tuple[DataAt, ...]) -> float:
    """How much of the data is not at a site, nor in its metro if only the metro is named."""
    return sum(each.gibibytes for each in data if not _is_at(facts, each.at))


def _is_at(facts: SiteFacts, place: str) -> bool:
    if place.startswith(METRO_PREFIX):
        return facts.spec.location.metro == place.removeprefix(METRO_PREFIX)
    return facts.name == place


def _is_in_fleet(fleet: Fleet, place: str) -> bool:
    if not place.startswith(METRO_PREFIX):
        return place in fleet.slot_of
    member: Bools = fleet.description_column(
        ("at", place), lambda facts: _is_at(facts, place), np.bool_
    )
    return bool(member.any())


COST = DataTransfer()
