"""Round trips as a decision sees them: a site's own figures, and the worst of a metro."""

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.fleet.fleet import Fleet

METRO_PREFIX = "metro:"


def metro_sites(fleet: Fleet, metro: str) -> tuple[str, ...]:
    """The names of all sites of a metro, sorted."""
    is_in_metro = fleet.description_column(
        ("metro", metro), lambda facts: facts.spec.location.metro == metro, np.bool_
    )
    return tuple(sorted(fleet.name_at(int(slot)) for slot in np.flatnonzero(is_in_metro)))


def latency_targets(fleet: Fleet, place: str) -> tuple[str, ...]:
    """The sites that a latency bound measures from: one, or all of a metro."""
    return (
        metro_sites(fleet, place.removeprefix(METRO_PREFIX))
        if place.startswith(METRO_PREFIX)
        else (place,)
    )


def longest_rtt_milliseconds(facts: SiteFacts, targets: tuple[str, ...]) -> float:
    """The longest round trip from a site to any of the targets; NaN when one is unknown.

    Only the site's own report counts: were the other end's figure a second source, losing a figure
    could make a site look nearer. A site is 0 ms from itself. No target at all is unknown.
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
    """The round trip of every site to a place; NaN is unknown; [fleet.capacity]."""
    targets = latency_targets(fleet, place)
    rtts: NDArray[np.float64] = fleet.report_column(
        ("rtt", targets), lambda facts: longest_rtt_milliseconds(facts, targets), np.float64
    )
    return rtts
