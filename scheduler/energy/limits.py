"""Which limits of an authority are in force, and whether a site keeps to them.

A limit has dates, so a list holds the steps by which it tightens: from a day on the stricter one
counts. What a site must keep to is the strictest limit in force for its tier. A figure that is not
known keeps to no limit, because unknown is never green.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from scheduler.energy.site_supply import Figure, pue_of, renewable_share_of, wue_of
from scheduler.model.kinds.energy import EnergyLimit, EnergyMeasure, EnergyMeasurement
from scheduler.model.kinds.site import SiteEnergy
from scheduler.model.words.sentence import Message, Sentence, joined

_TITLES: dict[EnergyMeasure, Message] = {
    "pue": Message("energy-limit.pue", "PUE"),
    "wue": Message("energy-limit.wue", "WUE in L/kWh"),
    "renewable-share": Message("energy-limit.renewable-share", "renewable share"),
}
_UNKNOWN = Message("energy-limit.unknown", "the {measure:said} of {site} is unknown")
_MEASURED = Message(
    "energy-limit.measured", "{site} has a {measure:said} of {value:g} (measured by {by:raw})"
)
_DECLARED = Message("energy-limit.declared", "{site} has a {measure:said} of {value:g} (declared)")
_AT_LEAST = Message(
    "energy-limit.at-least", "; at least {limit:g} is asked of {tier} sites{more:parts}"
)
_AT_MOST = Message(
    "energy-limit.at-most", "; at most {limit:g} is asked of {tier} sites{more:parts}"
)
_SINCE = Message("energy-limit.since", " since {since:at}")
_DOCUMENT = Message("energy-limit.document", " ({document:raw})")
_LOWER_LIMITS: frozenset[EnergyMeasure] = frozenset({"renewable-share"})


@dataclass(frozen=True, slots=True)
class LimitVerdict:
    """One limit, the figure of a site, and whether it keeps to it."""

    limit: EnergyLimit
    figure: Figure
    is_kept: bool


def limits_in_force(limits: Iterable[EnergyLimit], now_seconds: float) -> tuple[EnergyLimit, ...]:
    """The limits that are in force at a time, in seconds since 1970."""
    return tuple(
        one
        for one in limits
        if (one.from_ is None or one.from_.timestamp() <= now_seconds)
        and (one.until is None or now_seconds < one.until.timestamp())
    )


def limit_boundaries(limits: Iterable[EnergyLimit]) -> list[datetime]:
    """The instants at which limits begin or end."""
    return sorted({at for one in limits for at in (one.from_, one.until) if at is not None})


def verdicts_of(
    energy: SiteEnergy,
    tier: str,
    in_force: Sequence[EnergyLimit],
    inspected: Sequence[EnergyMeasurement] = (),
) -> list[LimitVerdict]:
    """The strictest limit of each measure for a site, and whether it keeps to it.

    Args:
        energy: the site's supply.
        tier: its class.
        in_force: limits that are in force now.
        inspected: what the authority had measured there.
    """
    strictest: dict[EnergyMeasure, EnergyLimit] = {}
    for one in in_force:
        if one.tiers and tier not in one.tiers:
            continue
        known = strictest.get(one.measure)
        if known is None or _is_stricter(one, known):
            strictest[one.measure] = one
    return [
        _verdict(_figure_of(energy, measure, inspected), strictest[measure])
        for measure in _TITLES
        if measure in strictest
    ]


def first_broken(
    energy: SiteEnergy,
    tier: str,
    in_force: Sequence[EnergyLimit],
    inspected: Sequence[EnergyMeasurement] = (),
) -> LimitVerdict | None:
    """The first limit that a site does not keep to; None: it keeps to all."""
    verdicts = verdicts_of(energy, tier, in_force, inspected)
    return next((one for one in verdicts if not one.is_kept), None)


def limit_sentence(site: str, tier: str, verdict: LimitVerdict) -> Sentence:
    """What a site has, what is asked of it, and since when, for people."""
    limit, figure = verdict.limit, verdict.figure
    measure = _TITLES[limit.measure]()
    if figure.value is None:
        has = _UNKNOWN(site=site, measure=measure)
    elif figure.by and figure.origin == "measured":
        has = _MEASURED(site=site, measure=measure, value=figure.value, by=figure.by)
    else:
        has = _DECLARED(site=site, measure=measure, value=figure.value)
    asked = _AT_LEAST if limit.measure in _LOWER_LIMITS else _AT_MOST
    since = (_SINCE(since=limit.from_),) if limit.from_ else ()
    document = (_DOCUMENT(document=limit.document),) if limit.document else ()
    return joined(has, asked(limit=limit.limit, tier=tier, more=(*since, *document)))


def _figure_of(
    energy: SiteEnergy, measure: EnergyMeasure, inspected: Sequence[EnergyMeasurement]
) -> Figure:
    if measure == "pue":
        return pue_of(energy, inspected=inspected)
    if measure == "wue":
        return wue_of(energy, inspected)
    return renewable_share_of(energy, inspected)


def _verdict(figure: Figure, limit: EnergyLimit) -> LimitVerdict:
    value = figure.value
    if value is None:
        return LimitVerdict(limit, figure, is_kept=False)
    if limit.measure in _LOWER_LIMITS:
        return LimitVerdict(limit, figure, is_kept=value >= limit.limit)
    return LimitVerdict(limit, figure, is_kept=value <= limit.limit)


def _is_stricter(one: EnergyLimit, other: EnergyLimit) -> bool:
    if one.measure in _LOWER_LIMITS:
        return one.limit > other.limit
    return one.limit < other.limit
