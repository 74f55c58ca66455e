"""`SiteFacts`: all that a decision knows of one site, as one value that can be stored.

A fleet is built of one such value per site, by the control loops, by `kapok place` and by
simulations. A decision reads nothing else of sites, so a record of these values is enough to
repeat the decision.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from scheduler.model.demand.kept_forecast import (
    KeptForecast,
    ZoneIntensity,
    counts_by_hour,
    counts_by_year,
    kept_forecast,
)
from scheduler.model.kinds.fields import Instant, Part
from scheduler.model.kinds.rights import SiteGrant, SiteGrantSpec
from scheduler.model.kinds.site import IntensityForecast, Site, SiteSpec, SiteStatus

RESERVED_FOR_PREFIX = "reserved for "
"""Prefix of a workload's name in `InFlight` when its capacity is only reserved, not ordered."""


class InFlight(Part, frozen=True, kw_only=True):
    """Replicas that are ordered at a site and not bound to nodes in its last report."""

    workload: str
    replicas: Annotated[int, Meta(ge=1)]
    requests: dict[str, int] = msgspec.field(default_factory=dict)
    """Requests of one replica: millicores for cpu, whole units for all else; `pods` is 1."""
    gpu_cards: int = 0
    """GPU cards of which one replica takes a share."""
    gpu_milli: int = 0
    """The share of each of these cards, in thousandths."""
    limits: dict[str, int] = msgspec.field(default_factory=dict)
    """Limits of one replica, as far as known; units as in `requests`."""


class PlannedRun(Part, frozen=True, kw_only=True):
    """Replicas that are planned to start at a site later; their room is kept for that time."""

    workload: str
    """`namespace/name`."""
    priority: int = 0
    start_at: Instant
    duration_seconds: Annotated[int, Meta(ge=1)]
    """As the workload states it; decisions keep the room longer by `Terms.overrun_ratio`."""
    pods: tuple[InFlight, ...] = ()
    """All pods of these replicas."""


class Grant(Part, frozen=True, kw_only=True):
    """A grant as it applies to one site."""

    name: str
    spec: SiteGrantSpec


CLUSTER_UNREACHABLE = "ClusterUnreachable"
"""Reason of the condition Ready: the agent lives, and the API of its cluster does not answer."""


class SiteFacts(Part, frozen=True, kw_only=True):
    """What a decision knows of one site."""

    name: str
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    spec: SiteSpec = SiteSpec()
    status: SiteStatus = SiteStatus()
    grants: tuple[Grant, ...] = ()
    in_flight: tuple[InFlight, ...] = ()
    """Replicas ordered there and not bound yet, and reservations."""
    p90: dict[str, float] = msgspec.field(default_factory=dict)
    """90th percentile of the site's own history, by figure: `gco2PerKwh`, `energyCnyPerKwh`."""
    kept_forecast: KeptForecast | None = None
    """What the site's forecast last said; None: it had none, or none was kept."""
    planned: tuple[PlannedRun, ...] = ()
    """What is planned to start there later, in the order of the workloads' names."""
    zone_intensity: ZoneIntensity | None = None
    """What feeds and official factors say of its grid zone; None: nothing, or it names none."""
    zone_forecast: IntensityForecast | None = None
    """What is expected of its grid zone, where its spec has no forecast of its own."""

    @property
    def forecast(self) -> IntensityForecast | None:
        """The forecast that counts: what is written to the site, else that of its grid zone."""
        own = self.spec.energy.forecast
        return self.zone_forecast if own is None else own

    @property
    def has_hourly_intensity(self) -> bool:
        """Whether an intensity of the hour is known, by its report or its grid zone."""
        return counts_by_hour(self.zone_intensity, self.status.intensity)

    @property
    def has_yearly_intensity(self) -> bool:
        """Whether a yearly factor is its intensity."""
        return counts_by_year(self.zone_intensity, self.status.intensity)

    @property
    def observed_at(self) -> Instant | None:
        """When the site was last observed; None: never."""
        return self.status.observed_at

    @property
    def is_silent(self) -> bool:
        """Whether the condition Ready says that the site does not report."""
        ready = next((each for each in self.status.conditions if each.type == "Ready"), None)
        return ready is not None and ready.status != "True"

    @property
    def is_cluster_unreachable(self) -> bool:
        """Whether the agent reports, and the cluster does not answer it."""
        ready = next((each for each in self.status.conditions if each.type == "Ready"), None)
        return ready is not None and (ready.status, ready.reason) == ("False", CLUSTER_UNREACHABLE)

    @property
    def silent_since(self) -> Instant | None:
        """Since when the site is silent; None: it reports, or the time is unknown."""
        ready = next((each for each in self.status.conditions if each.type == "Ready"), None)
        if ready is None or ready.status == "True":
            return None
        return ready.last_transition_time or self.status.observed_at

    @property
    def reserved_for(self) -> tuple[str, ...]:
        """Workloads with capacity reserved at the site; no other workload may use it."""
        names = {each.workload for each in self.in_flight}
        return tuple(
            name.removeprefix(RESERVED_FOR_PREFIX)
            for name in sorted(names)
            if name.startswith(RESERVED_FOR_PREFIX)
        )

    @property
    def replicas_in_flight(self) -> int:
        """The number of replicas in flight; reserved capacity is not counted."""
        return sum(
            each.replicas
            for each in self.in_flight
            if not each.workload.startswith(RESERVED_FOR_PREFIX)
        )

    @property
    def has_executor(self) -> bool:
        """Whether an agent there applies orders; assumed if the report does not say."""
        if self.status.executor is not None:
            return self.status.executor
        return self.status.api_kinds != ()  # None is unknown, empty means no cluster


