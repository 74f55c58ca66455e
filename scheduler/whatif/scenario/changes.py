"""The changes that a scenario consists of, as values that can be sent to another process."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.kinds import ClusterPlacementPolicy, PlacementPolicy, SiteGrant

MAX_CHANGES = 64
MAX_COPIES = 1_000
MAX_LOAD = 100.0
MAX_PRICE = 1e6
MAX_GRAMS_PER_KWH = 10_000.0
MAX_KILOWATTS = 1e6
MAX_SHED_HOURS = 168.0

Text = Annotated[str, Meta(min_length=1, max_length=253)]
LossKind = Literal["site", "province", "city", "provider"]


class DrainSite(msgspec.Struct, frozen=True, tag="drain"):
    """A site is emptied: it takes nothing new, and what runs there moves away."""

    site: Text


class LoseSites(msgspec.Struct, frozen=True, tag="lose"):
    """Sites are silent for good: one by its name, or all of a province, a city or a provider."""

    kind: LossKind
    value: Text


class LoseBroker(msgspec.Struct, frozen=True, tag="lose-broker"):
    """The hub reaches no site. The sites run on by the orders that they have."""


class AddCopies(msgspec.Struct, frozen=True, tag="add-copies"):
    """Empty sites that are like one that exists."""

    site: Text
    copies: Annotated[int, Meta(ge=1, le=MAX_COPIES)]


class AddSites(msgspec.Struct, frozen=True, tag="add-sites"):
    """New sites, as their reports and grants would be."""

    facts: Annotated[tuple[SiteFacts, ...], Meta(min_length=1, max_length=MAX_COPIES)]


class ChangeGrants(msgspec.Struct, frozen=True, tag="grant"):
    """Grants that are added, or that replace those of the same names."""

    grants: Annotated[tuple[SiteGrant, ...], Meta(min_length=1)]


class ChangePolicies(msgspec.Struct, frozen=True, tag="policy"):
    """Policies that are added, or that replace those of the same names."""

    policies: tuple[PlacementPolicy, ...] = ()
    cluster_policies: tuple[ClusterPlacementPolicy, ...] = ()


class ChangePrice(msgspec.Struct, frozen=True, tag="price"):
    """A price of the scheduler, or of all sites or one of them.

    Attributes:
        key: as in `PRICE_KEYS`.
        value: the new price.
        site: the site; empty: all of them.
    """

    key: Text
    value: Annotated[float, Meta(ge=-MAX_PRICE, le=MAX_PRICE)]
    site: Annotated[str, Meta(max_length=253)] = ""


class ChangeIntensity(msgspec.Struct, frozen=True, tag="intensity"):
    """The carbon intensity of a grid zone, at all its sites."""

    zone: Text
    gco2_per_kwh: Annotated[float, Meta(ge=0, le=MAX_GRAMS_PER_KWH)]


class ScaleLoad(msgspec.Struct, frozen=True, tag="load"):
    """Every workload has this many times its replicas, rounded up."""

    factor: Annotated[float, Meta(gt=0, le=MAX_LOAD)]


class MakeChange(msgspec.Struct, frozen=True, tag="fix"):
    """The smallest change that lets a workload be placed, as `kapok explain` suggests it.

    Attributes:
        workload: `namespace/name`.
        kind: of the change; empty: the first one.
        target: of the change.
        becomes: its new value, where work of lower priority is to give way.
    """

    workload: Annotated[str, Meta(min_length=3, max_length=507)]
    kind: Annotated[str, Meta(max_length=1000)] = ""
    target: Annotated[str, Meta(max_length=4000)] = ""
    becomes: Annotated[str, Meta(max_length=1000)] = ""


class ShedPower(msgspec.Struct, frozen=True, tag="grid"):
    """A grid asks a site, or all sites of a grid zone, to draw less from now on for some hours.

    Attributes:
        kind: whether it is about a site or a zone.
        place: the name of either.
        kilowatts: how much less; None: `ratio` says it.
        ratio: how much less, of what the sites draw now; None: `kilowatts` says it.
        hours: for how long.
    """

    kind: Literal["site", "zone"]
    place: Text
    kilowatts: Annotated[float, Meta(gt=0, le=MAX_KILOWATTS)] | None = None
    ratio: Annotated[float, Meta(gt=0, le=1)] | None = None
    hours: Annotated[float, Meta(gt=0, le=MAX_SHED_HOURS)] = 1.0

    @property
    def text(self) -> str:
        """The site or zone, as it is written in a scenario."""
        return self.place if self.kind == "site" else f"zone:{self.place}"


class ThawEvictions(msgspec.Struct, frozen=True, tag="thaw"):
    """An operator ends the freeze that a large loss brings."""


Change = (
    DrainSite
    | LoseSites
    | LoseBroker
    | AddCopies
    | AddSites
    | ChangeGrants
    | ChangePolicies
    | ChangePrice
    | ChangeIntensity
    | ScaleLoad
    | MakeChange
    | ShedPower
    | ThawEvictions
)
Changes = Annotated[tuple[Change, ...], Meta(min_length=1, max_length=MAX_CHANGES)]

SITE_PRICE_KEYS = {
    "energyCnyPerKwh": "energy_cny_per_kwh",
    "coreCnyPerHour": "core_cny_per_hour",
}
"""Prices of sites, as in `Site.spec.prices`, with their fields."""
TERM_PRICE_KEYS = {
    "carbonCnyPerKg": "carbon_cny_per_kg",
    "latencyCnyPerMillisecondHour": "latency_cny_per_millisecond_hour",
    "waitingCnyPerHour": "waiting_cny_per_hour",
    "movingCnyPerGibibyte": "moving_cny_per_gibibyte",
    "valueCnyPerReplicaHour": "value_cny_per_replica_hour",
}
"""Prices of the scheduler, as in `spec.prices` of a placement, with their fields in the terms."""
PRICE_KEYS = (*TERM_PRICE_KEYS, *SITE_PRICE_KEYS)


class ScenarioError(ValueError):
    """The scenario says nothing that can be asked; the message names it and the way out."""


class ContradictingChanges(ScenarioError):
    """Two changes of a scenario cannot both be meant; the message names them."""
