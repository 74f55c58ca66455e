"""`Workload.status` as a value: what a decision and what sites say make of it. Pure.

Every function takes a status and gives a new one; `reconcile` compares it with what the hub holds
and writes the difference once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from scheduler.control.hearing import OrderState
from scheduler.model.decision import Decision
from scheduler.model.demand import NotAccepted
from scheduler.model.fields import Condition
from scheduler.model.workload import (
    DecisionReference,
    PlacementGroup,
    PlacementStatus,
    SiteHealth,
    WorkloadStatus,
)

ConditionStatus = Literal["True", "False", "Unknown"]
_LONGEST_TEXT = 1024
_MOST_EXCEPTIONS = 64
_MOST_SITES_SHOWN = 6
_BAD_PHASES = frozenset({"Failed", "Conflict", "Refused"})


@dataclass(frozen=True, slots=True)
class Share:
    """What one site runs of a workload.

    Attributes:
        replicas: the site's share.
        generation: of the order that says so.
        is_withdrawing: it runs on until its replacement runs.
    """

    replicas: int
    generation: int
    is_withdrawing: bool = False


@dataclass(frozen=True, slots=True)
class SiteView:
    """What is known of a share.

    Attributes:
        state: the site's word; None when it said nothing about the order.
        is_silent: the site does not report, so whatever it said is old.
    """

    state: OrderState | None
    is_silent: bool


def shares_of(status: WorkloadStatus) -> dict[str, Share]:
    """Site → share, out of the groups."""
    return {
        site: Share(group.replicas, group.generation, group.phase == "Withdrawing")
        for group in status.placement.groups
        for site in group.sites
    }


def with_decision(
    status: WorkloadStatus,
    decision: Decision,
    reference: DecisionReference,
    *,
    is_new_content: bool,
    known_sites: Iterable[str],
    now: datetime,
) -> WorkloadStatus:
    """The status after a decision.

    Args:
        status: before.
        decision: what was decided.
        reference: its record.
        is_new_content: the manifests changed, so that every order is a new generation.
        known_sites: sites that still exist; a share at another one is dropped.
        now: for `since`.
    """
    shares = _next_shares(status, decision, is_new_content=is_new_content, known=set(known_sites))
    generation = max((one.generation for one in shares.values()), default=0)
    groups = _groups(status, shares, now)
    placed = decision.phase == "Placed"
    condition = Condition(
        type="Placed",
        status="True" if placed else "False",
        reason=decision.phase,
        message=_clip(decision.line),
    )
    return msgspec.structs.replace(
        status,
        phase=decision.phase,
        reason="" if placed else _clip(decision.line),
        placement=PlacementStatus(
            generation=max(generation, status.placement.generation), groups=groups
        ),
        replicas=sum(one.replicas for one in shares.values() if not one.is_withdrawing),
        sites=_shown(shares),
        decision=reference,
        last_group=decision.group,
        conditions=_set(_accepted(status.conditions, now), condition, now),
    )


def with_refusal(
    status: WorkloadStatus, refusal: NotAccepted, reference: DecisionReference, now: datetime
) -> WorkloadStatus:
    """The status of a workload that cannot be decided on; what runs stays."""
    message = _clip(refusal.message)
    no = Condition(type="Accepted", status="False", reason=refusal.condition, message=message)
    return msgspec.structs.replace(
        status,
        phase="Refused" if not status.placement.groups else status.phase,
        reason=_clip(f"{refusal.reason}: {refusal.message}"),
        decision=reference,
        conditions=_set(status.conditions, no, now),
    )


def with_health(
    status: WorkloadStatus, views: Mapping[str, SiteView], now: datetime
) -> WorkloadStatus:
    """The status after what sites said; a site that is silent changes nothing but `Available`."""
    shares = shares_of(status)
    if not shares:
        return msgspec.structs.replace(status, ready=0, exceptions=())
    healths = {site: _health(shares[site], views[site]) for site in shares}
    shares = _without_replaced(shares, healths)
    healths = {site: healths[site] for site in shares}
    phase, reason = _phase(status, healths, views)
    before = {site: group for group in status.placement.groups for site in group.sites}
    marked = {site: _mark(shares[site], healths[site], before[site]) for site in shares}
    return msgspec.structs.replace(
        status,
        phase=phase,
        reason=_clip(reason or _refusal(status)),
        placement=msgspec.structs.replace(
            status.placement, groups=_groups(status, shares, now, marked)
        ),
        ready=sum(_ready(views[site]) for site in shares),
        sites=_shown(shares),
        exceptions=_exceptions(shares, views, healths),
        conditions=_set(status.conditions, _available(phase, reason, healths), now),
    )


def set_condition(
    status: WorkloadStatus, condition: Condition | None, kind: str, now: datetime
) -> WorkloadStatus:
    """Sets a condition, or with None takes the one of that kind away."""
    if condition is None:
        left = tuple(one for one in status.conditions if one.type != kind)
        return msgspec.structs.replace(status, conditions=left)
    return msgspec.structs.replace(status, conditions=_set(status.conditions, condition, now))


def merge_patch(old: Any, new: Any) -> Any:  # noqa: ANN401 - JSON
    """The RFC 7386 patch that makes `new` of `old`; {} when they are equal."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    patch: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    for key, value in new.items():
        if key not in old:
            patch[key] = value
        elif old[key] != value:
            patch[key] = merge_patch(old[key], value)
    return patch


