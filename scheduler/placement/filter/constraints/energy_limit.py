"""New work goes only to sites that keep to the authority's energy limits in force on the day.

The limits stand in the DataClassScheme with their dates. What runs at a site already stays there
when a limit tightens, and is reported as not meeting this rule (`required_rules.py`).
"""

from collections.abc import Hashable

import numpy as np
from msgspec.structs import replace

from scheduler.energy.limits import (
    LimitVerdict,
    first_broken,
    limit_sentence,
    limits_in_force,
    verdicts_of,
)
from scheduler.energy.site_supply import inspected_at
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.energy import EnergyLimit, EnergyMeasurement
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_site
from scheduler.placement.filter.rules import NEVER_CACHED, BoolPerSite, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_YAML_NAMES = {"pue": "energy.pue", "wue": "energy.wueLitresPerKwh"}
_SHARE = "energy.measurements"


_NONE = Message("energy-limit.none", "no energy limit is in force for {tier} sites such as {site}")
_KEPT = Message("energy-limit.kept", "{limits:then}")
_MAX_ANSWERS = 8


class EnergyLimitsCache:
    """Which sites keep to the limits in force.

    Attributes:
        answers: by these limits, an array that is never written again; [slot_capacity].
        version: the `Fleet.description_columns.version` that they hold for.
    """

    def __init__(self) -> None:
        self.answers: dict[tuple[EnergyLimit, ...], BoolPerSite] = {}
        self.version = -1


def _keeping_sites(fleet: Fleet, in_force: tuple[EnergyLimit, ...]) -> BoolPerSite:
    """Which sites keep to these limits: the very same array for as long as that holds."""
    cache, version = fleet.cache(EnergyLimitsCache), fleet.description_columns.version
    if cache.version != version or len(cache.answers) > _MAX_ANSWERS:
        cache.answers, cache.version = {}, version
    found = cache.answers.get(in_force)
    if found is None or len(found) != fleet.slot_capacity:
        column = fleet.description_column(
            ("energy-limit", in_force),
            lambda facts: _first_broken(facts, in_force) is None,
            np.bool_,
        )
        found = cache.answers[in_force] = column.copy()
    return found


class WithinEnergyLimits:
    """A site must keep to the strictest limit in force for its tier; unknown keeps to none."""

    reason: Reason = "energy-limit"
    wake_events: frozenset[WakeEvent] = frozenset({"scheme", "site", "time"})

    def cache_key(self, demand: Demand) -> Hashable:
        """Not cached: which limits are in force depends on the time."""
        del demand
        return NEVER_CACHED

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Judges all sites by the limits in force; mostly there are none."""
        in_force = limits_in_force(demand.energy_limits, context.now_seconds)
        if not in_force:
            return fleet.has_site
        return _keeping_sites(fleet, in_force)

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the figure, who measured it, the limit and its date."""
        tier = facts.spec.tier
        in_force = limits_in_force(demand.energy_limits, context.now_seconds)
        broken = _first_broken(facts, in_force)
        if broken is not None:
            return limit_sentence(facts.name, tier, broken)
        kept = verdicts_of(facts.spec.energy, tier, in_force, _inspected(facts))
        if not kept:
            return _NONE(tier=tier, site=facts.name)
        return _KEPT(limits=tuple(limit_sentence(facts.name, tier, one) for one in kept))

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a measurement that keeps to each broken limit; None: the authority measured."""
        in_force = limits_in_force(refused.demand.energy_limits, refused.context.now_seconds)
        facts: SiteFacts | None = refused.facts
        first = broken = _first_broken(refused.facts, in_force)
        while broken is not None and facts is not None:
            facts = _with_measurement(facts, broken, refused)
            broken = None if facts is None else _first_broken(facts, in_force)
        if first is None or facts is None:
            return None
        was = "" if first.figure.value is None else f"{first.figure.value:g}"
        field = _YAML_NAMES.get(first.limit.measure, _SHARE)
        return change_site(field, was, f"{first.limit.limit:g}", facts)


def _inspected(facts: SiteFacts) -> tuple[EnergyMeasurement, ...]:
    return inspected_at(facts.name, (grant.spec for grant in facts.grants))


def _first_broken(facts: SiteFacts, in_force: tuple[EnergyLimit, ...]) -> LimitVerdict | None:
    return first_broken(facts.spec.energy, facts.spec.tier, in_force, _inspected(facts))


def _with_measurement(
    facts: SiteFacts, broken: LimitVerdict, refused: RefusedSite
) -> SiteFacts | None:
    """The site with a measurement that keeps to the limit; None: the authority's own counts."""
    measure = broken.limit.measure
    if any(one.measure == measure for one in _inspected(facts)):
        return None
    measured = EnergyMeasurement(
        measure=measure,
        value=broken.limit.limit,
        measured_by="a measurement to be made",
        observed_at=refused.context.now,
    )
    others = tuple(one for one in facts.spec.energy.measurements if one.measure != measure)
    energy = replace(facts.spec.energy, measurements=(*others, measured))
    return replace(facts, spec=replace(facts.spec, energy=energy))


RULE = WithinEnergyLimits()
