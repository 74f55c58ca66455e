"""The conditions of `Workload.status`: how they are set, and those that report trouble. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from scheduler.control.status.migration import SiteShare, SiteView
from scheduler.model.decision import NO_SUCH_SITE, Decision
from scheduler.model.formatters import format_list
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.rights import OnViolation
from scheduler.model.kinds.workload import Workload, WorkloadStatus

MAX_SITES_LISTED = 6
"""A condition message lists at most this many sites; the groups of the status hold them all."""

_TREATMENTS: dict[OnViolation, str] = {
    "Report": "what runs there stays",
    "Move": "it is replaced elsewhere first, and stays until the replacement runs",
    "Stop": "it ends there at once",
}


def find_condition(conditions: Sequence[Condition], kind: str) -> Condition | None:
    """The condition of a type; None when there is none."""
    for one in conditions:
        if one.type == kind:
            return one
    return None


def set_condition(
    status: WorkloadStatus, condition: Condition | None, kind: str, now: datetime
) -> WorkloadStatus:
    """The status with a condition set, or with the condition of that type removed.

    Args:
        status: the status until now.
        condition: the condition; None removes the one of type `kind`.
        kind: the type of the condition.
        now: becomes the transition time when the condition's status changes.
    """
    if condition is not None:
        conditions = with_condition(status.conditions, condition, now)
        if conditions is status.conditions:
            return status
    elif find_condition(status.conditions, kind) is None:
        return status
    else:
        conditions = without_condition(status.conditions, kind)
    return msgspec.structs.replace(status, conditions=conditions)


def with_condition(
    conditions: Sequence[Condition], condition: Condition, now: datetime
) -> tuple[Condition, ...]:
    """The conditions with one set, sorted by type; those given if they have it already.

    The transition time changes only with the status, as the Kubernetes API conventions say.
    """
    old = find_condition(conditions, condition.type)
    at = None if old is None or old.status != condition.status else old.last_transition_time
    fresh = msgspec.structs.replace(
        condition, last_transition_time=at or now.replace(microsecond=0)
    )
    if fresh == old and isinstance(conditions, tuple):
        return conditions
    rest = without_condition(conditions, condition.type)
    return tuple(sorted((*rest, fresh), key=lambda one: one.type))


def without_condition(conditions: Sequence[Condition], kind: str) -> tuple[Condition, ...]:
    """The conditions without the one of a type."""
    return tuple(one for one in conditions if one.type != kind)


def not_pinned_condition(shares: Mapping[str, SiteShare]) -> Condition | None:
    """`NotPinned`: sites where node labels do not say what pods would have to require."""
    texts: list[str] = []
    pins = {site: one.pin for site, one in shares.items() if one.pin and not one.is_withdrawing}
    for what, labels in (("architecture", _PLATFORM_LABELS), ("CPU vendor", _VENDOR_LABELS)):
        lacking = sorted(
            site
            for site, pin in pins.items()
            if (pin.cpu_vendors or labels is _PLATFORM_LABELS) and not labels & set(pin.labels)
        )
        if lacking:
            texts.append(
                f"nodes of {format_list(lacking, MAX_SITES_LISTED)} carry none of"
                f" {', '.join(sorted(labels))}, so pods there may run on any {what}"
            )
    if not texts:
        return None
    return Condition(
        type="NotPinned", status="True", reason="NodesLackLabel", message="; ".join(texts)
    )


_PLATFORM_LABELS = frozenset({"kubernetes.io/arch"})
_VENDOR_LABELS = frozenset(
    {"kapok.dev/cpu-vendor", "feature.node.kubernetes.io/cpu-model.vendor_id"}
)


def drifted_condition(views: Mapping[str, SiteView]) -> Condition | None:
    """`Drifted`: objects were changed at sites and are left so (`spec.onDrift: Report`)."""
    texts = [
        f"{site}: {', '.join(view.state.drifted)}"
        for site, view in sorted(views.items())
        if view.state is not None and view.state.drifted
    ]
    if not texts:
        return None
    more = len(texts) - MAX_SITES_LISTED
    message = "; ".join(texts[:MAX_SITES_LISTED]) + (f"; and {more} more" if more > 0 else "")
    return Condition(
        type="Drifted", status="True", reason="ChangedAtSite", message=message[:_MAX_MESSAGE]
    )


def moving_condition(shares: Mapping[str, SiteShare]) -> Condition | None:
    """`Moving`: replicas run on somewhere until their replacement runs; None without such."""
    leaving = {site: one for site, one in shares.items() if one.leaving}
    if not leaving:
        return None
    held = _format_sites(f"{site} ({one.leaving})" for site, one in leaving.items())
    awaited = sorted({site for one in leaving.values() for site in one.replaced_by})
    runs = _format_sites(f"{site} ({shares[site].replicas})" for site in awaited if site in shares)
    return Condition(
        type="Moving",
        status="True",
        reason="WaitsForReplacement",
        message=f"waiting for {runs or 'a replacement'} to run before withdrawing {held}",
    )


def evicted_condition(decision: Decision) -> Condition:
    """`Evicted`: replicas were ended somewhere at once; stays until the workload runs again."""
    deleted = sorted(site for site, why in decision.ended_by.items() if why == NO_SUCH_SITE)
    ended = _format_sites(
        f"{site} ({why})"
        for site, why in decision.ended_by.items()
        if why != NO_SUCH_SITE and site not in decision.preempted  # a condition of its own has it
    )
    parts = [f"ended at {ended}"] if ended else []
    if deleted:
        # No order reaches a site without its object, so its pods were not seen to end.
        parts.append(
            f"given up at {_format_sites(deleted)} ({NO_SUCH_SITE}): what runs there goes on until "
            "its Site is created again, or its agent and pods are removed"
        )
    return Condition(type="Evicted", status="True", reason="EndedAtOnce", message="; ".join(parts))


def violation_condition(shares: Mapping[str, SiteShare]) -> Condition | None:
    """`Violation`: replicas run where they break a right; None without such."""
    broken = {site: one for site, one in shares.items() if one.violates}
    if not broken:
        return None
    reasons = {one.violates for one in broken.values()}
    sites = _format_sites(f"{site} ({one.violates})" for site, one in broken.items())
    leaves = all(one.is_withdrawing for one in broken.values())
    ending = "runs on only until its replacement runs" if leaves else "stays"
    return Condition(
        type="Violation",
        status="True",
        reason=_camel_case(reasons.pop()) if len(reasons) == 1 else "SeveralRights",
        message=f"what runs at {sites} breaks a right there, and {ending}",
    )


def rules_condition(decision: Decision, former: Condition | None) -> Condition | None:
    """`RulesMet`: False while the placement does not meet a required rule, with the rule's name.

    Args:
        decision: the decision.
        former: the condition until now; True follows only on False.

    Returns:
        The condition; None: nothing was ever unmet.
    """
    if decision.unmet:
        rules = {each.rule for each in decision.unmet}
        return Condition(
            type="RulesMet",
            status="False",
            reason=_camel_case(rules.pop()) if len(rules) == 1 else "SeveralRules",
            message="; ".join(f"{each.rule}: {each.sentence}" for each in decision.unmet)[
                :_MAX_MESSAGE
            ],
        )
    return None if former is None else Condition(type="RulesMet", status="True", reason="RulesMet")


_MAX_MESSAGE = 1024
"""Characters of a message; the CRD allows no more."""


def format_violations(decision: Decision, treatment: OnViolation) -> str:
    """The message of an event: which right is broken where, and what `onViolation` demands."""
    broken = ", ".join(f"{site}: {why}" for site, why in sorted(decision.violations.items()))
    return f"breaks a right at {broken}; onViolation {treatment}: {_TREATMENTS[treatment]}"


def stuck_condition(
    status: WorkloadStatus,
    after_seconds: float,
    now: datetime,
    *,
    given_up: Mapping[str, int] | None = None,
) -> Condition | None:
    """`StuckInFlight`: an order was not seen running for `after_seconds`; None without such.

    The condition only informs. The capacity stays counted as in flight at the site until a report
    shows the pods, however long that takes. Only pods that the site's cluster could not schedule
    for that time keep none.

    Args:
        status: the status of the workload.
        after_seconds: an order that runs sooner is not stuck.
        now: the time.
        given_up: pods without a node for which no room is kept any more, by site.
    """
    stuck = sorted(
        site
        for group in status.placement.groups
        if group.phase == "Placing"
        and group.since is not None
        and (now - group.since).total_seconds() >= after_seconds
        for site in group.sites
    )
    if not stuck:
        return None
    return Condition(
        type="StuckInFlight",
        status="True",
        reason="NotRunning",
        message=f"ordered more than {after_seconds:g} s ago and not running at "
        f"{format_list(stuck, MAX_SITES_LISTED)}; {_kept_room(stuck, given_up or {})}",
    )


def _kept_room(stuck: Sequence[str], given_up: Mapping[str, int]) -> str:
    released = _format_sites(f"{site} ({given_up[site]})" for site in stuck if given_up.get(site))
    if not released:
        return "its capacity there stays reserved"
    return (
        f"no room is kept for the pods that the cluster there cannot schedule: {released}; "
        "they start when it finds a node"
    )


def _format_sites(sites: Iterable[str]) -> str:
    return format_list(sorted(sites), MAX_SITES_LISTED)


def _camel_case(slug: str) -> str:
    return "".join(part.capitalize() for part in slug.split("-"))


def is_decided(workload: Workload) -> bool:
    """Whether the last decision is about the present spec, and nothing is to be withdrawn."""
    status, meta = workload.status, workload.metadata
    is_current = status.decision is not None and status.observed_generation == meta.generation
    return is_current and meta.deletion_timestamp is None


def is_spec_changed(workload: Workload) -> bool:
    """Whether the spec has changed since the last decision."""
    return workload.status.observed_generation != workload.metadata.generation


def is_unplaced(status: WorkloadStatus) -> bool:
    """Whether the last decision did not place all requested replicas."""
    placed = find_condition(status.conditions, "Placed")
    return placed is not None and placed.status == "False"