def _next_shares(
    status: WorkloadStatus, decision: Decision, *, is_new_content: bool, known: set[str]
) -> dict[str, Share]:
    before = shares_of(status)
    generation = status.placement.generation + 1
    shares: dict[str, Share] = {}
    for one in decision.assignment:
        old = before.get(one.site)
        same = old and old.replicas == one.replicas and not old.is_withdrawing
        if old and same and not is_new_content:
            shares[one.site] = old
        elif one.replicas > 0:
            shares[one.site] = Share(one.replicas, generation)
    for site, old in before.items():
        if site not in shares and site in known and site not in decision.ended:
            shares[site] = Share(old.replicas, old.generation, is_withdrawing=True)
    return shares


def _groups(
    status: WorkloadStatus,
    shares: Mapping[str, Share],
    now: datetime,
    marked: Mapping[str, str] | None = None,
) -> tuple[PlacementGroup, ...]:
    """Sites with equal values share an entry; `since` is when that entry's values began."""
    before = {site: group for group in status.placement.groups for site in group.sites}
    runs = tuple(sorted(site for site, one in shares.items() if not one.is_withdrawing))
    gathered: dict[tuple[Any, ...], list[str]] = {}
    for site, share in sorted(shares.items()):
        phase = _group_phase(share, before.get(site), marked, site)
        old = before.get(site)
        kept = old and (old.replicas, old.generation, old.phase) == (
            share.replicas,
            share.generation,
            phase,
        )
        since = old.since if old and kept else now.replace(microsecond=0)
        values = (share.replicas, share.generation, phase, since)
        gathered.setdefault(values, []).append(site)
    return tuple(
        PlacementGroup(
            sites=tuple(sites),
            replicas=replicas,
            generation=generation,
            phase=phase,
            since=since,
            replaced_by=runs[:64] if phase == "Withdrawing" else (),
        )
        for (replicas, generation, phase, since), sites in gathered.items()
    )


def _group_phase(
    share: Share, old: PlacementGroup | None, marked: Mapping[str, str] | None, site: str
) -> str:
    if share.is_withdrawing:
        return "Withdrawing"
    if marked is not None:
        return marked[site]
    return "Running" if old and old.phase == "Running" and _same(old, share) else "Placing"


def _same(old: PlacementGroup, share: Share) -> bool:
    return (old.replicas, old.generation) == (share.replicas, share.generation)


Health = Literal["placing", "running", "finished", "failed", "silent"]


def _health(share: Share, view: SiteView) -> Health:
    if view.is_silent:
        return "silent"
    state = view.state
    if state is None or state.generation < share.generation:
        return "placing"
    if is_finished(state):
        return "failed" if state.finished == "Failed" else "finished"
    if state.phase in _BAD_PHASES:
        return "failed"
    applied = (state.applied_generation or 0) >= share.generation
    return "running" if applied and state.phase == "Ready" else "placing"


def is_finished(state: OrderState) -> bool:
    """Whether every job of an order has ended; how, may be unknown."""
    return bool(state.finished) or state.phase == "Finished"


def _without_replaced(
    shares: Mapping[str, Share], healths: Mapping[str, Health]
) -> dict[str, Share]:
    """What is being withdrawn goes once all that replaces it runs."""
    stays = {site: one for site, one in shares.items() if not one.is_withdrawing}
    if stays and all(healths[site] in ("running", "finished") for site in stays):
        return stays
    return dict(shares)


