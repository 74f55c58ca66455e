"""The condition `Ready` of a site: what its health and its cluster mean, in words for people."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from scheduler.control.ports.agents import SiteReport
from scheduler.model.demand.facts import CLUSTER_UNREACHABLE
from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.fields import Condition
from scheduler.model.site_health import HealthName, HealthState
from scheduler.runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChange:
    """The health of a site changed because time passed.

    Attributes:
        site: its name.
        before: the state before.
        after: the state now.
    """

    site: str
    before: HealthName
    after: HealthName


class KnownReadiness(Protocol):
    """What is known of whether a site is there; `sites.SiteState` has it."""

    @property
    def report(self) -> SiteReport | None:
        """The last report."""
        ...

    @property
    def health(self) -> HealthState:
        """Whether its messages come in time."""
        ...

    @property
    def health_changed_at(self) -> datetime | None:
        """Since when its health is that."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether it reports, and its cluster answers its agent."""
        ...

    @property
    def is_cluster_reachable(self) -> bool:
        """Whether its cluster answers its agent."""
        ...

    @property
    def ready_changed_at(self) -> datetime | None:
        """When `is_ready` changed last."""
        ...


def ready_condition(known: KnownReadiness, *, clock: Clock | None) -> Condition:
    """The condition `Ready`.

    Args:
        known: what is known of the site.
        clock: for what only people read, such as that the site is late; None: as decisions see it.
    """
    is_unknown = known.health.name == "Unknown" and known.is_cluster_reachable
    return Condition(
        type="Ready",
        status="True" if known.is_ready else "Unknown" if is_unknown and clock else "False",
        reason=_reason(known, shows_late=clock is not None),
        message=_message(known) if clock is None else _shown_message(known, clock),
        last_transition_time=known.ready_changed_at,
    )


def progress_condition(ready: Condition) -> Condition | None:
    """`Reconciling` or `Stalled` beside `Ready`, as kstatus reads them; None: neither applies.

    A site that does not report may come back by itself; one that is lost needs someone.
    """
    if ready.status == "True":
        return None
    return msgspec.structs.replace(
        ready, type="Stalled" if ready.reason == "Lost" else "Reconciling", status="True"
    )


def _reason(known: KnownReadiness, *, shows_late: bool) -> str:
    if known.is_ready:
        return "Late" if shows_late and known.health.name == "Late" else "Reporting"
    if not known.is_cluster_reachable:
        return CLUSTER_UNREACHABLE
    return "Lost" if known.health.name == "Lost" else "Silent"


def _message(known: KnownReadiness) -> str:
    if known.is_ready:
        return ""
    if not known.is_cluster_reachable:
        return "the agent reports, and the API server of its cluster does not answer it"
    if known.report is None:
        return "the site has not reported since the scheduler started"
    return "the site does not report; what runs there is unknown"


def _shown_message(known: KnownReadiness, clock: Clock) -> str:
    """The message with what changes no decision: since when, and until when a site is held."""
    name, since = known.health.name, known.health_changed_at
    text_since = f" since {format_rfc3339(since)}" if since is not None else ""
    if known.is_ready:
        return f"its reports are missing or came late{text_since}" if name == "Late" else ""
    if not known.is_cluster_reachable:
        problem = known.report.cluster_problem if known.report is not None else ""
        return f"{_message(known)}: {problem}" if problem else _message(known)
    if not known.health.is_absent:
        return _message(known)
    until = known.health.held_until_seconds
    if until is None:
        return f"{name}{text_since}: {_message(known)}"
    at = clock.now() + timedelta(seconds=max(0.0, until - clock.monotonic()))
    return (
        f"{name}{text_since}: it reports again, and counts as there from "
        f"{format_rfc3339(at.replace(microsecond=0))} on if it does so in time until then, because "
        f"it fell silent {known.health.falls} times in a short time"
    )
