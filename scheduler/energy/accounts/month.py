"""The report of a month: energy, both carbon ledgers, money, PUE, by site and department.

Every figure says where it comes from, and what is not known stands beside it: hours without a
meter, energy without a factor, money without a price. The rows of a site add up to its meter. With
yearly factors no saving by time is claimed (`claims_time_savings`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from scheduler.energy.accounts.equipment import water_litres
from scheduler.energy.accounts.hours import EnergyHour
from scheduler.energy.accounts.ledgers import (
    JOULES_PER_KWH,
    CarbonSum,
    Emission,
    facility_kwh,
    location_emission,
    market_emission,
    merge_sums,
)
from scheduler.energy.accounts.money import energy_cny, peak_cost
from scheduler.model.kinds.fields import Origin
from scheduler.model.units import GRAMS_PER_KILOGRAM, SECONDS_PER_HOUR


@dataclass(slots=True, kw_only=True)
class Account:
    """What one department used at one site in a month, or a sum of such.

    Attributes:
        site: the site; "": of all.
        department: the tenant; "": idle power and what is not Kapok's.
        it_kwh: energy of the equipment.
        facility_kwh: with cooling and losses, as far as the PUE is known.
        it_kwh_with_pue: of the equipment's energy, what the PUE is known for.
        it_kwh_by_origin: the equipment's energy by how it was obtained.
        it_kwh_by_pue_origin: by how the PUE was obtained.
        location: the location ledger.
        market: the market ledger.
        cny: energy and peak price, as far as known.
        kwh_without_price: IT energy that no price is known for.
        litres: water, as far as known.
        kwh_without_wue: IT energy that no WUE is known for.
        embodied_kgco2e: the equipment's making, as far as known.
        embodied_hours: time that it is known for.
        unmeasured_hours: time without a known power.
        doubts: why a meter is doubted, by its site.
        covered_hours: time that any row covers.
    """

    site: str = ""
    department: str = ""
    it_kwh: float = 0.0
    facility_kwh: float = 0.0
    it_kwh_with_pue: float = 0.0
    it_kwh_by_origin: dict[Origin, float] = field(default_factory=dict)
    it_kwh_by_pue_origin: dict[Origin, float] = field(default_factory=dict)
    location: CarbonSum = field(default_factory=CarbonSum)
    market: CarbonSum = field(default_factory=CarbonSum)
    cny: float = 0.0
    kwh_without_price: float = 0.0
    litres: float = 0.0
    kwh_without_wue: float = 0.0
    embodied_kgco2e: float = 0.0
    embodied_hours: float = 0.0
    unmeasured_hours: float = 0.0
    covered_hours: float = 0.0
    doubts: dict[str, str] = field(default_factory=dict)

    @property
    def pue(self) -> float | None:
        """The mean PUE by energy; None: it is known for no energy."""
        return self.facility_kwh / self.it_kwh_with_pue if self.it_kwh_with_pue > 0 else None

    @property
    def known_cny(self) -> float | None:
        """Money as far as known; None: no price is."""
        return None if self.kwh_without_price >= self.it_kwh > 0 else self.cny

    @property
    def known_litres(self) -> float | None:
        """Water as far as known; None: no WUE is."""
        return None if self.kwh_without_wue >= self.it_kwh else self.litres

    @property
    def known_embodied_kgco2e(self) -> float | None:
        """The equipment's making as far as known; None: it is known for no time."""
        return self.embodied_kgco2e if self.embodied_hours > 0 else None

    @property
    def claims_time_savings(self) -> bool:
        """Whether all of its location factors distinguish hours."""
        known = self.location.kwh_by_origin
        return bool(known) and known.keys() <= {"measured", "estimated", "modelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthReport:
    """The accounts of a month.

    Attributes:
        accounts: by site and department, sorted.
        sites: the sums of the sites.
        departments: the sums of the departments.
        total: the sum of all.
    """

    accounts: Sequence[Account]
    sites: Sequence[Account]
    departments: Sequence[Account]
    total: Account

    def of_department(self, name: str) -> "MonthReport":
        """The accounts of one department only."""
        return _report_of([one for one in self.accounts if one.department == name])


def month_report(rows: Iterable[EnergyHour]) -> MonthReport:
    """Sums up the rows of a month.

    Args:
        rows: of any sites, all of the month.
    """
    accounts: dict[tuple[str, str], Account] = {}
    ordered = sorted(rows, key=attrgetter("site", "hour"))
    for site, group in groupby(ordered, key=attrgetter("site")):
        of_site = list(group)
        for row in of_site:
            _add_row(accounts, row)
        _add_peak(accounts, site, of_site)
    return _report_of([accounts[key] for key in sorted(accounts)])


def _report_of(listed: Sequence[Account]) -> MonthReport:
    return MonthReport(
        accounts=listed,
        sites=_sums_by(listed, "site"),
        departments=_sums_by(listed, "department"),
        total=sum_accounts(listed),
    )


def sum_accounts(accounts: Iterable[Account], *, site: str = "", department: str = "") -> Account:
    """The sum of accounts.

    Args:
        accounts: to sum.
        site: name of the sum's site.
        department: name of its department.
    """
    parts = list(accounts)
    whole = Account(site=site, department=department)
    for name in _SUMMED:
        setattr(whole, name, sum(getattr(one, name) for one in parts))
    for one in parts:
        _add_up(whole.it_kwh_by_origin, one.it_kwh_by_origin)
        _add_up(whole.it_kwh_by_pue_origin, one.it_kwh_by_pue_origin)
        whole.doubts |= one.doubts
    whole.location = merge_sums(one.location for one in parts)
    whole.market = merge_sums(one.market for one in parts)
    return whole


_SUMMED = (
    "it_kwh",
    "facility_kwh",
    "it_kwh_with_pue",
    "cny",
    "kwh_without_price",
    "litres",
    "kwh_without_wue",
    "embodied_kgco2e",
    "embodied_hours",
    "unmeasured_hours",
    "covered_hours",
)


def _sums_by(accounts: Sequence[Account], name: str) -> list[Account]:
    keys = sorted({getattr(one, name) for one in accounts})
    return [
        sum_accounts([one for one in accounts if getattr(one, name) == key], **{name: key})
        for key in keys
    ]


def _add_row(accounts: dict[tuple[str, str], Account], row: EnergyHour) -> None:
    users = row.users or {"": row.it_joules}
    itself = _account(accounts, row.site, "")
    if row.doubt:
        itself.doubts.setdefault(row.site, row.doubt)
    itself.covered_hours += row.seconds / SECONDS_PER_HOUR
    itself.unmeasured_hours += row.unmeasured_seconds / SECONDS_PER_HOUR
    figures = _RowFigures(
        facility_kwh(row), location_emission(row), market_emission(row), energy_cny(row)
    )
    for user, joules in users.items():
        share = joules / row.it_joules if row.it_joules else float(user == "")
        _add_share(_account(accounts, row.site, user), row, figures, share)


class _RowFigures(NamedTuple):
    """What is computed once of a row, for all of its users."""

    facility_kwh: float | None
    location: Emission
    market: Emission
    cny: float | None


def _account(accounts: dict[tuple[str, str], Account], site: str, user: str) -> Account:
    found = accounts.get((site, user))
    if found is None:
        found = accounts[site, user] = Account(site=site, department=user)
    return found


def _add_share(account: Account, row: EnergyHour, figures: _RowFigures, share: float) -> None:
    kwh = row.it_joules * share / JOULES_PER_KWH
    account.it_kwh += kwh
    _add_up(account.it_kwh_by_origin, {row.origin: kwh})
    whole = figures.facility_kwh
    if whole is not None:
        account.facility_kwh += whole * share
        account.it_kwh_with_pue += kwh
        _add_up(account.it_kwh_by_pue_origin, {row.pue_origin: kwh})
    account.location.add(figures.location, kwh=kwh, share=share)
    account.market.add(figures.market, kwh=kwh, share=share)
    cny = figures.cny
    if cny is None:
        account.kwh_without_price += kwh
    else:
        account.cny += cny * share
    litres = water_litres(kwh, row.wue_litres_per_kwh)
    if litres is None:
        account.kwh_without_wue += kwh
    else:
        account.litres += litres
    if row.embodied_grams is not None:
        account.embodied_kgco2e += row.embodied_grams * share / GRAMS_PER_KILOGRAM
        account.embodied_hours += row.seconds * share / SECONDS_PER_HOUR


def _add_peak(
    accounts: dict[tuple[str, str], Account], site: str, rows: Sequence[EnergyHour]
) -> None:
    peak = peak_cost(rows)
    for user, share in peak.shares.items() if peak.cny is not None else ():
        accounts[site, user].cny += (peak.cny or 0.0) * share


def _add_up(into: dict[Origin, float], values: dict[Origin, float]) -> None:
    for origin, kwh in values.items():
        into[origin] = into.get(origin, 0.0) + kwh
