"""The figures that more than one surface shows; each is computed here, and nowhere else. Pure.

The CLI, the page, the metrics and the columns of the hub show the same number for the same word.
A site that is silent has no figure: what it reported last says nothing of now. A figure that is
not known is None, never 0; a total counts how many sites it is of.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import floor, fsum

from scheduler.model.kinds.site import SiteSpec, SiteStatus
from scheduler.model.kinds.workload import MAX_EXCEPTIONS, GroupPhase, WorkloadStatus
from scheduler.model.quantities import CPU, MILLI_PER_UNIT, free_amounts
from scheduler.model.units import GRAMS_PER_KILOGRAM, WATTS_PER_KILOWATT

UNKNOWN = "?"
"""Stands for a number that is not known, as in `?/6`."""


@dataclass(frozen=True, slots=True)
class SiteFigures:
    """The figures of one site; None: not known.

    Attributes:
        free_cores: free CPU of all nodes, less the headroom.
        watts: what its equipment draws.
        gco2_per_kwh: the carbon intensity of its grid.
        gco2_per_hour: its location-based emission.
    """

    free_cores: float | None = None
    watts: float | None = None
    gco2_per_kwh: float | None = None
    gco2_per_hour: float | None = None

    @property
    def free_cpu(self) -> str:
        """Free cores as text; "": not known."""
        return "" if self.free_cores is None else f"{self.free_cores:g}"

    @property
    def intensity_text(self) -> str:
        """The carbon intensity as text; "": not known."""
        return "" if self.gco2_per_kwh is None else f"{self.gco2_per_kwh:g}"


UNKNOWN_SITE = SiteFigures()
"""The figures of a site that is silent or has not reported."""


def site_figures(spec: SiteSpec, status: SiteStatus, *, is_reporting: bool) -> SiteFigures:
    """The figures of a site.

    The emission is location-based: power x PUE x average intensity (GHG Protocol, Scope 2
    Guidance); it is known if all three are.

    Args:
        spec: of the Site.
        status: its last report.
        is_reporting: whether the site reports; if not, no figure is known.
    """
    if not is_reporting:
        return UNKNOWN_SITE
    watts = status.power.watts if status.power else None
    intensity = status.intensity.gco2_per_kwh if status.intensity else None
    grams = None
    if watts is not None and intensity is not None and spec.energy.pue is not None:
        grams = watts * spec.energy.pue * intensity / WATTS_PER_KILOWATT
    return SiteFigures(_free_cores(spec, status), watts, intensity, grams)


def _free_cores(spec: SiteSpec, status: SiteStatus) -> float | None:
    rows = [row for one in status.node_classes for row in one.free if CPU in row]
    if not rows:
        return None
    available_ratio = 1.0 - spec.headroom.ratio
    amounts = free_amounts(CPU, [row[CPU] for row in rows])
    millicores = sum(
        floor(amount * available_ratio) * int(row.get("count", 1))
        for amount, row in zip(amounts, rows, strict=True)
    )
    return millicores / MILLI_PER_UNIT


@dataclass(frozen=True, slots=True)
class FleetTotals:
    """Totals over the sites whose figure is known.

    Attributes:
        sites: number of all sites.
        watts: power of the sites of known power; None: it is known of none.
        sites_of_known_power: how many sites `watts` is of.
        gco2_per_hour: emission of the sites of known emission; None: it is known of none.
        sites_of_known_emission: how many sites `gco2_per_hour` is of.
    """

    sites: int
    watts: float | None
    sites_of_known_power: int
    gco2_per_hour: float | None
    sites_of_known_emission: int

    @property
    def power_text(self) -> str:
        """Power for people: `28.1 kW`, or `28.1 kW of 11 of 12 sites`."""
        return self._format(self.watts, WATTS_PER_KILOWATT, "kW", self.sites_of_known_power)

    @property
    def carbon_text(self) -> str:
        """Emission for people: `15.4 kgCO2e/h`, or `15.4 kgCO2e/h of 10 of 12 sites`."""
        known = self.sites_of_known_emission
        return self._format(self.gco2_per_hour, GRAMS_PER_KILOGRAM, "kgCO2e/h", known)

    def _format(self, value: float | None, per_unit: int, unit: str, known: int) -> str:
        if value is None:
            return f"unknown {unit}"
        text = f"{value / per_unit:.1f} {unit}"
        return text if known == self.sites else f"{text} of {known} of {self.sites} sites"

    def as_json(self) -> dict[str, float | int | str | None]:
        """The fields that every summary has of these totals."""
        return {
            "watts": self.watts,
            "gco2PerHour": self.gco2_per_hour,
            "sitesOfUnknownPower": self.sites - self.sites_of_known_power,
            "sitesOfUnknownEmission": self.sites - self.sites_of_known_emission,
            "power": self.power_text,
            "carbon": self.carbon_text,
        }


def fleet_totals(figures: Iterable[SiteFigures]) -> FleetTotals:
    """Totals over all sites; a site without a figure is left out of that total."""
    every = list(figures)
    watts = [one.watts for one in every if one.watts is not None]
    grams = [one.gco2_per_hour for one in every if one.gco2_per_hour is not None]
    return FleetTotals(
        sites=len(every),
        watts=fsum(watts) if watts else None,
        sites_of_known_power=len(watts),
        gco2_per_hour=fsum(grams) if grams else None,
        sites_of_known_emission=len(grams),
    )


@dataclass(frozen=True, slots=True)
class ShareFigures:
    """What one site runs of a workload.

    Attributes:
        site: the name of the site.
        replicas: replicas placed there.
        ready: of these, ready or finished ones; None: not known.
        phase: the phase of its placement group.
        message: what is wrong there; "" without such.
    """

    site: str
    replicas: int
    ready: int | None
    phase: GroupPhase | None
    message: str


def share_figures(status: WorkloadStatus) -> Iterator[ShareFigures]:
    """What each site runs of a workload, in the order of the placement groups.

    A status lists only the sites where not all are ready, by name and not more than
    `MAX_EXCEPTIONS`; of sites after the last one of a full list nothing is known.
    """
    exceptions = {one.site: one for one in status.exceptions}
    last = max(exceptions) if len(exceptions) >= MAX_EXCEPTIONS else None
    for group in status.placement.groups:
        for site in group.sites:
            found = exceptions.get(site)
            ready: int | None = group.replicas
            if found is not None:
                ready = None if found.silent else min(found.ready, group.replicas)
            elif last is not None and site > last:
                ready = None
            message = found.message if found else ""
            yield ShareFigures(site, group.replicas, ready, group.phase, message)


def format_readiness(ready: int | None, desired: int) -> str:
    """Ready of desired replicas: `4/6`; `?/6` while a site with replicas is silent."""
    return f"{UNKNOWN if ready is None else ready}/{desired}"


def readiness_of(status: WorkloadStatus) -> str:
    """Ready of desired replicas as every surface shows them; "" before anything is known."""
    if status.readiness or not status.replicas:
        return status.readiness
    return format_readiness(status.ready, status.replicas)  # written before there was the field
