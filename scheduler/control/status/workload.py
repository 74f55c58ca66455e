"""`Workload.status` as a value: what decisions and the sites' reports make of it. Pure.

Every function takes a status and returns a new one; `reconcile` compares the result with what the
hub holds and writes the difference once.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from scheduler.control.ports.agents import OrderState
from scheduler.control.status.completions import divide_completions
from scheduler.control.status.conditions import (
    MAX_SITES_LISTED,
    evicted_condition,
    find_condition,
    moving_condition,
    rules_condition,
    set_condition,
    violation_condition,
    with_condition,
)
from scheduler.control.status.migration import (
    Health,
    SiteShare,
    SiteView,
    health_of,
    next_shares,
    shares_in,
    without_replaced,
)
from scheduler.control.status.placement_groups import groups_of
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.formatters import format_list, format_replicas
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.policy import Identity
from scheduler.model.kinds.workload import (
    DecisionReference,
    PlacementStatus,
    SiteHealth,
    WorkloadStatus,
)

ConditionStatus = Literal["True", "False", "Unknown"]
MAX_TEXT_LENGTH = 1024
"""Characters of a text in a status or an event; the CRD allows no more."""
_MAX_EXCEPTIONS = 64
_MAX_SITES_LENGTH = 256


def shares_of(status: WorkloadStatus) -> dict[str, SiteShare]:
    """The share of each site, by site, read from the groups of a status."""
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
    completions: int | None = None,
    identity: Identity | None = None,
) -> WorkloadStatus:
    """The status after a decision.

    Args:
        status: the status until now.
        decision: the decision.
        reference: its record in the ledger.
        is_new_content: the manifests changed, so that every order gets a new generation.
        known_sites: sites that still exist; a share at another site is dropped.
        now: becomes `since` of new groups and the transition time of conditions.
        views: what sites report of the shares until now, by site.
        completions: of its Job in all; None: they are not divided.
        identity: what applies to its numbered pods.
    """
    before = shares_of(status)
    shares = next_shares(
        before,
        decision,
        views or {},
        generation=status.placement.generation + 1,
        is_new_content=is_new_content
        or (identity == "PerSite") != (status.placement.identity == "PerSite"),
        may_overlap=identity != "Whole",
        known_sites=set(known_sites),
    )
    shares, completed = divide_completions(
        shares, before, views or {}, total=completions, completed=status.placement.completed
    )
    placed = decision.phase == "Placed"
    accepted = Condition(type="Accepted", status="True", reason="Accepted")
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
        placement=msgspec.structs.replace(status.placement, completed=completed, identity=identity),
        plan=decision.plan,
        conditions=with_condition(with_condition(status.conditions, accepted, now), condition, now),
    )
    rules = rules_condition(decision, find_condition(status.conditions, "RulesMet"))
    after = set_condition(after, rules, "RulesMet", now)
    if decision.ended:
        after = set_condition(after, evicted_condition(decision), "Evicted", now)
    return _with_shares(after, shares, now)


def _with_shares(
    status: WorkloadStatus,
    shares: Mapping[str, SiteShare],
    now: datetime,
    healths: Mapping[str, Health] | None = None,
) -> WorkloadStatus:
    """The status with these shares, and with what follows from the shares alone."""
    generation = max((one.generation for one in shares.values()), default=0)
    placement = PlacementStatus(
        generation=max(generation, status.placement.generation),
        groups=groups_of(status.placement.groups, shares, healths, now),
        slices=status.placement.slices,
        completed=status.placement.completed,
        identity=status.placement.identity,
    )
    after = msgspec.structs.replace(
        status,
        placement=placement,
        replicas=sum(one.replicas for one in shares.values()),
        sites=_format_shares(shares),
    )
    after = set_condition(after, moving_condition(shares), "Moving", now)
    return set_condition(after, violation_condition(shares), "Violation", now)


def with_refusal(
    status: WorkloadStatus, refusal: NotAccepted, reference: DecisionReference, now: datetime
) -> WorkloadStatus:
    """The status of a workload whose spec is not accepted; what runs stays."""
    condition = Condition(
        type="Accepted", status="False", reason=refusal.condition, message=_clip(refusal.message)
    )
    return msgspec.structs.replace(
        status,
        phase="Refused" if not status.placement.groups else status.phase,
        reason=_clip(f"{refusal.reason}: {refusal.message}"),
        decision=reference,
        conditions=with_condition(status.conditions, condition, now),
    )


def with_health(
    status: WorkloadStatus,
    views: Mapping[str, SiteView],
    now: datetime,
    *,
    wanted: int | None = None,
    may_end_moves: bool = True,
) -> WorkloadStatus:
    """The status after reports of sites; a silent site changes nothing but `Available`.

    Args:
        status: the status until now.
        views: what is known of each site that holds a share, by site.
        now: becomes `since` of new groups and the transition time of conditions.
        wanted: replicas that the spec requests; None when that is not known.
        may_end_moves: replicas whose replacement runs are withdrawn; False while nothing can be
            ordered.
    """
    shares = shares_of(status)
    if not any(one.ordered for one in shares.values()):
        return _with_no_replicas(status, shares, views, now, wanted)
    healths = {site: health_of(one, views[site]) for site, one in shares.items() if one.replicas}
    generation = status.placement.generation + 1
    left = without_replaced(shares, healths, generation) if may_end_moves else shares
    narrowed = [site for site in left if left[site].ordered != shares[site].ordered]
    # A smaller order is a new order: the site has not applied it yet.
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
        conditions=with_condition(
            status.conditions,
            _available_condition(
                phase, reason, healths, serves=serves, trouble=_trouble_of(healths, views)
            ),
            now,
        ),
    )
    if phase in ("Running", "Completed"):
        after = set_condition(after, None, "Evicted", now)
    return _with_shares(after, left, now, healths)


def _with_no_replicas(
    status: WorkloadStatus,
    shares: Mapping[str, SiteShare],
    views: Mapping[str, SiteView],
    now: datetime,
    wanted: int | None,
) -> WorkloadStatus:
    """The status of a workload that has replicas at no site; some may keep an order of 0."""
    healths = {site: health_of(one, views[site]) for site, one in shares.items()}
    conditions = status.conditions
    if find_condition(conditions, "Available") and status.phase != "Completed":
        serves = wanted == 0 and status.phase == "Placed"
        condition = _available_condition(status.phase, status.reason, healths, serves=serves)
        conditions = with_condition(conditions, condition, now)
    exceptions = _exceptions({s: one for s, one in healths.items() if one == "failed"}, views)
    after = msgspec.structs.replace(status, ready=0, exceptions=exceptions, conditions=conditions)
    return _with_shares(after, shares, now, healths) if shares else after


def _combine_with_decision(
    status: WorkloadStatus,
    phase: Any,  # noqa: ANN401 - a phase
    reason: str,
    *,
    missing: bool,
) -> tuple[Any, str]:
    """Phase and reason; while replicas are not placed, the decision's reason is added."""
    placed = find_condition(status.conditions, "Placed")
    if placed is None or placed.status != "False":
        return phase, reason
    is_open = phase in ("Placed", "Running") or (phase, status.phase) == ("Completed", "Waiting")
    if missing and is_open:
        phase = placed.reason
    return phase, "; ".join(text for text in (reason, placed.message) if text)


