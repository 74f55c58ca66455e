"""`Workload.status` as a value: what decisions and the sites' reports make of it. Pure.

Every function takes a status and returns a new one; `reconcile` compares the result with what the
hub holds and writes the difference once.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from scheduler.control.status.completions import divide_completions
from scheduler.control.status.conditions import (
    MAX_SITES_LISTED,
    drifted_condition,
    evicted_condition,
    find_condition,
    moving_condition,
    not_pinned_condition,
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
    with_pins,
    without_replaced,
)
from scheduler.control.status.ordinals import (
    assign_ordinals,
    has_ordinals,
    release_ordinals,
    waiting_ordinals_condition,
)
from scheduler.control.status.phase import (
    available_condition,
    clip_text,
    exceptions_of,
    phase_and_reason,
    readiness_text,
    ready_replicas,
    trouble_of,
    with_endpoints,
)
from scheduler.control.status.placement_groups import groups_of
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.figures import format_readiness
from scheduler.model.formatters import format_list, format_replicas
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.policy import Identity
from scheduler.model.kinds.workload import (
    MAX_PLANNED_SITES,
    DecisionReference,
    NodePin,
    PlacementStatus,
    StartPlan,
    WorkloadStatus,
)

_MAX_SITES_LENGTH = 256


def shares_of(status: WorkloadStatus) -> Mapping[str, SiteShare]:
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
    unready_sites: Collection[str] = (),
    pin_at: Callable[[str, Mapping[str, SiteShare]], NodePin | None] = lambda _, __: None,
    keeps_former: bool = False,
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
        unready_sites: sites with replicas that are replaced because they are not ready.
        pin_at: see `with_pins`.
        keeps_former: the decision is about a former spec: a rollout stays as far as it is.
    """
    step, before = decision.rollout, shares_of(status)
    former = step.former if step is not None else ()
    if keeps_former:
        former = tuple(site for site, one in before.items() if one.is_former)
    elif step is not None and status.former_accepted is None:  # it begins with the former content
        before = {site: replace(one, is_former=True) for site, one in before.items()}
    shares = next_shares(
        before,
        decision,
        views or {},
        generation=status.placement.generation + 1,
        is_new_content=is_new_content
        or (identity == "PerSite") != (status.placement.identity == "PerSite"),
        may_overlap=identity not in ("Whole", "Ranges"),
        known_sites=set(known_sites),
        unready_sites=unready_sites,
        former_sites=frozenset(former),
    )
    shares, completed = divide_completions(
        shares, before, views or {}, total=completions, completed=status.placement.completed
    )
    if has_ordinals(identity, before):
        shares = assign_ordinals(
            shares,
            before,
            generation=status.placement.generation + 1,
            is_new_content=is_new_content or status.placement.identity == "PerSite",
        )
    shares = with_pins(shares, before, pin_at, status.placement.generation + 1)
    placed = decision.phase == "Placed"
    accepted = Condition(type="Accepted", status="True", reason="Accepted")
    condition = Condition(
        type="Placed",
        status="True" if placed else "False",
        reason=decision.phase,
        message=clip_text(decision.line),
    )
    after = msgspec.structs.replace(
        status,
        phase=decision.phase,
        reason="" if placed else clip_text(decision.line),
        decision=reference,
        last_group=decision.group,
        placement=msgspec.structs.replace(status.placement, completed=completed, identity=identity),
        plan=plan_of(decision),
        conditions=with_condition(with_condition(status.conditions, accepted, now), condition, now),
    )
    rules = rules_condition(decision, find_condition(status.conditions, "RulesMet"))
    after = set_condition(after, rules, "RulesMet", now)
    if set(decision.ended) - decision.preempted.keys():
        after = set_condition(after, evicted_condition(decision), "Evicted", now)
    return _with_shares(after, shares, now)


