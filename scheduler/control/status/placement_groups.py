"""`Workload.status.placement.groups`, computed from the shares of sites. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from scheduler.control.status.migration import Health, SiteShare
from scheduler.model.kinds.workload import GroupPhase, NodePin, PlacementGroup, SiteOrdinals


class _GroupValues(NamedTuple):
    """The values that the sites of one group share; the names are fields of `PlacementGroup`."""

    replicas: int
    generation: int
    phase: GroupPhase
    violates: str
    replaced_by: tuple[str, ...]
    since: datetime | None
    completions: int | None
    ordinals: SiteOrdinals | None
    pin: NodePin | None
    former: bool


def groups_of(
    before: Iterable[PlacementGroup],
    shares: Mapping[str, SiteShare],
    healths: Mapping[str, Health] | None,
    now: datetime,
) -> tuple[PlacementGroup, ...]:
    """The groups of a status: sites with equal values form one group.

    Args:
        before: the groups until now.
        shares: the new shares, by site.
        healths: health by site, for every site with replicas that stay; None when no site has
            reported since `before`.
        now: becomes `since` of groups whose replicas, generation or phase are new.
    """
    known = {(site, one.phase == "Withdrawing"): one for one in before for site in one.sites}
    gathered: dict[_GroupValues, list[str]] = {}
    for site, share in sorted(shares.items()):
        if share.replicas or share.is_parked:
            old = known.get((site, False))
            health = None if healths is None else healths.get(site)
            phase = _group_phase(share, old, health)
            values = _group_values(share.replicas, share, phase, old, now)
            gathered.setdefault(values, []).append(site)
        if share.leaving:
            old = known.get((site, True))
            values = _group_values(share.leaving, share, "Withdrawing", old, now)
            gathered.setdefault(values, []).append(site)
    return tuple(
        PlacementGroup(sites=tuple(sites), **values._asdict()) for values, sites in gathered.items()
    )


def _group_values(
    replicas: int, share: SiteShare, phase: GroupPhase, old: PlacementGroup | None, now: datetime
) -> _GroupValues:
    same = old is not None and (old.replicas, old.generation, old.phase) == (
        replicas,
        share.generation,
        phase,
    )
    since = old.since if old and same else now.replace(microsecond=0)
    leaves = phase == "Withdrawing"
    replaced_by = share.replaced_by if leaves else ()
    return _GroupValues(
        replicas,
        share.generation,
        phase,
        share.violates,
        replaced_by,
        since,
        share.completions,
        share.ordinals,
        share.pin,
        share.is_former,
    )


def _group_phase(share: SiteShare, old: PlacementGroup | None, health: Health | None) -> GroupPhase:
    """Running from the first time that it ran; a new generation starts with Placing again."""
    if health in ("running", "finished"):
        return "Running"
    ran = old is not None and old.phase == "Running" and old.generation == share.generation
    return "Running" if ran else "Placing"
