"""Where a workload names site groups, a site must belong to one of them."""

from collections.abc import Hashable

import numpy as np

from scheduler.model.canonical import canonical_json
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, Event
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.labels import in_group


class InSiteGroup:
    """A site must be in one of the groups; in which order they are used is the division's."""

    reason: Reason = "site-group"
    wakes: frozenset[Event] = frozenset({"site", "workload"})

    def question(self, demand: Demand) -> Hashable:
        """The groups, as bytes."""
        return canonical_json(demand.site_groups) if demand.site_groups else b""

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Looks at names and labels."""
        del moment
        if not demand.site_groups:
            return fleet.is_there
        return fleet.described(
            (self.reason, canonical_json(demand.site_groups)),
            lambda facts: any(in_group(each, facts) for each in demand.site_groups),
            np.bool_,
        )

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Names the group."""
        del moment
        if not demand.site_groups:
            return "the workload names no site groups"
        mine = next((each.name for each in demand.site_groups if in_group(each, facts)), None)
        if mine is not None:
            return f"{facts.name} is in group {mine}"
        groups = ", ".join(each.name for each in demand.site_groups)
        return f"{facts.name} is in none of the groups {groups}"


RULE = InSiteGroup()
