"""Round trips as a decision sees them: a site's own figures, and the worst of a metro."""

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.fleet.fleet import Fleet

METRO = "metro:"


def metro_sites(fleet: Fleet, metro: str) -> tuple[str, ...]:
    """The names of all sites of a metro, sorted."""
    member = fleet.described(
        ("metro", metro), lambda facts: facts.spec.location.metro == metro, np.bool_
    )
    return tuple(sorted(fleet.name_at(int(slot)) for slot in np.flatnonzero(member)))


def targets_of(fleet: Fleet, place: str) -> tuple[str, ...]:
    """The sites that a latency bound measures from: one, or all of a metro."""
    return metro_sites(fleet, place.removeprefix(METRO)) if place.startswith(METRO) else (place,)


def milliseconds_to(facts: SiteFacts, targets: tuple[str, ...]) -> float:
    """The longest round trip from a site to any of the targets; NaN when one is unknown.

    Only the site's own report counts: were the other end's figure a second source, losing a figure
    could make a site look nearer. A site is 0 ms from itself. No target at all is unknown.
    """
    known = {each.to: each.milliseconds for each in facts.status.rtt}
    longest = np.nan if not targets else 0.0
    for target in targets:
        if target != facts.name:
            longest = max(longest, known[target]) if target in known else np.nan
            if np.isnan(longest):
                break
    return float(longest)


def milliseconds(fleet: Fleet, place: str) -> NDArray[np.float64]:
    """The round trip of every site to a place; NaN is unknown; [fleet.capacity]."""
    targets = targets_of(fleet, place)
    found: NDArray[np.float64] = fleet.reported(
        ("rtt", targets), lambda facts: milliseconds_to(facts, targets), np.float64
    )
    return found
