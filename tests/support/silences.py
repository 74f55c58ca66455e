"""Fleets of which some sites are silent, for tests of storms."""

from collections.abc import Iterable, Sequence
from math import inf

from scheduler.model.mass_silence import Domain, SiteReading
from scheduler.model.site_health import HealthLimits, HealthState
from scheduler.model.storm import Freeze, LinkReading, StormLimits, StormState, judge_storm

HEALTH_LIMITS = HealthLimits()
LIMITS = StormLimits()
INTERVAL_SECONDS = 10.0
LONG_AGO = LinkReading(listening_since_seconds=0.0, connected_since_seconds=0.0)
"""A link that has been good for long, at the times that the tests use."""


def present(name: str, *domains: Domain, heard_seconds: float) -> SiteReading:
    """A site that reports, heard last at a time."""
    health = HealthState(
        name="Reporting",
        interval_seconds=INTERVAL_SECONDS,
        received_seconds=heard_seconds,
        quiet_since_seconds=heard_seconds,
    )
    return SiteReading(name, health, domains)


def silent(name: str, *domains: Domain, heard_seconds: float = -inf) -> SiteReading:
    """A silent site that was heard last at a time; -inf: never by this process."""
    health = HealthState(
        name="Silent",
        interval_seconds=INTERVAL_SECONDS,
        received_seconds=heard_seconds,
        quiet_since_seconds=max(0.0, heard_seconds),
        was_known=True,
    )
    return SiteReading(name, health, domains)


def fleet(gone: int, there: int, *, fell_seconds: float, now_seconds: float) -> list[SiteReading]:
    """So many sites that fell silent together, and so many that were heard just now."""
    return [
        *(silent(f"gone-{n}", heard_seconds=fell_seconds) for n in range(gone)),
        *(present(f"there-{n}", heard_seconds=now_seconds - 1) for n in range(there)),
    ]


def judge(
    sites: Iterable[SiteReading],
    now_seconds: float,
    before: StormState | None = None,
    *,
    link: LinkReading = LONG_AGO,
    operator: Freeze | None = None,
    limits: StormLimits = LIMITS,
) -> StormState:
    """The state of a fleet, with the default settings."""
    found: Sequence[SiteReading] = list(sites)
    return judge_storm(
        before or StormState(),
        limits,
        HEALTH_LIMITS,
        sites=found,
        link=link,
        operator=operator,
        now_seconds=now_seconds,
    )
