"""The sites of the national hubs and of Guangdong's cities, as decisions see them.

PUE of a cluster is the limit that it was approved with, that of a city's rooms is assumed; rights
are drawn up here, as no public list of grants exists. Factors are those of the official
announcements; for Hong Kong and Macao none is published, so they stay unknown.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path

from scheduler.energy.factors.official_china import official_factor
from scheduler.model.demand.facts import SiteFacts, site_facts_of
from scheduler.model.jurisdictions import is_province
from scheduler.model.kinds.fields import DataClass
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.rights import SiteGrant, SiteGrantSpec
from scheduler.model.kinds.site import (
    Intensity,
    Location,
    Rtt,
    Site,
    SiteEnergy,
    SiteSpec,
    SiteStatus,
)
from scheduler.placement.fleet.fleet import Fleet

INPUT = "factors: official, yearly, direct (MEE); PUE: assumed (limits of approval); RTT: modelled"
JURISDICTION_OF_HOME = "CN-GD"
_YEAR = 2023
_FOLDER = "china-hubs"
_CITY_PUE = 1.5
_HIGHEST_PUE = 10.0
_SPECIAL = {"香港": "HK", "澳门": "MO"}
_CLUSTER_WEIGHT, _SHAOGUAN_WEIGHT, _CITY_WEIGHT = 3, 6, 1
"""How many of each 56 machines a site has: a third of all is in the cities."""


@dataclass(frozen=True, slots=True)
class HubSite:
    """A site of the experiment.

    Attributes:
        name: its name.
        jurisdiction: code of the province, or HK, MO.
        pue: facility over IT power.
        rtt_ms: modelled round trip from Guangzhou; None: unknown.
        data_class: the highest class that its grant allows.
        level: the level that it is certified for.
        weight: its share of the machines.
        is_west: whether it is a cluster of the west.
    """

    name: str
    jurisdiction: str
    pue: float
    rtt_ms: float | None
    data_class: DataClass
    level: int
    weight: int
    is_west: bool = False


def read_hub_sites(data: Path) -> list[HubSite]:
    """The ten clusters, then the cities.

    Raises:
        FileNotFoundError: there is no such data set.
        ValueError: a line has no province, a PUE below 1, or a round trip that is no number.
    """
    rtt = _round_trips(data)
    clusters = [_cluster(row, rtt) for row in _read(data, "hubs.csv")]
    cities = [
        _city(number, row)
        for number, row in enumerate(_read(data, "guangdong_gba_cities.csv"), start=1)
    ]
    return [*clusters, *cities]


def facts_of(site: HubSite, now: datetime, *, gco2_per_kwh: float | None = None) -> SiteFacts:
    """What a decision knows of a site, without machines.

    Args:
        site: the site.
        now: when it reported.
        gco2_per_kwh: its intensity; None: by the official factor, if there is one.
    """
    factor = official_factor(site.jurisdiction, year=_YEAR)
    grams = factor.gco2_per_kwh if gco2_per_kwh is None and factor else gco2_per_kwh
    rtt = () if site.rtt_ms is None else (_rtt(site.rtt_ms),)
    energy = SiteEnergy(grid_zone=site.jurisdiction, pue=site.pue, pue_origin="assumed")
    spec = SiteSpec(location=Location(province=site.jurisdiction), energy=energy)
    intensity = (
        None if grams is None else Intensity(gco2_per_kwh=grams, origin="yearly", observed_at=now)
    )
    status = SiteStatus(observed_at=now, executor=True, rtt=rtt, intensity=intensity)
    grant = SiteGrantSpec(
        sites=(site.name,),
        data_class=site.data_class,
        protection_level=site.level,
        network_zones=("public-network",),
        jurisdiction=site.jurisdiction,
    )
    return site_facts_of(
        Site(metadata=Metadata(name=site.name), spec=spec, status=status),
        [SiteGrant(metadata=Metadata(name=f"grant-{site.name}"), spec=grant)],
    )


def fleet_of(facts: Iterable[SiteFacts]) -> Fleet:
    """A fleet of these sites."""
    fleet = Fleet()
    for each in facts:
        fleet.upsert(each)
    return fleet


def _rtt(milliseconds: float) -> Rtt:
    return Rtt(to="guangzhou", milliseconds=milliseconds, origin="modelled")


def _cluster(row: dict[str, str], rtt: dict[str, float]) -> HubSite:
    name, code = row["cluster_id"], row["iso"]
    if not is_province(code):
        raise ValueError(f"hubs.csv, {name}: {code} is no province")
    in_guangdong = code == JURISDICTION_OF_HOME
    return HubSite(
        name=name,
        jurisdiction=code,
        pue=_pue(row["pue_limit_2022_approval"], name),
        rtt_ms=rtt.get(name),
        data_class="general-4" if in_guangdong else "general-3",
        level=3,
        weight=_SHAOGUAN_WEIGHT if in_guangdong else _CLUSTER_WEIGHT,
        is_west=row["hub_class"].startswith("west"),
    )


def _city(number: int, row: dict[str, str]) -> HubSite:
    code = _SPECIAL.get(row["city_zh"], JURISDICTION_OF_HOME)
    return HubSite(
        name=f"city-{number:02d}",
        jurisdiction=code,
        pue=_CITY_PUE,
        rtt_ms=_milliseconds(row["rtt_planning_2x_plus_1ms"], row["city_zh"]),
        data_class="general-4" if code == JURISDICTION_OF_HOME else "general-2",
        level=3 if number % 2 else 2,
        weight=_CITY_WEIGHT,
    )


def _round_trips(data: Path) -> dict[str, float]:
    """From Guangzhou to each cluster."""
    for row in _read(data, "rtt_model_matrix_ms.csv"):
        if row["from\\to"] == "guangzhou":
            return {
                name: _milliseconds(text, name) for name, text in row.items() if name != "from\\to"
            }
    raise ValueError("rtt_model_matrix_ms.csv: no row of guangzhou")


def _milliseconds(text: str, name: str) -> float:
    value = _number(text)
    if not 0 <= value < 1e6:  # noqa: PLR2004 - NaN fails, too
        raise ValueError(f"{_FOLDER}, {name}: a round trip of {text!r} ms")
    return value


def _pue(text: str, name: str) -> float:
    value = _number(text)
    if not 1 <= value <= _HIGHEST_PUE:
        raise ValueError(f"hubs.csv, {name}: a PUE of {text!r}; it is from 1 to {_HIGHEST_PUE:g}")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return -1.0
    return value if isfinite(value) else -1.0


def _read(data: Path, name: str) -> Sequence[dict[str, str]]:
    with (data / _FOLDER / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))
