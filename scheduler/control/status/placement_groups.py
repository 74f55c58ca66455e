"""`Workload.status.placement.groups` out of shares, and the conditions that they mean. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from scheduler.control.status.migration import Health, SiteShare
from scheduler.model.decision import Decision
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import GroupPhase, PlacementGroup

_MAX_NAMED = 6


class _GroupValues(NamedTuple):
    """What sites of one entry have in common."""

    replicas: int
    generation: int
    phase: GroupPhase
    violates: str
    replaced_by: tuple[str, ...]
    since: datetime | None


def groups_of(
    before: Iterable[PlacementGroup],
    shares: Mapping[str, SiteShare],
    healths: Mapping[str, Health] | None,
    now: datetime,
) -> tuple[PlacementGroup, ...]:
    """Sites with equal values share an entry; `since` is when that entry's values began.

    Args:
        before: the entries until now.
        shares: what they shall say.
        healths: of sites that are to stay; None when no site was heard since `before`.
        now: for values that are new.
    """
    known = {(site, one.phase == "Withdrawing"): one for one in before for site in one.sites}
    gathered: dict[_GroupValues, list[str]] = {}
    for site, share in sorted(shares.items()):
        if share.replicas:
            old = known.get((site, False))
            phase = _group_phase(share, old, None if healths is None else healths[site])
            values = _group_values(share.replicas, share, phase, old, now)
            gathered.setdefault(values, []).append(site)
        if share.leaving:
            old = known.get((site, True))
            values = _group_values(share.leaving, share, "Withdrawing", old, now)
            gathered.setdefault(values, []).append(site)
    return tuple(
        PlacementGroup(sites=tuple(sites), **_as_fields(values))
        for values, sites in gathered.items()
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
    return _GroupValues(replicas, share.generation, phase, share.violates, replaced_by, since)


def _as_fields(values: _GroupValues) -> dict[str, Any]:
    return values._asdict()


def _group_phase(share: SiteShare, old: PlacementGroup | None, health: Health | None) -> GroupPhase:
    """Running from the first time that it ran; a new generation starts anew."""
    if health in ("running", "finished"):
        return "Running"
    ran = old is not None and old.phase == "Running" and old.generation == share.generation
    return "Running" if ran else "Placing"


def moving_condition(shares: Mapping[str, SiteShare]) -> Condition | None:
    """The condition of a workload that runs on somewhere until its replacement runs."""
    leaving = {site: one for site, one in shares.items() if one.leaving}
    if not leaving:
        return None
    held = _format_names(f"{site} ({one.leaving})" for site, one in leaving.items())
    awaited = sorted({site for one in leaving.values() for site in one.replaced_by})
    runs = _format_names(f"{site} ({shares[site].replicas})" for site in awaited if site in shares)
    return Condition(
        type="Moving",
        status="True",
        reason="WaitsForReplacement",
        message=f"{held} runs on until {runs or 'a replacement'} runs",
    )


def evicted_condition(decision: Decision) -> Condition:
    """The condition of a workload that was ended somewhere; until all of it runs again."""
    told = _format_names(f"{site} ({why})" for site, why in decision.ended_by.items())
    return Condition(
        type="Evicted", status="True", reason="EndedAtOnce", message=f"ended at {told}"
    )


def violation_condition(shares: Mapping[str, SiteShare]) -> Condition | None:
    """The condition of a workload that runs where it has no right to."""
    broken = {site: one for site, one in shares.items() if one.violates}
    if not broken:
        return None
    reasons = {one.violates for one in broken.values()}
    told = _format_names(f"{site} ({one.violates})" for site, one in broken.items())
    leaves = all(one.is_withdrawing for one in broken.values())
    ending = "runs on only until its replacement runs" if leaves else "stays"
    return Condition(
        type="Violation",
        status="True",
        reason=_camel_case(reasons.pop()) if len(reasons) == 1 else "SeveralRights",
        message=f"what runs at {told} breaks a right there, and {ending}",
    )


def _format_names(names: Iterable[str]) -> str:
    words = sorted(names)
    more = len(words) - _MAX_NAMED
    return ", ".join(words[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _camel_case(slug: str) -> str:
    return "".join(part.capitalize() for part in slug.split("-"))
