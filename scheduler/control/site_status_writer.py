"""Writes each site's figures to its status: at once when `Ready` changes, else at intervals."""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from scheduler.control.ports.hub import SITES, Hub, HubError, NotFound
from scheduler.control.sites.site_readiness import progress_condition
from scheduler.control.sites.sites import Sites
from scheduler.control.status.not_enforced import not_enforced_condition
from scheduler.control.status.workload import merge_patch
from scheduler.model.canonical import to_plain_json
from scheduler.model.figures import UNKNOWN, site_figures
from scheduler.model.formatters import format_list
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.site import SiteStatus
from scheduler.model.site_health import HealthName
from scheduler.runtime.backoff import JitteredBackoff
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_CHECK_INTERVAL_SECONDS = 1.0
_MAX_NAMESPACES = 200
_MAX_ROWS = 200
_MAX_ROUND_TRIPS = 256
_MAX_API_KINDS = 1024
_MAX_BYTES = 512 * 1024
"""Far below the 1.5 MB that etcd accepts, whatever the names and values in the figures are."""
_LISTS = ("node_classes", "namespaces", "api_kinds", "cluster_kinds", "rtt")
_MAX_LISTED = 6


@dataclass(slots=True)
class _LastWrite:
    shown: tuple[bool, HealthName, bool, str, str, str, str, str, str, int]
    at_seconds: float
    status: dict[str, Any]
    cluster_problem: str = ""


