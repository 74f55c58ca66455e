"""What a site had free long ago says nothing: old or undated reports take no new work.

A report from the future is undated: some clock is wrong, so nobody knows how old it is.
"""

from collections.abc import Hashable

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import EVERY_TIME, BoolPerSite, Event
from scheduler.placement.fleet.context import AHEAD_SECONDS, Moment
from scheduler.placement.fleet.fleet import Fleet


class Stale:
    """The last observation must be younger than the limit; no observation is older than any."""

    reason: Reason = "stale"
    wakes: frozenset[Event] = frozenset({"capacity", "report"})

    def question(self, demand: Demand) -> Hashable:
        """Every moment is another."""
        del demand
        return EVERY_TIME

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Compares ages; NaN is never young enough."""
        del demand
        fresh: BoolPerSite = fleet.remember("fresh", moment, _fresh, version=fleet.report_version)
        return fresh

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Names the age and the limit."""
        del demand
        limit = moment.terms.report_stale_seconds
        if facts.observed_at is None:
            return f"nobody knows when {facts.name} was observed; at most {limit} s is fresh"
        age = moment.now_seconds - facts.observed_at.timestamp()
        if age < -AHEAD_SECONDS:
            return (
                f"{facts.name} was observed {-age:.0f} s in the future, so a clock is wrong and "
                f"its age is unknown; at most {AHEAD_SECONDS} s ahead is borne"
            )
        return f"{facts.name} was observed {age:.0f} s ago; at most {limit} s is fresh"


def _fresh(fleet: Fleet, moment: Moment) -> tuple[BoolPerSite, float]:
    """Which sites were observed lately, and until when no more and no fewer were."""
    limit, newest = moment.terms.report_stale_seconds, moment.now_seconds + AHEAD_SECONDS
    observed_at = fleet.figure("observed_at")
    fresh = (observed_at >= moment.now_seconds - limit) & (observed_at <= newest)
    ends = np.min(observed_at[fresh], initial=np.inf) + limit
    begins = np.min(observed_at[observed_at > newest], initial=np.inf) - AHEAD_SECONDS
    return fresh, float(min(ends, begins)) - _MARGIN_SECONDS


_MARGIN_SECONDS = 0.001
"""So close to the instant when an answer changes, it is computed and not remembered."""


RULE = Stale()
