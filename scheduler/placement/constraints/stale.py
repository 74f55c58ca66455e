"""What a site had free long ago says nothing: old or undated reports take no new work.

A report from the future is undated: some clock is wrong, so nobody knows how old it is.
"""

from collections.abc import Hashable

from scheduler.model.demand import Demand
from scheduler.model.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.fleet import Fleet
from scheduler.placement.moment import AHEAD_SECONDS, Moment
from scheduler.placement.rules import EVERY_TIME, BoolPerSite, Event


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
        oldest = moment.now_seconds - moment.terms.report_stale_seconds
        observed_at = fleet.figure("observed_at")
        fresh: BoolPerSite = observed_at >= oldest
        fresh &= observed_at <= moment.now_seconds + AHEAD_SECONDS
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


RULE = Stale()
