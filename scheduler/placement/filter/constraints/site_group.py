"""Where a workload names site groups, a site must belong to one of them."""

from collections.abc import Hashable

import numpy as np
from msgspec.structs import replace

from scheduler.model.canonical import canonical_json
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_workload
from scheduler.placement.filter.rules import BoolPerSite, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.labels import is_in_group, sites_in_group

_NONE = Message("site-group.none", "the workload names no site groups")
_IN = Message("site-group.in", "{site} is in group {group}")
_OUTSIDE = Message("site-group.outside", "{site} is in none of the groups {groups:list}")


class InSiteGroup:
    """A site must be in one of the groups; the division decides in which order they are used."""

    reason: Reason = "site-group"
    wake_events: frozenset[WakeEvent] = frozenset({"site", "workload"})
    is_seldom_shared = True

    def cache_key(self, demand: Demand) -> Hashable:
        """The groups, as bytes."""
        return canonical_json(demand.site_groups) if demand.site_groups else b""

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites are in a group, by name or by labels."""
        del context
        if not demand.site_groups:
            return fleet.has_site
        found = np.zeros(fleet.slot_capacity, np.bool_)
        for each in demand.site_groups:
            found |= sites_in_group(fleet, each)
        return found

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the group."""
        del context
        if not demand.site_groups:
            return _NONE()
        mine = next((each.name for each in demand.site_groups if is_in_group(each, facts)), None)
        if mine is not None:
            return _IN(site=facts.name, group=mine)
        groups = tuple(each.name for each in demand.site_groups)
        return _OUTSIDE(site=facts.name, groups=groups)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests to add the site to the last group."""
        *others, last = refused.demand.site_groups
        wider = replace(last, sites=(*last.sites, refused.facts.name))
        return change_workload(
            "siteGroups",
            "",
            f"{refused.facts.name} in {last.name}",
            replace(refused.demand, site_groups=(*others, wider)),
        )


RULE = InSiteGroup()
