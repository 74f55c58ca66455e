"""Merges the placements of a policy and a workload, and expands presets."""

import msgspec

from scheduler.model.kinds.fields import LabelSelector, Requirement
from scheduler.model.kinds.policy import Placement, PresetOptions, PriceList, Spread


def merge_placements(policy: Placement, own: Placement) -> Placement:
    """Merges two placements: single values of `own` win, hard rules of both add up."""
    return Placement(
        preset=own.preset or policy.preset,
        preset_options=own.preset_options
        if own.preset_options != PresetOptions()
        else policy.preset_options,
        strategy=own.strategy or policy.strategy,
        mode=own.mode or policy.mode,
        weights=own.weights or policy.weights,
        gang=policy.gang if own.gang is None else own.gang,
        identity=own.identity or policy.identity,
        site_selector=_merge_selectors(policy.site_selector, own.site_selector),
        site_tolerations=policy.site_tolerations + own.site_tolerations,
        site_groups=own.site_groups or policy.site_groups,
        spread=policy.spread + own.spread,
        latency=policy.latency + own.latency,
        affinity=policy.affinity + own.affinity,
        cpu_vendors=own.cpu_vendors or policy.cpu_vendors,
        prices=_merge_prices(policy.prices, own.prices),
        data=own.data or policy.data,
        on_violation=own.on_violation or policy.on_violation,
    )


def _merge_selectors(one: LabelSelector, other: LabelSelector) -> LabelSelector:
    clash = {
        key
        for key, value in one.match_labels.items()
        if other.match_labels.get(key, value) != value
    }
    expressions = one.match_expressions + other.match_expressions
    if clash:  # both values of the label are required; nothing matches, and a check reports it
        expressions += tuple(_label_equals(key, one.match_labels[key]) for key in sorted(clash))
    return LabelSelector(
        match_labels={**one.match_labels, **other.match_labels}, match_expressions=expressions
    )


def _label_equals(key: str, value: str) -> Requirement:
    return Requirement(key=key, operator="In", values=(value,))


def _merge_prices(policy: PriceList, own: PriceList) -> PriceList:
    given = {
        name: getattr(own, name)
        for name in PriceList.__struct_fields__
        if getattr(own, name) is not None
    }
    return msgspec.structs.replace(policy, **given)


def expand_preset(placement: Placement) -> Placement:
    """Replaces a preset by the fields that it stands for; fields that are set take precedence.

    `two-places-three-centres` (两地三中心) stays a preset: the decision sizes its standby.
    """
    match placement.preset:
        case "edge-everywhere":
            edge = LabelSelector(match_labels={"kapok.dev/tier": "edge"})
            return msgspec.structs.replace(
                placement,
                strategy=placement.strategy or "Duplicated",
                site_selector=_merge_selectors(edge, placement.site_selector),
            )
        case "green-batch":
            green = PriceList(carbon_cny_per_kg=1.0)
            return msgspec.structs.replace(
                placement,
                strategy=placement.strategy or "CostOptimal",
                prices=_merge_prices(green, placement.prices),
            )
        case "same-city-active-active":
            return _with_spread_first(
                placement,
                Spread(by="city", max_groups=1),
                Spread(by="site", min_groups=2, max_groups=2),
            )
        case "two-places-three-centres":
            return msgspec.structs.replace(placement, strategy=placement.strategy or "Balanced")
        case None:
            return placement


def _with_spread_first(placement: Placement, *spread: Spread) -> Placement:
    return msgspec.structs.replace(
        placement,
        strategy=placement.strategy or "Balanced",
        spread=spread + placement.spread,
    )
