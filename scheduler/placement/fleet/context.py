"""`DecisionContext`: the time and the terms of one decision. Both are inputs, and are recorded."""

from datetime import UTC, datetime

import msgspec

from scheduler.model.demand.terms import Terms

MAX_CLOCK_SKEW_SECONDS = 60
"""How far an observation may be ahead of now before its time counts as unknown. Clocks that NTP
synchronises differ by less; times in files are often rounded to the minute."""


class DecisionContext(msgspec.Struct, frozen=True, kw_only=True):
    """When a decision is made, and by which terms.

    Attributes:
        now: the time; aware, UTC.
        now_seconds: the same time in seconds since 1970.
        terms: limits, prices and assumed figures.
        start_seconds: the start that costs are computed for, in seconds since 1970; None: now.
    """

    now: datetime
    now_seconds: float
    terms: Terms
    start_seconds: float | None = None

    @property
    def run_start_seconds(self) -> float:
        """When the work would start, in seconds since 1970: `start_seconds`, else now."""
        return self.now_seconds if self.start_seconds is None else self.start_seconds

    @property
    def starts_later(self) -> bool:
        """Whether costs are computed for a start that is still to come."""
        return self.run_start_seconds > self.now_seconds

    def age_seconds(self, observed_at: datetime | None) -> float | None:
        """How old an observation is; negative if it is ahead of now; None: it has no date."""
        return None if observed_at is None else self.now_seconds - observed_at.timestamp()


def decision_context(now: datetime, terms: Terms) -> DecisionContext:
    """The context of a decision at an aware time.

    Raises:
        ValueError: `now` has no zone.
    """
    if now.tzinfo is None:
        raise ValueError("now has no time zone; use an aware datetime in UTC")
    utc = now if now.tzinfo is UTC else now.astimezone(UTC)
    return DecisionContext(now=utc, now_seconds=now.timestamp(), terms=terms)
