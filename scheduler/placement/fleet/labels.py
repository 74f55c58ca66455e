"""The labels of a site: those on the object, and those that follow from its spec.

`sites_matching` and `sites_in_group` ask all sites of the fleet at once, by its index of labels.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import LabelSelector
from scheduler.model.kinds.policy import SiteGroup
from scheduler.model.kinds.site import labels_of_site
from scheduler.placement.fleet.nodes.label_index import LabelCondition

if TYPE_CHECKING:
    from scheduler.placement.fleet.fleet import Fleet

Bools = NDArray[np.bool_]


def site_labels(facts: SiteFacts) -> dict[str, str]:
    """The labels that selectors match.

    `kapok.dev/site`, `tier`, `provider`, `province`, `city` and `metro` follow from the spec and
    override labels of the same name, so that a label cannot contradict the spec.
    """
    return labels_of_site(facts.name, facts.labels, facts.spec)


def is_in_group(group: SiteGroup, facts: SiteFacts) -> bool:
    """Whether a site is in a group, by name or by labels. An empty group has no sites."""
    if facts.name in group.sites:
        return True
    selector = group.site_selector
    return selector is not None and selector.matches(site_labels(facts))


def sites_matching(fleet: "Fleet", selector: LabelSelector) -> Bools:
    """Which sites a selector matches; [slot_capacity]. The caller may write to the array."""
    found: Bools = fleet.has_site.copy()
    index, count = fleet.site_labels, fleet.slot_capacity
    for key, value in selector.match_labels.items():
        found &= index.having(key, value, count)
    for each in selector.match_expressions:
        found &= index.answers(LabelCondition(each.key, each.operator, each.values), count)
    return found


def sites_in_group(fleet: "Fleet", group: SiteGroup) -> Bools:
    """Which sites are in a group, by name or by labels; [slot_capacity]."""
    selector = group.site_selector
    if selector is None:
        found: Bools = np.zeros(fleet.slot_capacity, np.bool_)
    else:
        found = sites_matching(fleet, selector)
    if group.sites:
        found[[fleet.slot_of[name] for name in group.sites if name in fleet.slot_of]] = True
    return found


def domain_of(facts: SiteFacts, by: str) -> str:
    """The domain of a site at one level of a spread; empty when it is unknown.

    Args:
        facts: the site.
        by: the level: provider, province, city, metro, site or label:KEY.
    """
    if by == "site":
        return facts.name
    key = by.removeprefix("label:") if by.startswith("label:") else f"kapok.dev/{by}"
    return site_labels(facts).get(key, "")
