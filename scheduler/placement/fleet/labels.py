"""The labels of a site: those on the object, and those that follow from its spec."""

from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.policy import SiteGroup


def site_labels(facts: SiteFacts) -> dict[str, str]:
    """The labels that selectors match.

    `kapok.dev/site`, `tier`, `provider`, `province`, `city` and `metro` follow from the spec and
    override labels of the same name, so that a label cannot contradict the spec.
    """
    spec = facts.spec
    implied = {
        "kapok.dev/site": facts.name,
        "kapok.dev/tier": spec.tier,
        "kapok.dev/provider": spec.provider,
        "kapok.dev/province": spec.location.province,
        "kapok.dev/city": spec.location.city,
        "kapok.dev/metro": spec.location.metro,
    }
    return {**facts.labels, **{key: value for key, value in implied.items() if value}}


def is_in_group(group: SiteGroup, facts: SiteFacts) -> bool:
    """Whether a site is in a group, by name or by labels. An empty group has no sites."""
    if facts.name in group.sites:
        return True
    selector = group.site_selector
    return selector is not None and selector.matches(site_labels(facts))


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
