"""`Workload.status` as a value: what a decision and what sites say make of it. Pure.

Every function takes a status and gives a new one; `reconcile` compares it with what the hub holds
and writes the difference once.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from scheduler.control.ports.agents import OrderState
from scheduler.control.status.migration import (
    Health,
    SiteShare,
    SiteView,
    health_of,
    next_shares,
    shares_in,
    without_replaced,
)
from scheduler.control.status.placement_groups import (
    evicted_condition,
    groups_of,
    moving_condition,
    violation_condition,
)
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import (
    DecisionReference,
    PlacementStatus,
    SiteHealth,
    WorkloadStatus,
)

ConditionStatus = Literal["True", "False", "Unknown"]
_MAX_TEXT_LENGTH = 1024
_MAX_EXCEPTIONS = 64
_MAX_SITES_SHOWN = 6


def shares_of(status: WorkloadStatus) -> dict[str, SiteShare]:
    """Site → share, out of the groups."""
    return shares_in(status.placement.groups)


def with_decision(
    status: WorkloadStatus,
    decision: Decision,
    reference: DecisionReference,
    *,
    is_new_content: bool,
    known_sites: Iterable[str],
    now: datetime,
    views: Mapping[str, SiteView] | None = None,
) -> WorkloadStatus:
    """The status after a decision.

    Args:
        status: before.
        decision: what was decided.
        reference: its record.
        is_new_content: the manifests changed, so that every order is a new generation.
        known_sites: sites that still exist; a share at another one is dropped.
        now: for `since`.
        views: what sites say of the shares before.
    """
    shares = next_shares(
        shares_of(status),
        decision,
        views or {},
        generation=status.placement.generation + 1,
        is_new_content=is_new_content,
        known_sites=set(known_sites),
    )
    placed = decision.phase == "Placed"
    condition = Condition(
        type="Placed",
        status="True" if placed else "False",
        reason=decision.phase,
        message=_clip(decision.line),
    )
    after = msgspec.structs.replace(
        status,
        phase=decision.phase,
        reason="" if placed else _clip(decision.line),
        decision=reference,
        last_group=decision.group,
        conditions=_upsert_condition(_with_accepted(status.conditions, now), condition, now),
    )
    if decision.ended:
        after = set_condition(after, evicted_condition(decision), "Evicted", now)
    return _with_shares(after, shares, now)


def _with_shares(
    status: WorkloadStatus,
    shares: Mapping[str, SiteShare],
    now: datetime,
    healths: Mapping[str, Health] | None = None,
) -> WorkloadStatus:
    """The status with these shares in it, and what follows from them alone."""
    generation = max((one.generation for one in shares.values()), default=0)
    placement = PlacementStatus(
        generation=max(generation, status.placement.generation),
        groups=groups_of(status.placement.groups, shares, healths, now),
        slices=status.placement.slices,
    )
    moving = moving_condition(shares)
    violation = violation_condition(shares)
    conditions = _with_condition(status.conditions, moving, "Moving", now)
    return msgspec.structs.replace(
        status,
        placement=placement,
        replicas=sum(one.replicas for one in shares.values()),
        sites=_format_sites(shares),
        conditions=_with_condition(conditions, violation, "Violation", now),
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
        conditions=_upsert_condition(status.conditions, no, now),
    )


def with_health(
    status: WorkloadStatus,
    views: Mapping[str, SiteView],
    now: datetime,
    *,
    wanted: int | None = None,
    may_end_moves: bool = True,
) -> WorkloadStatus:
    """The status after what sites said; a site that is silent changes nothing but `Available`.

    Args:
        status: before.
        views: of every site that holds a share.
        now: for times.
        wanted: replicas that are asked for; None when that is not known.
        may_end_moves: what has been replaced goes; not while nothing can be ordered.
    """
    shares = shares_of(status)
    if not shares:
        return _with_no_shares(status, now)
    healths = {site: health_of(one, views[site]) for site, one in shares.items() if one.replicas}
    fresh = status.placement.generation + 1
    left = without_replaced(shares, healths, fresh) if may_end_moves else shares
    narrowed = [site for site in left if left[site].ordered != shares[site].ordered]
    healths |= dict.fromkeys(narrowed, "placing")
    if narrowed:
        status = msgspec.structs.replace(status, phase="Placed")
    phase, reason = _phase_and_reason(status, healths, views)
    missing = wanted is not None and sum(one.replicas for one in left.values()) < wanted
    phase, reason = _combine_with_decision(status, phase, reason, missing=missing)
    ready = _ready_replicas(left, views)
    serves = bool(healths) and ready >= sum(one.replicas for one in left.values())
    after = msgspec.structs.replace(
        status,
        phase=phase,
        reason=_clip(reason or _format_not_accepted(status)),
        ready=ready,
        exceptions=_exceptions(healths, views),
        conditions=_upsert_condition(
            status.conditions, _available_condition(phase, reason, healths, serves=serves), now
        ),
    )
    if phase in ("Running", "Completed"):
        after = set_condition(after, None, "Evicted", now)
    return _with_shares(after, left, now, healths)


def _with_no_shares(status: WorkloadStatus, now: datetime) -> WorkloadStatus:
    """The status of a workload that runs nowhere."""
    conditions = status.conditions
    if any(one.type == "Available" for one in conditions) and status.phase != "Completed":
        nothing = _available_condition(status.phase, status.reason, {}, serves=False)
        conditions = _upsert_condition(conditions, nothing, now)
    return msgspec.structs.replace(status, ready=0, exceptions=(), conditions=conditions)


def _combine_with_decision(
    status: WorkloadStatus,
    phase: Any,  # noqa: ANN401 - a phase
    reason: str,
    *,
    missing: bool,
) -> tuple[Any, str]:
    """While not all is placed that was asked, the decision's word stands beside the sites'."""
    placed = _find_condition(status, "Placed")
    if placed is None or placed.status != "False":
        return phase, reason
    is_open = phase in ("Placed", "Running") or (phase, status.phase) == ("Completed", "Waiting")
    if missing and is_open:
        phase = placed.reason
    return phase, "; ".join(text for text in (reason, placed.message) if text)


def set_condition(
    status: WorkloadStatus, condition: Condition | None, kind: str, now: datetime
) -> WorkloadStatus:
    """Sets a condition, or with None takes the one of that kind away."""
    conditions = _with_condition(status.conditions, condition, kind, now)
    return msgspec.structs.replace(status, conditions=conditions)


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


def _phase_and_reason(
    status: WorkloadStatus, healths: Mapping[str, Health], views: Mapping[str, SiteView]
) -> tuple[Any, str]:
    """The phase, and in one line what keeps it from running."""
    found = set(healths.values())
    if "failed" in found:
        return "Degraded", f"failed at {_format_sites_with_health(healths, views, 'failed')}"
    if found <= {"finished"}:
        return "Completed", ""
    if found <= {"running", "finished"}:
        return "Running", ""
    if "silent" in found:
        kept = status.phase if status.phase in ("Running", "Completed", "Degraded") else "Placed"
        quiet = ", ".join(sorted(site for site, one in healths.items() if one == "silent"))
        return kept, f"unknown at {quiet}: the site says nothing"
    words = _format_sites_with_health(healths, views, "placing")
    if status.phase in ("Running", "Degraded"):
        return "Degraded", f"not all ready at {words}"
    troubled = any(view.state and view.state.message for view in views.values())
    return "Placed", f"not yet at {words}" if troubled else ""


def _format_sites_with_health(
    healths: Mapping[str, Health], views: Mapping[str, SiteView], health: Health
) -> str:
    """Sites of one health, with what the first of them says about it."""
    sites = sorted(site for site, one in healths.items() if one == health)
    said = (views[site].state for site in sites)
    message = next((one.message for one in said if one and one.message), "")
    named = ", ".join(sites[:_MAX_SITES_SHOWN])
    return f"{named}: {message}" if message else named


def _available_condition(
    phase: Any,  # noqa: ANN401 - a phase
    reason: str,
    healths: Mapping[str, Health],
    *,
    serves: bool,
) -> Condition:
    text = _clip(reason)
    if "silent" in healths.values():
        return Condition(type="Available", status="Unknown", reason="SiteSilent", message=text)
    good = phase in ("Running", "Completed") or (phase == "Placed" and serves)
    status: ConditionStatus = "True" if good else "False"
    return Condition(type="Available", status=status, reason=str(phase), message=text)


def _format_not_accepted(status: WorkloadStatus) -> str:
    """Why the present spec is not accepted, while what was accepted before runs on."""
    accepted = _find_condition(status, "Accepted")
    if accepted is None or accepted.status != "False":
        return ""
    return f"not accepted, the former runs on: {accepted.message}"


def _ready_replicas(shares: Mapping[str, SiteShare], views: Mapping[str, SiteView]) -> int:
    """What is known to be ready; a silent site's share is not known to be.

    While work moves, old and new run side by side: no more than what was asked is counted.
    """
    ready = sum(_ready_at(views[site]) for site in shares)
    if any(one.leaving for one in shares.values()):
        return min(ready, sum(one.replicas for one in shares.values()))
    return ready


def _ready_at(view: SiteView) -> int:
    return (view.state.ready or 0) if view.state and not view.is_silent else 0


def _exceptions(
    healths: Mapping[str, Health], views: Mapping[str, SiteView]
) -> tuple[SiteHealth, ...]:
    found = []
    for site in sorted(healths):
        state = views[site].state
        if healths[site] == "silent":
            found.append(SiteHealth(site=site, message="unknown: the site says nothing"))
        elif healths[site] in ("failed", "placing"):
            ready = (state.ready if state else None) or 0
            found.append(SiteHealth(site=site, ready=ready, message=_format_order_state(state)))
    return tuple(found[:_MAX_EXCEPTIONS])


def _format_order_state(state: OrderState | None) -> str:
    if state is None:
        return "ordered; the site has not said anything about it yet"
    return _clip(f"{state.phase}: {state.message}" if state.message else state.phase)


def _format_sites(shares: Mapping[str, SiteShare]) -> str:
    """Sites with what is to stay, then those that only wait for their replacement."""
    stays = [f"{site} ({one.replicas})" for site, one in sorted(shares.items()) if one.replicas]
    goes = [
        f"{site} ({one.leaving} leaving)" for site, one in sorted(shares.items()) if one.leaving
    ]
    told = stays + goes
    more = len(told) - _MAX_SITES_SHOWN
    shown = ", ".join(told[:_MAX_SITES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return shown[:256]


def _find_condition(status: WorkloadStatus, kind: str) -> Condition | None:
    return next((one for one in status.conditions if one.type == kind), None)


def _with_condition(
    conditions: tuple[Condition, ...], fresh: Condition | None, kind: str, now: datetime
) -> tuple[Condition, ...]:
    """Conditions with one set, or taken away."""
    if fresh is not None:
        return _upsert_condition(conditions, fresh, now)
    return tuple(one for one in conditions if one.type != kind)


def _with_accepted(conditions: tuple[Condition, ...], now: datetime) -> tuple[Condition, ...]:
    return _upsert_condition(
        conditions, Condition(type="Accepted", status="True", reason="Accepted"), now
    )


def _upsert_condition(
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
    return text if len(text) <= _MAX_TEXT_LENGTH else text[: _MAX_TEXT_LENGTH - 3] + "..."
