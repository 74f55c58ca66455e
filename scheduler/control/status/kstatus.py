"""`Ready`, `Reconciling` and `Stalled` of a workload, as kstatus reads them. Pure.

Tools that wait for any kind (`kubectl wait`, Flux, Argo CD with `manifests/argocd/health.lua`) know
these conditions and `observedGeneration` alone (sigs.k8s.io/cli-utils, pkg/kstatus):

- `Ready` is True once all requested replicas are ready, or all jobs have completed;
- `Reconciling` is there while Kapok, a site or Kubernetes is still to do something;
- `Stalled` is there while nothing goes on until someone edits the workload or the sites.

A drift that `spec.onDrift: Report` leaves changes none of them: it is what the spec asks for. The
message of `Ready` names it (docs/decisions/0105-drift-and-ready.md).

A rollout that goes on reconciles, and one that is paused or was rolled back is stalled.

The last two conditions are there only while they are True, and never both. They follow from the
rest of the status, so they are written with it.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from scheduler.control.status.conditions import find_condition, set_condition
from scheduler.control.status.failover import FAILOVER
from scheduler.control.status.migration import SiteView, health_of, shares_in
from scheduler.control.status.phase import clip_text
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import WorkloadStatus
from scheduler.placement.failover.plan import HOLD_SENTENCES

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"


def has_failed_site(status: WorkloadStatus, views: Mapping[str, SiteView]) -> bool:
    """Whether a site says that replicas which stay have failed."""
    shares = shares_in(status.placement.groups)
    return any(
        one.replicas and health_of(one, views[site]) == "failed"
        for site, one in shares.items()
        if site in views
    )


def with_kstatus(status: WorkloadStatus, *, is_failed: bool, now: datetime) -> WorkloadStatus:
    """The status with these conditions, each condition of it with the observed generation.

    Args:
        status: complete but for them.
        is_failed: see `has_failed_site`.
        now: becomes the transition time of conditions that change.
    """
    stalled = _stalled_reason(status, is_failed=is_failed)
    is_ready = not stalled and _is_ready(status)
    reason = stalled or str(status.phase or "Pending")
    message = clip_text(_left_drift(status) if is_ready else status.reason or _rollout(status))
    ready = Condition(
        type=READY, status="True" if is_ready else "False", reason=reason, message=message
    )
    after = set_condition(status, ready, READY, now)
    for kind, is_true in ((RECONCILING, not is_ready and not stalled), (STALLED, bool(stalled))):
        found = Condition(type=kind, status="True", reason=reason, message=message)
        after = set_condition(after, found if is_true else None, kind, now)
    observed = status.observed_generation or None
    conditions = tuple(
        one
        if one.observed_generation == observed
        else msgspec.structs.replace(one, observed_generation=observed)
        for one in after.conditions
    )
    return msgspec.structs.replace(after, conditions=conditions)


def _is_ready(status: WorkloadStatus) -> bool:
    """Whether it runs or has completed; what is scaled to 0 is as it is to be."""
    if status.rollout is not None and status.rollout.phase != "Complete":
        return False
    if status.phase in ("Running", "Completed"):
        return True
    available = find_condition(status.conditions, "Available")
    serves = available is not None and available.status == "True"
    return status.phase == "Placed" and not status.replicas and serves


def _left_drift(status: WorkloadStatus) -> str:
    """What is ready though it was changed at its sites, and stays so; "" without such."""
    drifted = find_condition(status.conditions, "Drifted")
    return f"changed at its sites and left so: {drifted.message}" if drifted is not None else ""


def _rollout(status: WorkloadStatus) -> str:
    """How far a rollout is; "" without one."""
    found = find_condition(status.conditions, "RolledOut")
    return found.message if found is not None and found.status == "False" else ""


def _stalled_reason(status: WorkloadStatus, *, is_failed: bool) -> str:
    """Why nothing goes on until someone acts; "" while something does."""
    if status.phase == "Deleting":
        return ""
    accepted = find_condition(status.conditions, "Accepted")
    if accepted is not None and accepted.status == "False":
        return accepted.reason
    if status.phase == "Refused":
        return "Refused"
    stopped = status.rollout.phase if status.rollout is not None else ""
    if stopped in ("Paused", "RolledBack") or status.phase != "Degraded":
        return f"Rollout{stopped}" if stopped in ("Paused", "RolledBack") else ""
    if is_failed:
        available = find_condition(status.conditions, "Available")
        word = available.reason if available is not None else ""
        return "Failed" if word in ("", "Degraded") else word
    failover = find_condition(status.conditions, FAILOVER)
    is_held = failover is not None and failover.reason in HOLD_SENTENCES
    return failover.reason if failover is not None and is_held else ""
