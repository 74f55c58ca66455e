"""A site whose last report is too old, or of unknown age, takes no new work.

A report from the future has an unknown age: a clock is wrong.
"""

from collections.abc import Hashable

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, report_now
from scheduler.placement.filter.rules import NEVER_CACHED, BoolPerSite, WakeEvent
from scheduler.placement.fleet.context import MAX_CLOCK_SKEW_SECONDS, DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_UNKNOWN = Message(
    "stale.unknown",
    "the time of the last report of {site} is unknown; reports must be at most {limit:n} s old",
)
_FUTURE = Message(
    "stale.future",
    "the last report of {site} is {ahead:.0f} s in the future, so a clock is wrong and its age "
    "is unknown; at most {limit:n} s are tolerated",
)
_AGE = Message(
    "stale.age", "the last report of {site} is {age:.0f} s old; the limit is {limit:n} s"
)


class Stale:
    """The last observation must not be older than `report_stale_seconds`; there must be one."""

    reason: Reason = "stale"
    wake_events: frozenset[WakeEvent] = frozenset({"capacity", "report"})

    def cache_key(self, demand: Demand) -> Hashable:
        """Not cached here: the answer depends on the time."""
        del demand
        return NEVER_CACHED

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites were observed recently; an unknown time (NaN) is never recent."""
        del demand
        fresh: BoolPerSite = fleet.cached_figure(
            "fresh", context, _fresh_sites, version=fleet.report_version
        )
        return fresh

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the age and the limit."""
        del demand
        limit = context.terms.report_stale_seconds
        if facts.observed_at is None:
            return _UNKNOWN(site=facts.name, limit=limit)
        age = context.now_seconds - facts.observed_at.timestamp()
        if age < -MAX_CLOCK_SKEW_SECONDS:
            return _FUTURE(site=facts.name, ahead=-age, limit=MAX_CLOCK_SKEW_SECONDS)
        return _AGE(site=facts.name, age=age, limit=limit)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a report from now."""
        return report_now(refused)


def _fresh_sites(fleet: Fleet, context: DecisionContext) -> tuple[BoolPerSite, float]:
    """Which sites were observed recently, and until when that answer holds (seconds since 1970).

    It changes when the oldest fresh report becomes stale, or when a report that is dated too far in
    the future comes within the clock skew.
    """
    limit, newest = context.terms.report_stale_seconds, context.now_seconds + MAX_CLOCK_SKEW_SECONDS
    observed_at = fleet.figure("observed_at")
    fresh = (observed_at >= context.now_seconds - limit) & (observed_at <= newest)
    next_stale_at = np.min(observed_at[fresh], initial=np.inf) + limit
    next_dated_at = (
        np.min(observed_at[observed_at > newest], initial=np.inf) - MAX_CLOCK_SKEW_SECONDS
    )
    return fresh, float(min(next_stale_at, next_dated_at)) - _MARGIN_SECONDS


_MARGIN_SECONDS = 0.001
"""The answer is computed again this long before it changes, as sums of floats are not exact."""


RULE = Stale()