def plan_of(decision: Decision) -> StartPlan | None:
    """The planned start of a decision, with the sites where it keeps room."""
    if decision.plan is None:
        return None
    kept = decision.planned[:MAX_PLANNED_SITES]
    place = {each.site: each.replicas for each in kept if each.replicas > 0}
    return msgspec.structs.replace(decision.plan, place=place)


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
        orders={site: one for site, one in status.placement.orders.items() if site in shares},
    )
    after = msgspec.structs.replace(
        status,
        placement=placement,
        replicas=sum(one.replicas for one in shares.values()),
        sites=_format_shares(shares),
    )
    after = set_condition(after, moving_condition(shares), "Moving", now)
    after = set_condition(after, not_pinned_condition(shares), "NotPinned", now)
    return set_condition(after, violation_condition(shares), "Violation", now)


def with_started_ordinals(
    status: WorkloadStatus,
    views: Mapping[str, SiteView],
    now: datetime,
    *,
    are_left_sites_gone: bool,
) -> WorkloadStatus:
    """The status with ordinals ordered that have waited until no other site can run them.

    Args:
        status: the status until now.
        views: what is known of each site that holds a share, by site.
        now: becomes `since` of new groups and the transition time of conditions.
        are_left_sites_gone: sites without a share have confirmed that nothing of it runs there.
    """
    before = shares_of(status)
    shares = release_ordinals(
        before,
        views,
        generation=status.placement.generation + 1,
        are_left_sites_gone=are_left_sites_gone,
    )
    moving = waiting_ordinals_condition(shares)
    if shares != before:
        status = _with_shares(status, shares, now)
    if moving is None or find_condition(status.conditions, "Moving") is not None:
        return status
    return set_condition(status, moving, "Moving", now)


def with_refusal(
    status: WorkloadStatus, refusal: NotAccepted, reference: DecisionReference, now: datetime
) -> WorkloadStatus:
    """The status of a workload whose spec is not accepted; what runs stays."""
    condition = Condition(
        type="Accepted",
        status="False",
        reason=refusal.condition,
        message=clip_text(refusal.message),
    )
    return msgspec.structs.replace(
        status,
        phase="Refused" if not status.placement.groups else status.phase,
        reason=clip_text(f"{refusal.reason}: {refusal.message}"),
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
    """The status after reports of sites.

    Where a site with replicas is silent, the workload is Degraded: what runs there is not known.
    A workload that has completed stays so.

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
    healths |= {site: "placing" for site, one in left.items() if one.replicas and one.waiting}
    if narrowed:
        status = msgspec.structs.replace(status, phase="Placed")
    phase, reason = phase_and_reason(status, healths, views)
    placed = sum(one.replicas for one in left.values())
    missing = wanted is not None and placed < wanted
    phase, reason = _combine_with_decision(status, phase, reason, missing=missing)
    ready = ready_replicas(left, views)
    serves = bool(healths) and ready >= placed
    after = msgspec.structs.replace(
        status,
        phase=phase,
        reason=clip_text(reason or _format_not_accepted(status)),
        ready=ready,
        readiness=readiness_text(phase, left, healths, views, max(placed, wanted or 0)),
        exceptions=exceptions_of(healths, views),
        conditions=with_condition(
            status.conditions,
            available_condition(
                phase, reason, healths, serves=serves, trouble=trouble_of(healths, views)
            ),
            now,
        ),
    )
    after = with_endpoints(after, shares, views)
    after = set_condition(after, drifted_condition(views), "Drifted", now)
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
        condition = available_condition(status.phase, status.reason, healths, serves=serves)
        conditions = with_condition(conditions, condition, now)
    exceptions = exceptions_of({s: one for s, one in healths.items() if one == "failed"}, views)
    readiness = "" if wanted is None else format_readiness(0, wanted)
    if status.phase == "Completed":
        readiness = status.readiness
    after = msgspec.structs.replace(
        status, ready=0, readiness=readiness, exceptions=exceptions, conditions=conditions
    )
    after = with_endpoints(after, (), views)
    after = set_condition(after, drifted_condition(views), "Drifted", now)
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


def _format_not_accepted(status: WorkloadStatus) -> str:
    """Why the present spec is not accepted, while what the former spec placed still runs."""
    accepted = find_condition(status.conditions, "Accepted")
    if accepted is None or accepted.status != "False":
        return ""
    return f"not accepted, the former spec still runs: {accepted.message}"


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