def merge_patch(old: Any, new: Any) -> Any:  # noqa: ANN401 - JSON
    """The RFC 7386 merge patch that turns `old` into `new`; {} when they are equal."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    patch: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())  # null deletes a key
    for key, value in new.items():
        if key not in old:
            patch[key] = value
        elif old[key] != value:
            patch[key] = merge_patch(old[key], value)
    return patch


def _phase_and_reason(
    status: WorkloadStatus, healths: Mapping[str, Health], views: Mapping[str, SiteView]
) -> tuple[Any, str]:
    """The phase, and one line that says what keeps the workload from running."""
    found = set(healths.values())
    if "failed" in found:
        what = {"Recreated": "made again and again", "NotRun": "not run"}
        word = what.get(_trouble_of(healths, views), "failed")
        return "Degraded", f"{word} at {_format_sites_with_health(healths, views, 'failed')}"
    if found <= {"finished"}:
        return "Completed", ""
    if found <= {"running", "finished"}:
        return "Running", ""
    if "silent" in found:
        kept = status.phase if status.phase in ("Running", "Completed", "Degraded") else "Placed"
        silent = sorted(site for site, one in healths.items() if one == "silent")
        return kept, f"unknown at {', '.join(silent)}: the site does not report"
    placing = _format_sites_with_health(healths, views, "placing")
    if status.phase in ("Running", "Degraded"):
        return "Degraded", f"not all ready at {placing}"
    has_message = any(view.state and view.state.message for view in views.values())
    return "Placed", f"not yet at {placing}" if has_message else ""


def _format_sites_with_health(
    healths: Mapping[str, Health], views: Mapping[str, SiteView], health: Health
) -> str:
    """The sites of one health, with the first message that one of them reports."""
    sites = sorted(site for site, one in healths.items() if one == health)
    states = (views[site].state for site in sites)
    message = next((one.message for one in states if one and one.message), "")
    listed = format_list(sites, MAX_SITES_LISTED)
    return f"{listed}: {message}" if message else listed


def _available_condition(
    phase: Any,  # noqa: ANN401 - a phase
    reason: str,
    healths: Mapping[str, Health],
    *,
    serves: bool,
    trouble: str = "",
) -> Condition:
    text = _clip(reason)
    if "silent" in healths.values():
        return Condition(type="Available", status="Unknown", reason="SiteSilent", message=text)
    good = phase in ("Running", "Completed") or (phase == "Placed" and serves)
    status: ConditionStatus = "True" if good else "False"
    word = trouble if trouble and phase == "Degraded" else str(phase)
    return Condition(type="Available", status=status, reason=word, message=text)


def _trouble_of(healths: Mapping[str, Health], views: Mapping[str, SiteView]) -> str:
    """The reason of `Available` when a site names a trouble of its own; "" without such."""
    states = [views[site].state for site, one in healths.items() if one == "failed"]
    if any(state.recreated for state in states if state):
        return "Recreated"
    return "NotRun" if any(state.not_run for state in states if state) else ""


def _format_not_accepted(status: WorkloadStatus) -> str:
    """Why the present spec is not accepted, while what the former spec placed still runs."""
    accepted = find_condition(status.conditions, "Accepted")
    if accepted is None or accepted.status != "False":
        return ""
    return f"not accepted, the former spec still runs: {accepted.message}"


def _ready_replicas(shares: Mapping[str, SiteShare], views: Mapping[str, SiteView]) -> int:
    """Replicas that are known to be ready; those of a silent site are not.

    During a move, old and new replicas run side by side; the count does not exceed the replicas
    that are to stay.
    """
    ready = sum(_ready_at(views[site], one.ordered) for site, one in shares.items())
    if any(one.leaving for one in shares.values()):
        return min(ready, sum(one.replicas for one in shares.values()))
    return ready


def _ready_at(view: SiteView, ordered: int) -> int:
    """The ready replicas at one site; those beyond its order make up for none of another site."""
    ready = (view.state.ready or 0) if view.state and not view.is_silent else 0
    return min(ready, ordered)


def _exceptions(
    healths: Mapping[str, Health], views: Mapping[str, SiteView]
) -> tuple[SiteHealth, ...]:
    """The sites where not everything is ready, sorted by name."""
    found = []
    for site in sorted(healths):
        state = views[site].state
        if healths[site] == "silent":
            found.append(SiteHealth(site=site, message="unknown: the site does not report"))
        elif healths[site] in ("failed", "placing"):
            ready = (state.ready if state else None) or 0
            found.append(SiteHealth(site=site, ready=ready, message=_format_order_state(state)))
    return tuple(found[:_MAX_EXCEPTIONS])


def _format_order_state(state: OrderState | None) -> str:
    if state is None:
        return "ordered; the site has not reported on the order yet"
    return _clip(f"{state.phase}: {state.message}" if state.message else state.phase)


def _format_shares(shares: Mapping[str, SiteShare]) -> str:
    """Sites with the replicas that stay, then sites with replicas that are leaving."""
    stays = format_replicas(
        (site, one.replicas)
        for site, one in sorted(shares.items())
        if one.replicas or one.is_parked
    )
    goes = [
        f"{site} ({one.leaving} leaving)" for site, one in sorted(shares.items()) if one.leaving
    ]
    return format_list([*stays, *goes], MAX_SITES_LISTED)[:_MAX_SITES_LENGTH]


def _clip(text: str) -> str:
    return text if len(text) <= MAX_TEXT_LENGTH else text[: MAX_TEXT_LENGTH - 3] + "..."