@dataclass(slots=True)
class _Refusal:
    """A site whose status the hub has refused.

    Attributes:
        backoff: the pauses between attempts.
        until_seconds: nothing is sent before this monotonic time.
    """

    backoff: JitteredBackoff
    until_seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class SiteStatusWriter:
    """Keeps `Site.status` up to date for people, and for the scheduler after a restart.

    Attributes:
        hub: where the statuses are written.
        sites: what is known of sites.
        clock: for the intervals.
        interval_seconds: time between two writes of figures of one site.
        faults: handles the faults that single sites cause.
        foreign_index: the condition of a site that works by an index which is not ours.
        unknown_orders_at: gives the orders of a site that the hub does not know and leaves running.
        without_nonce: gives the agents of a site that cannot prove that their reports are fresh.
        evictions_held: the condition of a site that is silent and from which nothing is evicted.
        schedulable: the condition of a site that takes no new work.
        survives_loss: the condition that says whether the loss of a site can be survived.
        forgotten: the condition of a site of which it is recorded that an operator forgets it.
        drilled: the condition of a site that a drill treats as lost.
        jitter: draws the pauses after requests that failed.
    """

    hub: Hub
    sites: Sites
    clock: Clock
    interval_seconds: float
    faults: Faults
    foreign_index: Callable[[str], Condition | None] = lambda _site: None
    unknown_orders_at: Callable[[str], Sequence[str]] = lambda _site: ()
    without_nonce: Callable[[str], Sequence[str]] = lambda _site: ()
    evictions_held: Callable[[str], Condition | None] = lambda _site: None
    schedulable: Callable[[str], Condition | None] = lambda _site: None
    survives_loss: Callable[[str], Condition | None] = lambda _site: None
    forgotten: Callable[[str], Condition | None] = lambda _site: None
    drilled: Callable[[str], Condition | None] = lambda _site: None
    jitter: random.Random = field(default_factory=random.Random)
    _written: dict[str, _LastWrite] = field(default_factory=dict)
    _refused: dict[str, _Refusal] = field(default_factory=dict)
    _named: dict[str, tuple[str, ...]] = field(default_factory=dict)

    async def run(self) -> None:
        """Runs until cancelled."""
        backoff = self._new_backoff()
        while True:
            trouble = await self.write_due()
            if trouble is None:
                backoff.reset()
                await self.clock.sleep(_CHECK_INTERVAL_SECONDS)
            else:
                await self.clock.sleep(backoff.next_seconds(trouble.retry_after_seconds))

    def _new_backoff(self) -> JitteredBackoff:
        return JitteredBackoff(
            first_seconds=2 * _CHECK_INTERVAL_SECONDS,
            max_seconds=self.interval_seconds,
            min_seconds=_CHECK_INTERVAL_SECONDS,
            jitter=self.jitter,
        )

    async def write_due(self) -> HubError | None:
        """Writes each status that is due; ends early when the hub does not serve us.

        Returns:
            What the hub says then; None otherwise.
        """
        for name in [name for name in self.sites.states if self._is_due(name)]:
            trouble = None
            with self.faults.barrier("site-status", name):
                trouble = await self._write(name)
            if trouble is not None:
                return trouble
        return None

    def _is_due(self, name: str) -> bool:
        state, written = self.sites.states[name], self._written.get(name)
        if name not in self.sites.objects.sites or not self.faults.admits("site-status", name):
            return False
        refused = self._refused.get(name)
        if refused is not None and self.clock.monotonic() < refused.until_seconds:
            return False
        if written is None or written.shown != self._shown(name):
            return True
        old = self.clock.monotonic() - written.at_seconds >= self.interval_seconds
        return old and (state.is_ready or written.cluster_problem != self._cluster_problem(name))

    def _cluster_problem(self, name: str) -> str:
        """Why its cluster does not answer; its words may change with every report."""
        state = self.sites.states[name]
        is_known = state.report is not None and not state.is_cluster_reachable
        return state.report.cluster_problem if is_known and state.report else ""

    def _shown(self, name: str) -> tuple[bool, HealthName, bool, str, str, str, str, str, str, int]:
        """What is written at once when it changes: readiness, health, what holds it, its spec."""
        state = self.sites.states[name]
        health = state.health
        held, closed = self.evictions_held(name), self.schedulable(name)
        forgotten, survives = self.forgotten(name), self.survives_loss(name)
        drilled = self.drilled(name)
        return (
            state.is_ready,
            health.name,
            health.held_until_seconds is not None,
            held.reason if held else "",
            f"{closed.reason}: {closed.message}" if closed else "",
            forgotten.message if forgotten else "",
            survives.status if survives else "",
            drilled.message if drilled else "",
            " ".join(self._missing_at(name)),
            self.sites.objects.sites[name].metadata.generation,
        )

    async def _write(self, name: str) -> HubError | None:
        """Patches what changed; no other client writes this status, so no version is needed."""
        if name not in self.sites.states or name not in self.sites.objects.sites:
            return None  # it went while others were written
        status = to_plain_json(truncate_status(self._status_of(name)))
        before = self._written.get(name)
        known = before.status if before else to_plain_json(self.sites.objects.sites[name].status)
        shown, problem = self._shown(name), self._cluster_problem(name)
        try:
            patch = {"status": merge_patch(known, status)}
            await self.hub.merge_patch(SITES, name, patch, subresource="status")
        except NotFound as error:
            self._written.pop(name, None)
            self._pause_after_refusal(name, error)
        except HubError as error:
            if error.is_trouble_of_the_hub:
                return error
            self._pause_after_refusal(name, error)
            _log.warning("status of site %s: %s", name, error, extra={"site": name})
        else:
            self._refused.pop(name, None)
            now = self.clock.monotonic()
            self._written[name] = _LastWrite(shown, now, status, problem)
        return None

    def _pause_after_refusal(self, name: str, error: HubError) -> None:
        """Lets time pass until the next attempt for a site, more after each refusal."""
        refused = self._refused.setdefault(name, _Refusal(self._new_backoff()))
        pause = refused.backoff.next_seconds(error.retry_after_seconds)
        refused.until_seconds = self.clock.monotonic() + pause

    def _status_of(self, name: str) -> SiteStatus:
        """The figures of a site, with what its orders show beyond them."""
        status, is_ready = self.sites.status_of(name), self.sites.states[name].is_ready
        site = self.sites.objects.sites[name]
        figures = site_figures(site.spec, status, is_reporting=is_ready)
        more = (
            *(progress_condition(one) for one in status.conditions),
            self._unknown_orders_condition(name),
            self.foreign_index(name),
            self.evictions_held(name),
            self.schedulable(name),
            self.forgotten(name),
            self.drilled(name),
            self.survives_loss(name),
            self._without_nonce_condition(name),
            self._missing_facts_condition(name),
            not_enforced_condition(site, self.sites.states[name].ready_changed_at),
        )
        observed = site.metadata.generation
        return msgspec.structs.replace(
            status,
            free_cpu=figures.free_cpu or UNKNOWN,
            current_intensity=figures.intensity_text or UNKNOWN,
            observed_generation=observed,
            conditions=tuple(
                msgspec.structs.replace(one, observed_generation=observed or None)
                for one in (*status.conditions, *more)
                if one is not None
            ),
        )

    def _missing_at(self, name: str) -> Mapping[str, float]:
        """Sensors whose facts are missing, as long as the site reports."""
        state = self.sites.states[name]
        return state.report.missing if state.report is not None and state.is_ready else {}

    def _missing_facts_condition(self, name: str) -> Condition | None:
        missing = self._missing_at(name)
        if not missing:
            return None
        now = self.clock.now().replace(second=0, microsecond=0)
        since = {one: now - timedelta(seconds=seconds) for one, seconds in missing.items()}
        listed = [f"{one} since {at:%Y-%m-%dT%H:%M}Z" for one, at in sorted(since.items())]
        return Condition(
            type="FactsComplete",
            status="False",
            reason="SensorsMissing",
            message=f"the agent has no facts of {format_list(listed, _MAX_LISTED)}; its log says "
            "why, and what is unknown counts as the worst",
            last_transition_time=min(since.values()),
        )

    def _without_nonce_condition(self, name: str) -> Condition | None:
        agents = self.without_nonce(name)
        if not agents:
            return None
        return Condition(
            type="FreshnessProven",
            status="False",
            reason="NoNonce",
            message=f"agents that know no nonces: {format_list(agents, _MAX_LISTED)}; what "
            "they report counts as fresh when it arrives; bring them to this version, then set "
            "freshness.require_nonce",
            last_transition_time=self.sites.states[name].ready_changed_at,
        )

    def _unknown_orders_condition(self, name: str) -> Condition | None:
        unknown = tuple(self.unknown_orders_at(name))
        if unknown and self._named.get(name) != unknown:
            names = format_list(unknown, _MAX_LISTED)
            _log.warning("site %s: the hub does not know orders that run on there: %s", name, names)
        self._named[name] = unknown
        if not unknown:
            return None
        return Condition(
            type="UnknownOrders",
            status="True",
            reason="LeftRunning",
            message=f"the site runs {len(unknown)} orders that the hub does not know: "
            f"{format_list(unknown, _MAX_LISTED)}; it gets no new orders until their "
            "workloads are applied again, or an operator runs "
            "kapok hub adopt --unknown-orders withdraw",
            last_transition_time=self.sites.states[name].ready_changed_at,
        )


