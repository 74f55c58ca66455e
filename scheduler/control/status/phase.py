"""Phase, readiness, exceptions and endpoints of a workload by the health of its shares. Pure.

Where a site with replicas is silent, nothing is known of them: the phase is Degraded, and the
ready replicas are `?`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from scheduler.control.ports.agents import OrderState
from scheduler.control.status.conditions import MAX_SITES_LISTED, find_condition
from scheduler.control.status.migration import Health, SiteShare, SiteView
from scheduler.model.demand.facts import CLUSTER_UNREACHABLE
from scheduler.model.figures import format_readiness
from scheduler.model.formatters import format_list
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import (
    MAX_ENDPOINTS,
    MAX_EXCEPTIONS,
    Endpoint,
    SiteHealth,
    WorkloadStatus,
)

ConditionStatus = Literal["True", "False", "Unknown"]
MAX_TEXT_LENGTH = 1024
"""Characters of a text in a status or an event; the CRD allows no more."""
_SITE_SILENT = "SiteSilent"
"""Reason while a site with replicas does not report."""
_SILENCE_WORDS = {
    _SITE_SILENT: "the site does not report",
    CLUSTER_UNREACHABLE: "the API server of its cluster does not answer its agent",
}


def phase_and_reason(
    status: WorkloadStatus, healths: Mapping[str, Health], views: Mapping[str, SiteView]
) -> tuple[Any, str]:
    """The phase, and one line that says what keeps the workload from running."""
    found = set(healths.values())
    if "failed" in found:
        what = {"Recreated": "made again and again", "NotRun": "not run"}
        word = what.get(trouble_of(healths, views), "failed")
        return "Degraded", f"{word} at {_format_sites_with_health(healths, views, 'failed')}"
    if found <= {"running", "finished"}:
        return ("Running" if "running" in found else "Completed"), ""
    if "silent" in found:
        silent = sorted(site for site, one in healths.items() if one == "silent")
        listed = format_list(silent, MAX_SITES_LISTED)
        word = silence_of(healths, views)
        text = f"unknown at {listed}: {_SILENCE_WORDS[word]}"
        is_over = status.phase == "Completed"
        return ("Completed", text) if is_over else ("Degraded", f"{word}: {text}")
    placing = _format_sites_with_health(healths, views, "placing")
    if status.phase == "Completed" and "running" not in found:
        # A site that has lost its disk knows nothing of the order, and does not run it again.
        return "Completed", ""
    if status.phase == "Running" or (status.phase == "Degraded" and not _was_only_silent(status)):
        return "Degraded", f"not all ready at {placing}"
    has_message = any(view.state and view.state.message for view in views.values())
    return "Placed", f"not yet at {placing}" if has_message else ""


def _was_only_silent(status: WorkloadStatus) -> bool:
    """Whether nothing was wrong but a site's silence, before what is placed there ever ran."""
    available = find_condition(status.conditions, "Available")
    ran = any(group.phase == "Running" for group in status.placement.groups)
    return available is not None and available.reason in _SILENCE_WORDS and not ran


def _format_sites_with_health(
    healths: Mapping[str, Health], views: Mapping[str, SiteView], health: Health
) -> str:
    """The sites of one health, with the first message that one of them reports."""
    sites = sorted(site for site, one in healths.items() if one == health)
    states = (views[site].state for site in sites)
    message = next((one.message for one in states if one and one.message), "")
    listed = format_list(sites, MAX_SITES_LISTED)
    return f"{listed}: {message}" if message else listed


def available_condition(
    phase: Any,  # noqa: ANN401 - a phase
    reason: str,
    healths: Mapping[str, Health],
    *,
    serves: bool,
    trouble: str = "",
) -> Condition:
    """`Available`: Unknown while a site is silent, else whether the workload serves."""
    text = clip_text(reason)
    if "silent" in healths.values():
        word = trouble if trouble in _SILENCE_WORDS else _SITE_SILENT
        return Condition(type="Available", status="Unknown", reason=word, message=text)
    good = phase in ("Running", "Completed") or (phase == "Placed" and serves)
    status: ConditionStatus = "True" if good else "False"
    word = trouble if trouble and phase == "Degraded" else str(phase)
    return Condition(type="Available", status=status, reason=word, message=text)


