"""Round-trip times from sites to a place (a site or a metro), as the sites report them."""

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.fleet.fleet import Fleet

METRO_PREFIX = "metro:"
"""Marks a metro in `spec.latency[].from`; without it the place is a site."""


def metro_sites(fleet: Fleet, metro: str) -> tuple[str, ...]:
    """The names of all sites of a metro, sorted."""
    is_in_metro = fleet.description_column(
        ("metro", metro), lambda facts: facts.spec.location.metro == metro, np.bool_
    )
    return tuple(sorted(fleet.name_at(int(slot)) for slot in np.flatnonzero(is_in_metro)))


def latency_targets(fleet: Fleet, place: str) -> tuple[str, ...]:
    """The sites that a latency bound measures to: one, or all of a metro."""
    return (
        metro_sites(fleet, place.removeprefix(METRO_PREFIX))
        if place.startswith(METRO_PREFIX)
        else (place,)
    )


def longest_rtt_milliseconds(facts: SiteFacts, targets: tuple[str, ...]) -> float:
    """The longest round trip from a site to any of the targets; NaN when one is unknown.

    Only the site's own report counts: with the peer's figure as a second source, losing a figure
    could make a site look nearer. A site is 0 ms from itself. Without any target the answer is
    unknown.
    """
    rtt_by_peer = {each.to: each.milliseconds for each in facts.status.rtt}
    longest = np.nan if not targets else 0.0
    for target in targets:
        if target != facts.name:
            longest = max(longest, rtt_by_peer[target]) if target in rtt_by_peer else np.nan
            if np.isnan(longest):
                break
    return float(longest)


def rtt_milliseconds(fleet: Fleet, place: str) -> NDArray[np.float64]:
    """The round trip from every site to a place; NaN is unknown; [slot_capacity]."""
    targets = latency_targets(fleet, place)
    rtts: NDArray[np.float64] = fleet.report_column(
        ("rtt", targets), lambda facts: longest_rtt_milliseconds(facts, targets), np.float64
    )
    return rtts
