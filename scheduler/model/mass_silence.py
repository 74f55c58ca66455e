"""Whether sites fell silent together, and which of them share a failure domain.

A failure domain is a province, a city, a provider, or what `location.failureDomains` names.

Pure: every function is about one instant. Times are seconds on the receiver's monotonic clock.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from statistics import median
from typing import Final, Literal, NamedTuple

from scheduler.model.site_health import (
    ABSENT,
    PRESENT,
    HealthLimits,
    HealthState,
    interval_of,
    was_ever_there,
)

DomainKind = Literal["province", "city", "provider", "failure domain"]

Domain = tuple[DomainKind, str]
"""A failure domain, e.g. ("province", "CN-GD"); a city is named with its province."""

WINDOW_INTERVALS: Final = 2.0
"""Sites that fell silent within this many report intervals of each other fell together. A cut link
ends the reports of all its sites within one interval, and within two if each lost one before."""

_MAX_SAMPLE = 256  # sites whose intervals are looked at, so that 10,000 cost no more


class SiteReading(NamedTuple):
    """One site as the rules about storms see it.

    Attributes:
        name: of the site.
        health: whether its messages come in time.
        domains: what it shares with other sites.
    """

    name: str
    health: HealthState
    domains: tuple[Domain, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReading:
    """The known sites at one instant.

    Attributes:
        present: sites that report.
        absent: sites that fell silent, but those that an operator has excused.
        excused: silent sites that an operator has excused by a thaw.
        unknown: sites that earlier processes knew and that were not received yet.
        window_seconds: sites that fell silent within this time of each other fell together.
        interval_seconds: the median of the report intervals.
    """

    present: Sequence[SiteReading]
    absent: Sequence[SiteReading]
    excused: Sequence[SiteReading]
    unknown: int
    window_seconds: float
    interval_seconds: float

    @property
    def readings(self) -> tuple[Sequence[SiteReading], ...]:
        """All sites of which something was received, or that are silent."""
        return self.present, self.absent, self.excused

    @property
    def known(self) -> int:
        """The number of sites that were ever received."""
        return len(self.present) + len(self.absent) + len(self.excused) + self.unknown

    @property
    def healthy_ratio(self) -> float:
        """The share of known sites that report; 0 if none is known."""
        return len(self.present) / self.known if self.known else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MassSilence:
    """The largest group of sites that fell silent together.

    Attributes:
        fallen: how many they are.
        witnesses: how many sites were received so much later that the link worked then, whether
            they fell silent after that or not.
    """

    fallen: int = 0
    witnesses: int = 0

    @property
    def ratio(self) -> float:
        """The share of the fallen in all of which something is known since; 0 if none fell."""
        total = self.fallen + self.witnesses
        return self.fallen / total if total else 0.0


def read_fleet(
    sites: Sequence[SiteReading], limits: HealthLimits, excused: frozenset[str]
) -> FleetReading:
    """Sorts the sites; those that were never received at all do not count."""
    present, absent, left_out, unknown = [], [], [], 0
    for one in sites:
        name = one.health.name
        if name in PRESENT:
            present.append(one)
        elif not was_ever_there(one.health):
            continue
        elif name not in ABSENT:
            unknown += 1
        elif one.name in excused:
            left_out.append(one)
        else:
            absent.append(one)
    sample = sites[:: max(1, len(sites) // _MAX_SAMPLE)]
    longest = limits.max_silent_after_seconds  # whatever an agent states
    intervals = [min(interval_of(one.health, limits), longest) for one in sample]
    interval = median(intervals) if intervals else 0.0
    return FleetReading(
        present=present,
        absent=absent,
        excused=left_out,
        unknown=unknown,
        window_seconds=WINDOW_INTERVALS * interval,
        interval_seconds=interval,
    )


def find_mass_silence(fleet: FleetReading) -> MassSilence:
    """The group that fell together and is the largest share of what is known since.

    A site whose next report is not due yet shows nothing: it counts neither as fallen nor as a
    witness. So a cut link is recognised by the sites that report often, before those that report
    rarely are silent. Sites that were silent long before show nothing either.

    One more silent site never makes the share smaller.
    """
    fell = sorted(map(last_seconds_of, fleet.absent))
    received = sorted(last_seconds_of(one) for some in fleet.readings for one in some)
    worst, end = MassSilence(), 0
    for start, first_seconds in enumerate(fell):
        while end < len(fell) and fell[end] <= first_seconds + fleet.window_seconds:
            end += 1
        later = bisect_right(received, fell[end - 1] + fleet.window_seconds)
        found = MassSilence(fallen=end - start, witnesses=len(received) - later)
        if found.ratio > worst.ratio:
            worst = found
    return worst


def last_seconds_of(site: SiteReading) -> float:
    """When a site was received last, or since when it is listened to if that was never."""
    received_seconds = site.health.received_seconds
    return received_seconds if isfinite(received_seconds) else site.health.quiet_since_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentDomain:
    """A failure domain of which no site reports, and of which several fell silent together.

    Attributes:
        domain: which one.
        sites: how many of its sites are silent.
        rest_ratio: the share of the other sites that report, of those that were there when it fell
            silent; 0 if there are none.
    """

    domain: Domain
    sites: int
    rest_ratio: float


def find_silent_domains(fleet: FleetReading) -> list[SilentDomain]:
    """The failure domains that are wholly silent. One site alone is no domain."""
    fallen = _last_seconds_by_domain(fleet.absent)
    several = {domain for domain, fell in fallen.items() if len(fell) > 1}
    if not several:
        return []
    everywhere, found = sorted(map(last_seconds_of, fleet.absent)), []
    for domain in sorted(several - domains_of(fleet.present)):
        fell = fallen[domain]
        together = [
            first for first, second in pairwise(fell) if second - first <= fleet.window_seconds
        ]
        if together:
            # Sites that were silent long before show nothing about the link.
            since = together[0] - fleet.window_seconds
            others = _count_since(everywhere, since) - _count_since(fell, since)
            rest = len(fleet.present) + others
            found.append(
                SilentDomain(
                    domain=domain,
                    sites=len(fell),
                    rest_ratio=len(fleet.present) / rest if rest else 0.0,
                )
            )
    return found


def domains_of(sites: Iterable[SiteReading]) -> set[Domain]:
    """The failure domains of some sites."""
    # Most sites share their domains with many others.
    return {domain for domains in {one.domains for one in sites} for domain in domains}


def _count_since(times_seconds: Sequence[float], since_seconds: float) -> int:
    return len(times_seconds) - bisect_left(times_seconds, since_seconds)


def _last_seconds_by_domain(sites: Iterable[SiteReading]) -> Mapping[Domain, list[float]]:
    """When the sites of each domain were received last, in order."""
    found: dict[Domain, list[float]] = {}
    for one in sites:
        for domain in one.domains:
            found.setdefault(domain, []).append(last_seconds_of(one))
    return {domain: sorted(times) for domain, times in found.items()}