def trouble_of(healths: Mapping[str, Health], views: Mapping[str, SiteView]) -> str:
    """The reason of `Available` when a site names a trouble of its own; "" without such."""
    states = [views[site].state for site, one in healths.items() if one == "failed"]
    if any(state.recreated for state in states if state):
        return "Recreated"
    if any(state.not_run for state in states if state):
        return "NotRun"
    return silence_of(healths, views) if "silent" in healths.values() else ""


def silence_of(healths: Mapping[str, Health], views: Mapping[str, SiteView]) -> str:
    """Why nothing is known of the silent sites: ClusterUnreachable if that is so at all of them."""
    silent = [views[site] for site, one in healths.items() if one == "silent"]
    is_unreachable = bool(silent) and all(view.is_unreachable for view in silent)
    return CLUSTER_UNREACHABLE if is_unreachable else _SITE_SILENT


def ready_replicas(shares: Mapping[str, SiteShare], views: Mapping[str, SiteView]) -> int:
    """Replicas that are known to be ready; those of a silent site are not.

    During a move, old and new replicas run side by side; the count does not exceed the replicas
    that are to stay.
    """
    ready = sum(_ready_at(views[site], one.ordered) for site, one in shares.items())
    if any(one.leaving for one in shares.values()):
        return min(ready, sum(one.replicas for one in shares.values()))
    return ready


def readiness_text(
    phase: Any,  # noqa: ANN401 - a phase
    shares: Mapping[str, SiteShare],
    healths: Mapping[str, Health],
    views: Mapping[str, SiteView],
    desired: int,
) -> str:
    """Ready of desired replicas; those of ended jobs count, those of a silent site are unknown."""
    if phase == "Completed" and healths:
        return format_readiness(desired, desired)
    if "silent" in healths.values():
        return format_readiness(None, desired)
    ended = sum(shares[site].replicas for site, one in healths.items() if one == "finished")
    others = {site: one for site, one in shares.items() if healths.get(site) != "finished"}
    return format_readiness(min(ended + ready_replicas(others, views), desired), desired)


def _ready_at(view: SiteView, ordered: int) -> int:
    """The ready replicas at one site; those beyond its order make up for none of another site."""
    ready = (view.state.ready or 0) if view.state and not view.is_silent else 0
    return min(ready, ordered)


def exceptions_of(
    healths: Mapping[str, Health], views: Mapping[str, SiteView]
) -> tuple[SiteHealth, ...]:
    """The sites where not everything is ready, sorted by name."""
    found = []
    for site in sorted(healths):
        state = views[site].state
        if healths[site] == "silent":
            word = CLUSTER_UNREACHABLE if views[site].is_unreachable else _SITE_SILENT
            message = f"unknown: {_SILENCE_WORDS[word]}"
            found.append(SiteHealth(site=site, silent=True, message=message))
        elif healths[site] in ("failed", "placing"):
            ready = (state.ready if state else None) or 0
            found.append(SiteHealth(site=site, ready=ready, message=_format_order_state(state)))
    return tuple(found[:MAX_EXCEPTIONS])


def _format_order_state(state: OrderState | None) -> str:
    if state is None:
        return "ordered; the site has not reported on the order yet"
    return clip_text(f"{state.phase}: {state.message}" if state.message else state.phase)


def clip_text(text: str) -> str:
    """A text that the CRD allows in a status."""
    return text if len(text) <= MAX_TEXT_LENGTH else text[: MAX_TEXT_LENGTH - 3] + "..."


def with_endpoints(
    status: WorkloadStatus, sites: Iterable[str], views: Mapping[str, SiteView]
) -> WorkloadStatus:
    """The status with the endpoints that these sites report, by site and address.

    An endpoint of a silent site stays, because its pods may run, and is not ready.
    """
    found = [
        Endpoint(
            site=site,
            address=one.address,
            port=one.port,
            ready=one.ready and not view.is_silent,
            host=one.host,
        )
        for site in sorted(sites)
        if (view := views.get(site)) is not None and view.state is not None
        for one in sorted(view.state.endpoints)
    ]
    if not found and not status.endpoints:
        return status
    return msgspec.structs.replace(
        status,
        endpoints=tuple(found[:MAX_ENDPOINTS]),
        endpoints_left_out=max(0, len(found) - MAX_ENDPOINTS),
    )
