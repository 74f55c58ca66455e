"""Ranges of ordinals, one for each site, as `placement.identity: Ranges` asks for. Pure.

The pods of all sites together have the ordinals 0 to n-1. A site keeps its range as long as it runs
there: more replicas go to the end of the last range, into gaps, or to new sites, and fewer
replicas end the highest ordinals, as Kubernetes does.
"""

from collections.abc import Mapping
from typing import NamedTuple

from scheduler.model.demand.demand import Demand


class OrdinalRange(NamedTuple):
    """Ordinals of one site: `first` and the `length - 1` after it."""

    first: int
    length: int

    @property
    def end(self) -> int:
        """The ordinal after the last."""
        return self.first + self.length

    def common(self, other: "OrdinalRange") -> "OrdinalRange | None":
        """The ordinals that are in both; None if there are none."""
        first, end = max(self.first, other.first), min(self.end, other.end)
        return OrdinalRange(first, end - first) if first < end else None


def growth_by_site(ranges: Mapping[str, OrdinalRange], total: int) -> dict[str, int]:
    """How many ordinals each site can get without a change to the range of another.

    Args:
        ranges: what sites keep, by site.
        total: replicas there are to be in all.
    """
    growth: dict[str, int] = {}
    sites = sorted(ranges, key=lambda site: ranges[site])
    for index, site in enumerate(sites):
        begin = ranges[sites[index - 1]].end if index else 0
        end = ranges[sites[index + 1]].first if index + 1 < len(sites) else total
        growth[site] = max(0, ranges[site].first - begin) + max(0, end - ranges[site].end)
    return growth


def lay_out(ranges: Mapping[str, OrdinalRange], counts: Mapping[str, int]) -> dict[str, int]:
    """The first ordinal of each site, so that the ranges follow on each other from 0.

    A range that a site has stays where it is as far as the counts permit. While no site gets more,
    ordinals that no site has are missing, and nothing moves into their place.

    Args:
        ranges: the ranges until now, by site; others are ignored.
        counts: replicas of each site from now on.
    """
    staying = sorted(ranges.keys() & counts.keys(), key=lambda site: (ranges[site], site))
    new = sorted(counts.keys() - ranges.keys(), key=lambda site: (-counts[site], site))
    first_by_site: dict[str, int] = {}
    position = 0
    is_filled = bool(new) or any(counts[site] > ranges[site].length for site in staying)
    for site in staying:
        if not is_filled:
            position = max(position, ranges[site].first)
        for other in list(new):
            if position + counts[other] <= ranges[site].first:
                first_by_site[other] = position
                position += counts[other]
                new.remove(other)
        first_by_site[site] = position
        position += counts[site]
    for site in sorted(new):
        first_by_site[site] = position
        position += counts[site]
    return first_by_site


def ordinals_after(demand: Demand, counts: Mapping[str, int]) -> dict[str, OrdinalRange]:
    """The range of each site after a decision.

    Args:
        demand: the demand.
        counts: the replicas that the decision gives each site.
    """
    ranges = {
        site: OrdinalRange(demand.first_ordinals.get(site, 0), replicas)
        for site, replicas in demand.placed_replicas.items()
        if site in counts
    }
    first_by_site = lay_out(ranges, counts)
    return {site: OrdinalRange(first_by_site[site], count) for site, count in counts.items()}


def format_ordinals(first: int, count: int) -> str:
    """As people read them: `4-7`, or `4`; empty for none."""
    if count <= 0:
        return ""
    return str(first) if count == 1 else f"{first}-{first + count - 1}"