def _mark(share: Share, health: Health, group: PlacementGroup) -> str:
    """Running from the first time that it ran; a new generation starts anew."""
    if health in ("running", "finished"):
        return "Running"
    return "Running" if group.phase == "Running" and _same(group, share) else "Placing"


def _phase(
    status: WorkloadStatus, healths: Mapping[str, Health], views: Mapping[str, SiteView]
) -> tuple[Any, str]:
    """The phase, and in one line what keeps it from running."""
    found = set(healths.values())
    if "failed" in found:
        return "Degraded", f"failed at {_words(healths, views, 'failed')}"
    if found <= {"finished"}:
        return "Completed", ""
    if found <= {"running", "finished"}:
        return "Running", ""
    if "silent" in found:
        kept = status.phase if status.phase in ("Running", "Completed", "Degraded") else "Placed"
        quiet = ", ".join(sorted(site for site, one in healths.items() if one == "silent"))
        return kept, f"unknown at {quiet}: the site says nothing"
    words = _words(healths, views, "placing")
    if status.phase in ("Running", "Degraded"):
        return "Degraded", f"not all ready at {words}"
    troubled = any(view.state and view.state.message for view in views.values())
    return "Placed", f"not yet at {words}" if troubled else ""


def _words(healths: Mapping[str, Health], views: Mapping[str, SiteView], which: Health) -> str:
    """Sites of one health, with what the first of them says about it."""
    sites = sorted(site for site, one in healths.items() if one == which)
    said = (views[site].state for site in sites)
    message = next((one.message for one in said if one and one.message), "")
    named = ", ".join(sites[:_MOST_SITES_SHOWN])
    return f"{named}: {message}" if message else named


def _available(phase: Any, reason: str, healths: Mapping[str, Health]) -> Condition:  # noqa: ANN401 - a phase
    status: ConditionStatus = "True" if phase in ("Running", "Completed") else "False"
    if "silent" in healths.values():
        text = _clip(reason)
        return Condition(type="Available", status="Unknown", reason="SiteSilent", message=text)
    return Condition(type="Available", status=status, reason=str(phase), message=_clip(reason))


def _refusal(status: WorkloadStatus) -> str:
    """Why the present spec is not accepted, while what was accepted before runs on."""
    accepted = next((one for one in status.conditions if one.type == "Accepted"), None)
    if accepted is None or accepted.status != "False":
        return ""
    return f"not accepted, the former runs on: {accepted.message}"


def _ready(view: SiteView) -> int:
    """What is known to be ready; a silent site's share is not known to be."""
    return (view.state.ready or 0) if view.state and not view.is_silent else 0


def _exceptions(
    shares: Mapping[str, Share], views: Mapping[str, SiteView], healths: Mapping[str, Health]
) -> tuple[SiteHealth, ...]:
    found = []
    for site in sorted(shares):
        state = views[site].state
        if healths[site] == "silent":
            found.append(SiteHealth(site=site, message="unknown: the site says nothing"))
        elif healths[site] in ("failed", "placing"):
            ready = (state.ready if state else None) or 0
            found.append(SiteHealth(site=site, ready=ready, message=_message(state)))
    return tuple(found[:_MOST_EXCEPTIONS])


def _message(state: OrderState | None) -> str:
    if state is None:
        return "ordered; the site has not said anything about it yet"
    return _clip(f"{state.phase}: {state.message}" if state.message else state.phase)


def _shown(shares: Mapping[str, Share]) -> str:
    stays = [f"{site} ({one.replicas})" for site, one in sorted(shares.items())]
    more = len(stays) - _MOST_SITES_SHOWN
    shown = ", ".join(stays[:_MOST_SITES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return shown[:256]


def _accepted(conditions: tuple[Condition, ...], now: datetime) -> tuple[Condition, ...]:
    return _set(conditions, Condition(type="Accepted", status="True", reason="Accepted"), now)


def _set(
    conditions: tuple[Condition, ...], fresh: Condition, now: datetime
) -> tuple[Condition, ...]:
    """Sets a condition; its transition time moves only with its status."""
    old = next((one for one in conditions if one.type == fresh.type), None)
    moved = old is None or old.status != fresh.status or old.last_transition_time is None
    at = now.replace(microsecond=0) if moved or old is None else old.last_transition_time
    fresh = msgspec.structs.replace(fresh, last_transition_time=at)
    rest = [one for one in conditions if one.type != fresh.type]
    return tuple(sorted([*rest, fresh], key=lambda one: one.type))


def _clip(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."