def site_facts_of(
    site: Site,
    grants: Iterable[SiteGrant] = (),
    *,
    in_flight: Iterable[InFlight] = (),
    p90: Mapping[str, float] | None = None,
    last_forecast: IntensityForecast | None = None,
    planned: Iterable[PlannedRun] = (),
    zone_intensity: ZoneIntensity | None = None,
    zone_forecast: IntensityForecast | None = None,
) -> SiteFacts:
    """Collects what a decision knows of one site.

    Args:
        site: the object; its status is the last report.
        grants: all grants; only those that name the site are kept.
        in_flight: replicas ordered there and not bound yet, see `in_flight_of`.
        p90: 90th percentiles of the site's own history, by figure.
        last_forecast: what its forecast said before, see `last_forecast` in `kept_forecast.py`.
        planned: what is planned to start there later.
        zone_intensity: what is known of its grid zone, see `known_zone` in `kept_forecast.py`.
        zone_forecast: what is expected of its grid zone; counts if its spec has no forecast.
    """
    name = site.metadata.name
    return SiteFacts(
        name=name,
        labels=site.metadata.labels,
        spec=site.spec,
        status=site.status,
        grants=tuple(
            Grant(name=grant.metadata.name, spec=msgspec.structs.replace(grant.spec, sites=(name,)))
            for grant in sorted(grants, key=lambda each: each.metadata.name)
            if name in grant.spec.sites
        ),
        in_flight=tuple(in_flight),
        p90=dict(p90 or {}),
        kept_forecast=kept_forecast(site.spec.energy.forecast or zone_forecast, last_forecast),
        planned=tuple(planned),
        zone_intensity=zone_intensity,
        zone_forecast=None if site.spec.energy.forecast else zone_forecast,
    )


class OrderGeneration(Part, frozen=True, kw_only=True):
    """One generation of one workload's order at a site."""

    generation: int
    replicas: int
    pod: InFlight
    """What one replica requests; the field `replicas` in it is not read."""


def in_flight_of(
    generations: Iterable[OrderGeneration], bound_by_generation: Mapping[int, int]
) -> tuple[InFlight, ...]:
    """Replicas of one workload's orders at one site that are not bound to a node yet.

    By generation, `max(0, ordered - bound)`: a replica leaves this list only when a report shows
    it bound, never because time passes.

    Args:
        generations: the generations of the order that may be published or applied.
        bound_by_generation: replicas bound to nodes by generation, terminating ones included,
            from the same report as the free capacity.
    """
    missing = (
        (each, max(0, each.replicas - bound_by_generation.get(each.generation, 0)))
        for each in generations
    )
    return tuple(
        msgspec.structs.replace(each.pod, replicas=count) for each, count in missing if count > 0
    )
