"""What the rules about nodes, selectors and groups answer, site by site and node by node.

The slow way that the engine took before it asked all at once; it is kept to compare answers.
"""

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.fleet.labels import is_in_group, site_labels
from scheduler.placement.fleet.node_eligibility import (
    blocking_taints,
    is_eligible,
    is_platform_permitted,
    matches_selectors,
)
from scheduler.placement.fleet.nodes.profiles import NodeProfile, profile_of


def may_run_on(demand: Demand, profile: NodeProfile) -> bool:
    """Whether the first pod of a demand may run on nodes of a profile."""
    return is_platform_permitted(profile, demand.architectures, demand.cpu_vendors) and is_eligible(
        demand.unit[0].shape, profile
    )


def passes_node_selector(facts: SiteFacts, demand: Demand) -> bool:
    """Whether each pod matches some node, or the site has none."""
    profiles = [profile_of(each) for each in facts.status.node_classes]
    return not profiles or all(
        any(matches_selectors(pods.shape, each) for each in profiles) for pods in demand.unit
    )


def passes_node_taint(facts: SiteFacts, demand: Demand) -> bool:
    """Whether each pod tolerates the taints of some node that it matches, if it matches any."""
    profiles = [profile_of(each) for each in facts.status.node_classes]
    for pods in demand.unit:
        chosen = [each for each in profiles if matches_selectors(pods.shape, each)]
        if chosen and all(blocking_taints(pods.shape, each) for each in chosen):
            return False
    return True


def passes_selector(facts: SiteFacts, demand: Demand) -> bool:
    """Whether the site's labels match every selector."""
    labels = site_labels(facts)
    return all(each.matches(labels) for each in (*demand.site_selectors, demand.tenant_sites))


def passes_site_group(facts: SiteFacts, demand: Demand) -> bool:
    """Whether the site is in a group, where groups are named."""
    groups = demand.site_groups
    return not groups or any(is_in_group(each, facts) for each in groups)
