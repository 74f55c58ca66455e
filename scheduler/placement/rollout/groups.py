"""The groups of a rollout: which site belongs to which. Pure.

- A group with a selector takes the sites that it selects; two may not select the same site.
- A group with a share and no selector takes that share of the sites that no selector takes.
- Sites that no group takes are the last group.

Nothing of it is kept: it follows from the sites of the workload, their labels, and which of them
have the new content already. Those come first, so that a share never takes it back from a site.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from scheduler.model.kinds.fields import LabelSelector
from scheduler.model.kinds.rollout import REST, RolloutGroup

_TOLERANCE = 1e-9  # three shares of a third are all of the sites, not one less


@dataclass(frozen=True, slots=True)
class Layout:
    """The groups of a rollout.

    Attributes:
        names: the name of each group, in order.
        group_of: the index of its group, by site.
    """

    names: tuple[str, ...]
    group_of: Mapping[str, int]

    def sites_of(self, group: int) -> list[str]:
        """The sites of one group, by name."""
        return sorted(site for site, index in self.group_of.items() if index == group)


def name_of(groups: Sequence[RolloutGroup], index: int) -> str:
    """The name of a group: its own, or its number."""
    if index >= len(groups):
        return REST
    return groups[index].name or f"group {index + 1}"


def lay_out(
    groups: Sequence[RolloutGroup],
    labels_by_site: Mapping[str, Mapping[str, str]],
    updated: Collection[str],
) -> Layout:
    """The group of each site.

    Args:
        groups: those of the spec.
        labels_by_site: the sites of the workload, with their labels.
        updated: those that have the new content already.
    """
    taken: dict[str, int] = {}
    for index, selector in _selectors(groups):
        found = [
            site
            for site, labels in labels_by_site.items()
            if site not in taken and selector.matches(labels)
        ]
        share = groups[index].share
        count = len(found) if share is None else _count(share, len(found))
        # What a share leaves of its own sites belongs to no other share, so it goes to the rest.
        order = _in_order(found, updated)
        taken |= dict.fromkeys(order[:count], index) | dict.fromkeys(order[count:], len(groups))
    pool = _in_order([site for site in labels_by_site if site not in taken], updated)
    taken |= _by_shares(groups, pool)
    count = len(groups) + (len(groups) in taken.values())
    return Layout(tuple(name_of(groups, one) for one in range(count)), taken)


def find_overlap(
    groups: Sequence[RolloutGroup], labels_by_site: Mapping[str, Mapping[str, str]]
) -> str:
    """Which two groups select the same site, as a sentence; "" if none do."""
    selectors = list(_selectors(groups))
    for site, labels in sorted(labels_by_site.items()):
        found = [index for index, selector in selectors if selector.matches(labels)]
        if len(found) > 1:
            one, other = (name_of(groups, index) for index in found[:2])
            return f"{one} and {other} both select site {site}"
    return ""


def _selectors(groups: Sequence[RolloutGroup]) -> Iterator[tuple[int, LabelSelector]]:
    for index, group in enumerate(groups):
        if group.site_selector is not None:
            yield index, group.site_selector


def _by_shares(groups: Sequence[RolloutGroup], pool: Sequence[str]) -> dict[str, int]:
    """The groups of the sites that no selector takes, by the shares added up from the first on."""
    found: dict[str, int] = {}
    total, first = 0.0, 0
    for index, group in enumerate(groups):
        if group.site_selector is not None:
            continue
        total += 1.0 if group.share is None else group.share
        end = min(len(pool), _count(total, len(pool)))
        found |= dict.fromkeys(pool[first:end], index)
        first = max(first, end)
    return found | dict.fromkeys(pool[first:], len(groups))


def _count(share: float, sites: int) -> int:
    return ceil(share * sites - _TOLERANCE)


def _in_order(sites: Sequence[str], updated: Collection[str]) -> list[str]:
    return sorted(sites, key=lambda site: (site not in updated, site))
