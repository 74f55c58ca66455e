"""Workloads that belong together, or apart: at one site, in one metro, province, and so on."""

import numpy as np

from scheduler.model.demand.demand import Companion, Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, Event, Fields
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.labels import place_of


class WithCompanions:
    """A required affinity wants a place where the others stand; anti-affinity one where none does.

    A place that nobody knows is neither.
    """

    reason: Reason = "spread"
    wakes: frozenset[Event] = frozenset({"placed", "gone", "workload", "site"})

    question = Fields("companions")

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Compares the place of every site with the places of the others."""
        del moment
        passes = fleet.is_there
        for each in demand.companions:
            if each.required:
                passes = passes & fits(fleet, each)
        return passes

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Names the others' sites."""
        del moment
        if not demand.companions:
            return "the workload has no affinity to others"
        told = [
            f"{'apart from' if each.apart else 'with'} what runs at "
            f"{', '.join(each.sites) or 'no site yet'} (by {each.by})"
            for each in demand.companions
        ]
        return f"{facts.name}: asked is {' and '.join(told)}"


def fits(fleet: Fleet, companion: Companion) -> BoolPerSite:
    """Which sites are with, or apart from, the others; [fleet.capacity]."""
    places = fleet.described(
        ("place", companion.by),
        lambda facts: fleet.place_number(place_of(facts, companion.by)),
        np.int64,
    )
    theirs = [places[fleet.slot_of[site]] for site in companion.sites if site in fleet.slot_of]
    together: BoolPerSite = np.isin(places, np.array(theirs, np.int64))
    known = places > 0
    return known & ~together if companion.apart else known & together


RULE = WithCompanions()
