"""Money as a ledger of its own: energy by the hour's price, and the month's highest hour.

The energy price is that of the hour (峰谷电价). The capacity price (需量电价) is paid once a month
for the highest mean power of an hour, and users share it as they shared that hour's energy: who
drew nothing then pays nothing of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from scheduler.energy.accounts.hours import EnergyHour
from scheduler.energy.accounts.ledgers import grid_kwh
from scheduler.energy.tariff import tariff_of
from scheduler.model.kinds.site import SitePrices

_CHINA_OFFSET_HOURS = 8
_HOURS = 24


@dataclass(frozen=True, slots=True)
class PeakCost:
    """What a site's highest hour of a month costs.

    Attributes:
        hour: that hour; None: no hour with a known power.
        kilowatts: mean grid power in it.
        cny: what it costs; None: the price is unknown.
        shares: the share of each user, adding up to 1.
    """

    hour: int | None = None
    kilowatts: float = 0.0
    cny: float | None = None
    shares: dict[str, float] = field(default_factory=dict)


def energy_price_in_hour(prices: SitePrices, hour: int) -> float | None:
    """CNY per kWh in an hour since 1970 UTC; tariffs are in China Standard Time; None: unknown."""
    tariff = tariff_of(prices) if prices.tariff else None
    if tariff is None:
        return prices.energy_cny_per_kwh
    return float(tariff.cny_per_kwh[(hour + _CHINA_OFFSET_HOURS) % _HOURS])


def energy_cny(row: EnergyHour) -> float | None:
    """What an hour's energy costs; None: its price or its PUE is unknown."""
    kwh = grid_kwh(row)
    if kwh is None or row.energy_cny_per_kwh is None:
        return None
    return kwh * row.energy_cny_per_kwh


def peak_cost(rows: Iterable[EnergyHour]) -> PeakCost:
    """What the highest hour of one site's month costs.

    Rows of one hour add up. An hour of which a part is not covered has the power of an hour in
    which nothing ran then: a peak is never guessed upwards.
    """
    by_hour: dict[int, list[EnergyHour]] = {}
    for row in rows:
        by_hour.setdefault(row.hour, []).append(row)
    found = PeakCost()
    for hour, parts in sorted(by_hour.items()):
        kilowatts = _mean_kilowatts(parts)
        if kilowatts is None or (found.hour is not None and kilowatts <= found.kilowatts):
            continue
        price = parts[-1].peak_cny_per_kilowatt_month
        cny = None if price is None else price * kilowatts
        found = PeakCost(hour, kilowatts, cny, _shares_of(parts))
    return found


def _mean_kilowatts(parts: list[EnergyHour]) -> float | None:
    kwh = [grid_kwh(one) for one in parts]
    known = [one for one in kwh if one is not None]
    return sum(known) if known and len(known) == len(kwh) else None


def _shares_of(parts: list[EnergyHour]) -> dict[str, float]:
    used: dict[str, float] = {}
    for row in parts:
        for user, joules in row.users.items():
            used[user] = used.get(user, 0.0) + joules
    whole = sum(used.values())
    return {user: joules / whole for user, joules in used.items()} if whole else {}
