"""What is wrong with the groups of a rollout, whatever the sites are like. Pure.

That two selectors meet at a site is seen by the sites' labels alone (`find_overlap`).
"""

from collections.abc import Callable, Sequence

from scheduler.model.canonical import canonical_json
from scheduler.model.kinds.rollout import RolloutGroup

_TOLERANCE = 1e-9  # ten tenths are 1, however they are added up


def problem_of_groups(groups: Sequence[RolloutGroup]) -> str:
    """What is wrong with the groups, and what to write; "" if nothing is."""
    checks: tuple[Callable[[Sequence[RolloutGroup]], str], ...] = (_empty, _named, _selected, _all)
    return next((found for check in checks if (found := check(groups))), "")


def _empty(groups: Sequence[RolloutGroup]) -> str:
    for index, group in enumerate(groups):
        if group.site_selector is None and group.share is None:
            return f"groups[{index}] takes no site: write siteSelector, share, or both"
    return ""


def _named(groups: Sequence[RolloutGroup]) -> str:
    names: set[str] = set()
    for group in groups:
        if group.name in names:
            return f"two groups are named {group.name}"
        names |= {group.name} - {""}
    return ""


def _selected(groups: Sequence[RolloutGroup]) -> str:
    names: dict[bytes, str] = {}
    for number, group in enumerate(groups, start=1):
        if group.site_selector is None:
            continue
        form, name = canonical_json(group.site_selector), group.name or f"group {number}"
        if form in names:
            return f"{names[form]} and {name} select the same sites"
        names[form] = name
    return ""


def _all(groups: Sequence[RolloutGroup]) -> str:
    total = sum(one.share or 0.0 for one in groups if one.site_selector is None)
    if total > 1.0 + _TOLERANCE:
        return f"the shares of its groups add up to {total:.3g}, more than 1"
    return ""
