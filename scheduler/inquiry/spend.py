"""Power, carbon and cost of placed work now and today, by tenant and site, with the origins.

The carbon is location-based (GHG Protocol, Scope 2 Guidance): energy x PUE x the average intensity
of the grid. What work draws is modelled from its requests, as decisions do; what the equipment of a
site draws is what its agent reports. A figure that is not known is None, and the sums say of how
much of the power they are.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from scheduler.energy.power import marginal_watts
from scheduler.inquiry.energy_account import (
    INPUTS,
    UNKNOWN_RATES,
    origins_at,
    power_origin_of,
    site_rates,
)
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.figures import site_figures
from scheduler.model.quantities import CPU
from scheduler.web.answers.table_rows import tenants_by_namespace
from scheduler.web.snapshot import StateSnapshot

_LONGEST_STEP_SECONDS: Final = 300.0
"""Of a longer gap between two readings only so much counts, at the figures before it."""
NO_TENANT: Final = "-"
_KNOWN_CARBON, _KNOWN_COST = "wattHoursOfKnownCarbon", "wattHoursOfKnownCost"
_SUMS: Final = ("wattHours", "gco2", "cny", _KNOWN_CARBON, _KNOWN_COST)


@dataclass(slots=True)
class SpendRate:
    """What some work draws, emits and costs.

    Attributes:
        watts: what its requests draw, without PUE.
        gco2_per_hour: emission of what stands at sites of known intensity.
        watts_of_known_carbon: the power of which the emission is.
        cny_per_hour: cost of what stands at sites of known prices.
        watts_of_known_cost: the power of which the cost is.
    """

    watts: float = 0.0
    gco2_per_hour: float = 0.0
    watts_of_known_carbon: float = 0.0
    cny_per_hour: float = 0.0
    watts_of_known_cost: float = 0.0

    def add(self, watts: float, grams: float | None, cny: float | None) -> None:
        """Adds the work of one workload at one site; None: not known there."""
        self.watts += watts
        if grams is not None:
            self.gco2_per_hour += grams
            self.watts_of_known_carbon += watts
        if cny is not None:
            self.cny_per_hour += cny
            self.watts_of_known_cost += watts

    def as_json(self) -> dict[str, float | None]:
        """The figures; None: of none of the work is it known."""
        return {
            "watts": self.watts,
            "gco2PerHour": self.gco2_per_hour if self.watts_of_known_carbon else None,
            "cnyPerHour": self.cny_per_hour if self.watts_of_known_cost else None,
            "knownCarbonRatio": _ratio(self.watts_of_known_carbon, self.watts),
            "knownCostRatio": _ratio(self.watts_of_known_cost, self.watts),
        }


@dataclass(slots=True)
class Spending:
    """What all placed work spends at one instant.

    Attributes:
        at: when.
        by_tenant: by the name of the tenant, `NO_TENANT` for namespaces of none.
        by_site: by the name of the site.
    """

    at: datetime
    by_tenant: dict[str, SpendRate] = field(default_factory=dict)
    by_site: dict[str, SpendRate] = field(default_factory=dict)


def spending_of(snapshot: StateSnapshot, terms: Terms) -> Spending:
    """What placed work spends now; shared GPU cards are not counted, as no site reports them."""
    rates = {facts.name: site_rates(facts) for facts in snapshot.facts}
    owners, found = tenants_by_namespace(snapshot), Spending(snapshot.at)
    for (namespace, _), by_site in snapshot.requested.items():
        tenant = found.by_tenant.setdefault(owners.get(namespace, NO_TENANT), SpendRate())
        for name, amounts in by_site.items():
            watts = marginal_watts(amounts, 0.0, terms)
            site = rates.get(name, UNKNOWN_RATES)
            grams, cny = site.grams(watts), site.work_cny(watts, amounts.get(CPU, 0))
            tenant.add(watts, grams, cny)
            found.by_site.setdefault(name, SpendRate()).add(watts, grams, cny)
    return found


@dataclass(slots=True)
class DayMeter:
    """Sums what placed work has spent today, from readings that are minutes apart.

    A day is that of this machine's time zone. What was before the first reading is not known: the
    answer says since when it counts.
    """

    since: datetime | None = None
    _last: Spending | None = None
    _tenants: dict[str, Counter[str]] = field(default_factory=dict)
    _sites: dict[str, Counter[str]] = field(default_factory=dict)

    def read(self, spending: Spending) -> None:
        """Takes in a reading; a new day begins at zero."""
        last, day = self._last, spending.at.astimezone().date()
        if last is None or last.at.astimezone().date() != day:
            self._tenants, self._sites = {}, {}
            midnight = spending.at.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
            gap = (spending.at - midnight).total_seconds()
            is_whole = last is not None and gap <= _LONGEST_STEP_SECONDS
            self.since = midnight if is_whole else spending.at
        else:
            hours = _hours_between(last.at, spending.at)
            _accumulate(self._tenants, last.by_tenant, hours)
            _accumulate(self._sites, last.by_site, hours)
        self._last = spending

    def tenant_today(self, name: str) -> dict[str, float | None]:
        """What a tenant has spent today: `wattHours`, `gco2`, `cny`; None: not known."""
        return _today(self._tenants.get(name))

    def site_today(self, name: str) -> dict[str, float | None]:
        """What the work at a site has spent today."""
        return _today(self._sites.get(name))

    def total_today(self) -> dict[str, float | None]:
        """What all work has spent today."""
        total = Counter[str]()
        for one in self._tenants.values():
            total.update(one)
        return _today(total)


def _hours_between(before: datetime, after: datetime) -> float:
    return min(max(0.0, (after - before).total_seconds()), _LONGEST_STEP_SECONDS) / 3600.0


def _accumulate(
    totals: dict[str, Counter[str]], rates: Mapping[str, SpendRate], hours: float
) -> None:
    for name, rate in rates.items():
        total = totals.setdefault(name, Counter())
        grown = {
            "wattHours": rate.watts,
            "gco2": rate.gco2_per_hour,
            "cny": rate.cny_per_hour,
            _KNOWN_CARBON: rate.watts_of_known_carbon,
            _KNOWN_COST: rate.watts_of_known_cost,
        }
        for key, per_hour in grown.items():
            total[key] += per_hour * hours  # type: ignore[assignment] # Counter is of ints


def _today(total: Mapping[str, float] | None) -> dict[str, float | None]:
    """The sums; None: of none of the energy is it known."""
    sums = {name: float((total or {}).get(name, 0.0)) for name in _SUMS}
    energy = sums["wattHours"]
    return {
        "wattHours": energy,
        "gco2": sums["gco2"] if sums[_KNOWN_CARBON] or not energy else None,
        "cny": sums["cny"] if sums[_KNOWN_COST] or not energy else None,
        "knownCarbonRatio": _ratio(sums[_KNOWN_CARBON], energy),
        "knownCostRatio": _ratio(sums[_KNOWN_COST], energy),
    }


def spend_as_json(
    snapshot: StateSnapshot, spending: Spending, meter: DayMeter, terms: Terms
) -> dict[str, Any]:
    """The answer: totals, tenants, sites, and where the inputs come from."""
    total = SpendRate()
    for rate in spending.by_tenant.values():
        total.add(rate.watts, None, None)
        total.gco2_per_hour += rate.gco2_per_hour
        total.watts_of_known_carbon += rate.watts_of_known_carbon
        total.cny_per_hour += rate.cny_per_hour
        total.watts_of_known_cost += rate.watts_of_known_cost
    tenants = [
        {"name": name, **rate.as_json(), "today": meter.tenant_today(name)}
        for name, rate in spending.by_tenant.items()
    ]
    sites = [
        _site_row(facts, snapshot, index, spending.by_site.get(facts.name, SpendRate()))
        | {"today": meter.site_today(facts.name)}
        for index, facts in enumerate(snapshot.facts)
    ]
    return {
        "now": snapshot.at,
        "todaySince": meter.since,
        "total": total.as_json() | {"today": meter.total_today()},
        "powerOrigin": "modelled",
        "carbonCnyPerKg": terms.carbon_cny_per_kg,
        "tenants": sorted(tenants, key=lambda row: (-row["watts"], row["name"])),
        "sites": sites,
        "inputs": _inputs(snapshot),
    }


def _site_row(
    facts: SiteFacts, snapshot: StateSnapshot, index: int, work: SpendRate
) -> dict[str, Any]:
    origins = origins_at(facts, power_origin_of(facts))
    figures = site_figures(facts.spec, facts.status, is_reporting=snapshot.is_ready[index])
    prices, energy, status = facts.spec.prices, facts.spec.energy, facts.status
    return {
        "name": facts.name,
        "province": facts.spec.location.province,
        "work": work.as_json(),
        "equipmentWatts": figures.watts,
        "equipmentWattsOrigin": origins["power"],
        "equipmentGco2PerHour": figures.gco2_per_hour,
        "gco2PerKwh": figures.gco2_per_kwh,
        "gco2PerKwhOrigin": origins["intensity"],
        "intensityAt": status.intensity.observed_at if status.intensity else None,
        "pue": energy.pue,
        "pueOrigin": origins["pue"],
        "energyCnyPerKwh": prices.energy_cny_per_kwh,
        "coreCnyPerHour": prices.core_cny_per_hour,
        "observedAt": status.observed_at,
    }


def _inputs(snapshot: StateSnapshot) -> list[dict[str, Any]]:
    """Of each input: at how many sites it has which origin, and the share that is measured."""
    origins = [origins_at(facts, power_origin_of(facts)) for facts in snapshot.facts]
    rows = []
    for name in INPUTS:
        counts = Counter(one[name] for one in origins)
        measured = _ratio(counts["measured"], counts.total())
        rows.append({"input": name, "origins": dict(counts), "measuredRatio": measured})
    return rows


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