def truncate_status(status: SiteStatus) -> SiteStatus:
    """The status with at most `_MAX_ROWS` rows of equal nodes.

    It is not larger than an object of the hub may be; what is left out is said by `truncated`.
    """
    left, kept = _MAX_ROWS, []
    for one in status.node_classes[:_MAX_ROWS]:
        rows = one.free[:left]
        left -= len(rows)
        if rows:
            kept.append(msgspec.structs.replace(one, free=rows))
    rows_in_all = sum(len(one.free) for one in status.node_classes)
    short = msgspec.structs.replace(
        status,
        node_classes=tuple(kept),
        truncated=rows_in_all > _MAX_ROWS,
        rtt=status.rtt[:_MAX_ROUND_TRIPS],
        namespaces=status.namespaces[:_MAX_NAMESPACES],
        api_kinds=None if status.api_kinds is None else status.api_kinds[:_MAX_API_KINDS],
        cluster_kinds=(
            None if status.cluster_kinds is None else status.cluster_kinds[:_MAX_API_KINDS]
        ),
    )
    while len(msgspec.json.encode(short)) > _MAX_BYTES:
        short = _with_largest_list_halved(short)
    return short


def _with_largest_list_halved(status: SiteStatus) -> SiteStatus:
    sizes = {name: len(msgspec.json.encode(getattr(status, name))) for name in _LISTS}
    largest = max(sizes, key=lambda name: sizes[name])
    items = getattr(status, largest)
    half = {largest: items[: len(items) // 2]}
    return msgspec.structs.replace(status, truncated=True, **half)
