"""What a site had free long ago says nothing: old or undated reports take no new work.

A report from the future is undated: some clock is wrong, so nobody knows how old it is.
"""

from collections.abc import Hashable

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.fix import Fix, RefusedSite, report_now
from scheduler.placement.filter.rules import NEVER_CACHED, BoolPerSite, WakeEvent
from scheduler.placement.fleet.context import MAX_CLOCK_SKEW_SECONDS, DecisionContext
from scheduler.placement.fleet.fleet import Fleet


class Stale:
    """The last observation must be younger than the limit; no observation is older than any."""

    reason: Reason = "stale"
    wake_events: frozenset[WakeEvent] = frozenset({"capacity", "report"})

    def cache_key(self, demand: Demand) -> Hashable:
        """Every moment is another."""
        del demand
        return NEVER_CACHED

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Compares ages; NaN is never young enough."""
        del demand
        fresh: BoolPerSite = fleet.cached_figure(
            "fresh", context, _fresh_sites, version=fleet.report_version
        )
        return fresh

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Names the age and the limit."""
        del demand
        limit = context.terms.report_stale_seconds
        if facts.observed_at is None:
            return f"nobody knows when {facts.name} was observed; at most {limit} s is fresh"
        age = context.now_seconds - facts.observed_at.timestamp()
        if age < -MAX_CLOCK_SKEW_SECONDS:
            return (
                f"{facts.name} was observed {-age:.0f} s in the future, so a clock is wrong and "
                f"its age is unknown; at most {MAX_CLOCK_SKEW_SECONDS} s ahead is borne"
            )
        return f"{facts.name} was observed {age:.0f} s ago; at most {limit} s is fresh"

    def fix(self, refused: RefusedSite) -> Fix | None:
        """A report from now."""
        return report_now(refused)


def _fresh_sites(fleet: Fleet, context: DecisionContext) -> tuple[BoolPerSite, float]:
    """Which sites were observed lately, and until when no more and no fewer were."""
    limit, newest = context.terms.report_stale_seconds, context.now_seconds + MAX_CLOCK_SKEW_SECONDS
    observed_at = fleet.figure("observed_at")
    fresh = (observed_at >= context.now_seconds - limit) & (observed_at <= newest)
    next_stale_at = np.min(observed_at[fresh], initial=np.inf) + limit
    next_dated_at = (
        np.min(observed_at[observed_at > newest], initial=np.inf) - MAX_CLOCK_SKEW_SECONDS
    )
    return fresh, float(min(next_stale_at, next_dated_at)) - _MARGIN_SECONDS


_MARGIN_SECONDS = 0.001
"""So close to the instant when an answer changes, it is computed and not remembered."""


RULE = Stale()
