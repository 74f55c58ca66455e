"""What sites and placed work draw, emit and cost now, with where the figures come from.

The carbon is location-based (GHG Protocol, Scope 2 Guidance): energy x PUE x the average intensity
of the grid. What the equipment of a site draws is what its agent reports; what work draws is
modelled from its requests, as decisions do (`scheduler/energy/power.py`), because no meter sees
single workloads. A figure that is not known is None, and sums say of how much power they are. Pure.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import fsum, isnan, nan
from typing import Any, Final, NamedTuple

from scheduler.energy.power import marginal_watts
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.figures import site_figures
from scheduler.model.kinds.fields import Origin
from scheduler.model.manifests.pods import PodShape
from scheduler.model.quantities import CPU, MILLI_PER_UNIT
from scheduler.model.units import WATTS_PER_KILOWATT
from scheduler.placement.cost.energy import pue_origin_of, worst_origin
from scheduler.placement.fleet.site_figures import FIGURES, figures_of

INPUTS: Final = ("power", "pue", "intensity")
"""The figures that an emission is computed from."""


@dataclass(frozen=True, slots=True)
class PowerDraw:
    """What something draws at one site.

    Attributes:
        watts: its power, without PUE.
        gco2_per_hour: its emission; None: not known.
        cny_per_hour: what it costs; None: not known.
        origins: where each of `INPUTS` comes from.
    """

    watts: float
    gco2_per_hour: float | None
    cny_per_hour: float | None
    origins: Mapping[str, Origin]


@dataclass(slots=True)
class EnergyAccount:
    """The sum of many draws.

    Attributes:
        draws: what is summed.
        unknown: how many things of unknown power belong to it.
    """

    draws: list[PowerDraw] = field(default_factory=list)
    unknown: int = 0

    def as_json(self) -> dict[str, Any]:
        """The figures; a sum is of the draws whose figure is known, and None if it is of none."""
        watts = fsum(one.watts for one in self.draws)
        grams = [one for one in self.draws if one.gco2_per_hour is not None]
        money = [one for one in self.draws if one.cny_per_hour is not None]
        return {
            "watts": watts if self.draws else None,
            "gco2PerHour": fsum(one.gco2_per_hour or 0.0 for one in grams) if grams else None,
            "cnyPerHour": fsum(one.cny_per_hour or 0.0 for one in money) if money else None,
            "carbonKnownRatio": _share_of_power(grams, watts),
            "costKnownRatio": _share_of_power(money, watts),
            "unknownPower": self.unknown,
            "origin": worst_origin(*self._origins()) if self.draws else "unknown",
            "measuredRatio": self.measured_ratio(),
        }

    def measured_ratio(self) -> float | None:
        """The share of measured inputs, weighted by power; None: there is no power."""
        watts = fsum(one.watts for one in self.draws)
        if not watts:
            return None
        measured = fsum(
            one.watts * sum(one.origins[name] == "measured" for name in INPUTS) / len(INPUTS)
            for one in self.draws
        )
        return measured / watts

    def _origins(self) -> Iterator[Origin]:
        for one in self.draws:
            yield from one.origins.values()


def _share_of_power(part: Iterable[PowerDraw], watts: float) -> float | None:
    return fsum(one.watts for one in part) / watts if watts else None


class EnergyRates:
    """What energy and cores cost at each site now, and what energy emits.

    They are the figures that decisions read; a tariff counts with the mean of its day. An old
    figure counts as it is: only a ranking takes it as the worst that it could be.

    Args:
        facts: the sites.
        terms: what cores, memory and cards draw.
    """

    def __init__(self, facts: Iterable[SiteFacts], terms: Terms) -> None:
        self._terms = terms
        self._facts = {one.name: one for one in facts}
        self._rates = {name: site_rates(one) for name, one in self._facts.items()}

    def equipment(self, site: str) -> PowerDraw | None:
        """What the equipment of a site draws, as it reports; None: not known."""
        facts = self._facts[site]
        figures = site_figures(facts.spec, facts.status, is_reporting=not facts.is_silent)
        if figures.watts is None:
            return None
        cost = self._rates[site].energy_cny(figures.watts)
        origins = origins_at(facts, power_origin_of(facts))
        return PowerDraw(figures.watts, figures.gco2_per_hour, cost, origins)

    def work(self, demand: Demand, site: str, replicas: int) -> PowerDraw:
        """What replicas of a workload draw at a site, and the pods that come once with them."""
        watts = self._watts_of(demand, replicas)
        if site not in self._facts:
            return PowerDraw(watts, None, None, dict.fromkeys(INPUTS, "unknown"))
        rates = self._rates[site]
        return PowerDraw(
            watts,
            rates.grams(watts),
            rates.work_cny(watts, _millicores(demand, replicas)),
            origins_at(self._facts[site], "assumed"),
        )

    def _watts_of(self, demand: Demand, replicas: int) -> float:
        return fsum(
            _pod_watts(each.shape, self._terms) * each.count * times
            for pods, times in ((demand.unit, replicas), (demand.beside, 1))
            for each in pods
        )


class SiteRates(NamedTuple):
    """What energy emits and costs at a site, with PUE, and what a core costs; NaN: not known."""

    gco2_per_kwh: float = nan
    cny_per_kwh: float = nan
    cny_per_core_hour: float = nan

    def grams(self, watts: float) -> float | None:
        """What a power emits in an hour; None: not known."""
        return _known(watts / WATTS_PER_KILOWATT * self.gco2_per_kwh)

    def energy_cny(self, watts: float) -> float | None:
        """What a power costs in an hour; None: not known."""
        return _known(watts / WATTS_PER_KILOWATT * self.cny_per_kwh)

    def work_cny(self, watts: float, millicores: float) -> float | None:
        """What work costs in an hour: its energy and its cores; None: not known."""
        cores = millicores / MILLI_PER_UNIT
        energy = watts / WATTS_PER_KILOWATT * self.cny_per_kwh
        return _known(energy + cores * self.cny_per_core_hour)


UNKNOWN_RATES: Final = SiteRates()
"""Of a site that is not known."""


def site_rates(facts: SiteFacts) -> SiteRates:
    """By the figures that decisions read; a tariff counts with the mean of its day."""
    figures = dict(zip(FIGURES, figures_of(facts), strict=True))
    pue = figures["pue"]
    return SiteRates(
        gco2_per_kwh=figures["gco2_per_kwh"] * pue,
        cny_per_kwh=figures["energy_cny_per_kwh"] * pue,
        cny_per_core_hour=figures["core_cny_per_hour"],
    )


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _pod_watts(shape: PodShape, terms: Terms) -> float:
    shared = shape.gpu_cards * shape.gpu_milli / MILLI_PER_UNIT
    return marginal_watts(shape.requests, shared, terms)


def _millicores(demand: Demand, replicas: int) -> int:
    return sum(
        each.shape.requests.get(CPU, 0) * each.count * times
        for pods, times in ((demand.unit, replicas), (demand.beside, 1))
        for each in pods
    )


def power_origin_of(facts: SiteFacts) -> Origin:
    """Where the power of a site's equipment comes from."""
    power = facts.status.power
    return power.origin if power is not None else "unknown"


def origins_at(facts: SiteFacts, power: Origin) -> dict[str, Origin]:
    """Where the inputs of an emission at a site come from."""
    intensity = facts.status.intensity
    is_known = intensity is not None and intensity.gco2_per_kwh is not None
    origin: Origin = intensity.origin if intensity is not None and is_known else "unknown"
    return {"power": power, "pue": pue_origin_of(facts), "intensity": origin}


def add_up(accounts: Iterable[EnergyAccount]) -> EnergyAccount:
    """One account of many."""
    total = EnergyAccount()
    for one in accounts:
        total.draws += one.draws
        total.unknown += one.unknown
    return total


def by_name(pairs: Iterable[tuple[str, EnergyAccount]]) -> dict[str, EnergyAccount]:
    """Accounts of the same name added up, in the order of their first appearance."""
    found: dict[str, list[EnergyAccount]] = defaultdict(list)
    for name, account in pairs:
        found[name].append(account)
    return {name: add_up(each) for name, each in found.items()}
