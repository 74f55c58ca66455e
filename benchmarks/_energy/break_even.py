"""From which evidenced green share on a cluster emits less than Shaoguan, by decisions.

The product decides between Shaoguan and one cluster by carbon alone, while the cluster's supply is
taken to be greener and greener; the share at which the decision turns is found by halving. It must
be 1 - EF_Shaoguan * PUE_Shaoguan / (EF * PUE).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from benchmarks._energy.hubs import HubSite, facts_of, fleet_of
from scheduler.energy.accounts.ledgers import market_factor
from scheduler.energy.factors.official_china import official_factor
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.site import NodeClass
from scheduler.placement.choose import choose
from scheduler.placement.public import demand_from_spec

_AGAINST = "shaoguan"
_YEAR = 2023
_NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)
_HALVINGS = 14
_TOLERANCE = 0.005
_BY_CARBON = Terms(
    carbon_cny_per_kg=1.0, fallback_core_cny_per_hour=0.0, fallback_energy_cny_per_kwh=0.0
)
PUBLISHED = {"guian": 0.19, "zhongwei": 0.26, "horinger": 0.29}


@dataclass(frozen=True, slots=True)
class BreakEven:
    """A cluster's share, as decided and by the formula; 0: it emits less without any."""

    cluster: str
    decided: float
    formula: float


def least_green_shares(sites: Sequence[HubSite]) -> list[BreakEven]:
    """The break-even share of each cluster outside Guangdong.

    Raises:
        ValueError: a decided share is not that of the formula.
    """
    base = next(site for site in sites if site.name == _AGAINST)
    demand = demand_from_spec(
        "guangzhou/one",
        {"dataClass": "general-1", "demand": {"requests": {"cpu": "8", "memory": "16Gi"}}},
    )
    found = []
    for site in sites:
        if (
            site.jurisdiction == base.jurisdiction
            or official_factor(site.jurisdiction, year=_YEAR) is None
        ):
            continue
        least = BreakEven(site.name, _decided(demand, base, site), _formula(base, site))
        if abs(least.decided - least.formula) > _TOLERANCE:
            raise ValueError(
                f"{site.name}: decided {least.decided:.4f}, formula {least.formula:.4f}"
            )
        found.append(least)
    return found


def break_even_rows(shares: Sequence[BreakEven]) -> list[dict[str, object]]:
    """One row a cluster.

    Raises:
        ValueError: one of the published shares is missed by more than half a point.
    """
    for each in shares:
        published = PUBLISHED.get(each.cluster)
        if published is not None and abs(each.decided - published) > _TOLERANCE:
            raise ValueError(f"{each.cluster}: {each.decided:.4f}, published {published:.2f}")
    return [
        {
            "policy": "break-even",
            "cluster": each.cluster,
            "green_share": round(each.decided, 4),
            "formula": round(each.formula, 4),
        }
        for each in shares
    ]


def _decided(demand: Demand, base: HubSite, site: HubSite) -> float:
    low, high = 0.0, 1.0
    if _prefers(demand, base, site, low):
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _prefers(demand, base, site, middle) else (middle, high)
    return high


def _prefers(demand: Demand, base: HubSite, site: HubSite, share: float) -> bool:
    """Whether the decision takes the cluster, with this share of its supply evidenced as green."""
    grid = official_factor(site.jurisdiction, year=_YEAR)
    supply = market_factor(share, "green certificates", grid)
    grams = None if supply is None else supply.gco2_per_kwh
    room = (
        NodeClass(
            architecture="amd64", free=({"count": 4, "cpu": "16", "memory": "64Gi", "pods": 110},)
        ),
    )
    facts = [facts_of(base, _NOW), facts_of(site, _NOW, gco2_per_kwh=grams)]
    fleet = fleet_of(
        msgspec.structs.replace(
            each, status=msgspec.structs.replace(each.status, node_classes=room)
        )
        for each in facts
    )
    decision = choose(demand, fleet, now=_NOW, terms=_BY_CARBON)
    return [each.site for each in decision.assignment] == [site.name]


def _formula(base: HubSite, site: HubSite) -> float:
    ours, theirs = (official_factor(each.jurisdiction, year=_YEAR) for each in (base, site))
    if ours is None or theirs is None:
        raise ValueError(f"{site.name}: no official factor")
    least = 1 - ours.gco2_per_kwh * base.pue / (theirs.gco2_per_kwh * site.pue)
    return max(0.0, least)
