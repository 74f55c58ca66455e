"""What is known of each site: its object, its grants, its last report, and what is in flight there.

These become the `SiteFacts` that decisions are based on. Each report is compared with the last one,
and the difference says which waiting workloads it could help.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice

import msgspec

from scheduler.control.ports.agents import OrderStatusReport, SiteReport
from scheduler.control.sites.grid_zone import OutlookOf, no_outlook
from scheduler.control.sites.last_figures import with_last_figures
from scheduler.control.sites.left_behind import LeftBehind
from scheduler.control.sites.order_reporters import OrderReporters
from scheduler.control.sites.site_readiness import HealthChange, ready_condition
from scheduler.control.sites.site_state import SiteState, not_superseded
from scheduler.control.sites.taint_times import taint_times_after, with_taint_times
from scheduler.control.sites.unschedulable import pods_without_room, unschedulable_after
from scheduler.control.sites.wake_events import wake_events_of
from scheduler.control.state.objects import HubObjects
from scheduler.model.demand.facts import (
    InFlight,
    OrderGeneration,
    PlannedRun,
    SiteFacts,
    site_facts_of,
)
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.site import SiteStatus
from scheduler.model.site_health import (
    HealthLimits,
    HealthName,
    HealthState,
    fall_silent,
    on_admitted,
    on_other_message,
    on_report,
    on_stall,
    on_time,
    on_will,
)
from scheduler.placement.filter.rules import WakeEvent
from scheduler.runtime.clock import Clock

_WALL_CLOCK_STEP_SECONDS = 1.0
"""Dates have whole seconds; what NTP corrects little by little, each report follows."""

FactsSink = Callable[[str, SiteFacts | None], None]
"""Called with (site, facts) when the facts of a site change; None when the site is gone."""

HealthSink = Callable[[HealthName], None]
"""Called with the state that a site has from now on."""


@dataclass(slots=True, kw_only=True)
class Sites:
    """All admitted sites.

    Attributes:
        objects: the hub's objects.
        clock: for the ages of reports.
        silent_after_seconds: a site that has sent nothing for this long is not ready, unless it
            reports more rarely.
        facts_sink: called with the facts of a site whenever they change.
        states: what each site has reported, by name.
        left: what workloads have left behind, and where.
        reporters: which sites report an order.
        stuck_after_seconds: room is kept this long for a pod that its cluster cannot schedule.
        limits: when a site is late, silent and lost; None: the defaults.
        health_sink: called whenever the health of a site changes.
        outlook_of: what feeds say of a grid zone.
    """

    objects: HubObjects
    clock: Clock
    silent_after_seconds: float
    facts_sink: FactsSink
    states: dict[str, SiteState] = field(default_factory=dict)
    left: LeftBehind = field(default_factory=LeftBehind)
    reporters: OrderReporters = field(default_factory=OrderReporters)
    stuck_after_seconds: float = 300.0
    limits: HealthLimits | None = None
    health_sink: HealthSink = lambda _health: None
    outlook_of: OutlookOf = no_outlook
    _known_heard_by_seconds: float = float("-inf")
    _freed_sites: set[str] = field(default_factory=set)
    _gathered: set[str] | None = None
    _wall_offset_seconds: float = field(init=False, default=0.0)
    _undated: dict[str, None] = field(init=False, default_factory=dict)
    _step: timedelta = field(init=False, default=timedelta(0))

    def __post_init__(self) -> None:
        self._wall_offset_seconds = self._wall_offset()

    def _wall_offset(self) -> float:
        """The wall clock less the monotonic one, in seconds."""
        return self.clock.now().timestamp() - self.clock.monotonic()

    def dated_now(self) -> datetime:
        """The time by which the dates in all facts are right; a decision's own time.

        It is that of the wall clock, unless that was set and the facts are not dated again yet.
        """
        now = self.clock.now()
        step = self._wall_offset() - self._wall_offset_seconds
        if abs(step) < _WALL_CLOCK_STEP_SECONDS and not self._undated:
            return now
        pending = self._step if self._undated else timedelta(seconds=round(step))
        return now - pending

    def _dating_now(self) -> datetime:
        """The time by which something is dated now: the new one as soon as dating has begun."""
        return self.clock.now() if self._undated else self.dated_now()

    @property
    def is_dating(self) -> bool:
        """Whether some sites are dated again and others are not yet."""
        return bool(self._undated)

    def begin_dating(self) -> bool:
        """Begins to date again what is known, if the wall clock was set since the last time.

        Dates that others gave, such as that of a carbon intensity or the `timeAdded` of a taint,
        stay.

        Returns:
            Whether it was set; then `date_some` is to be called until it returns False.
        """
        if self._undated:
            return True
        step = self._wall_offset() - self._wall_offset_seconds
        if abs(step) < _WALL_CLOCK_STEP_SECONDS:
            return False
        self._wall_offset_seconds += step
        self._step = timedelta(seconds=round(step))
        self._undated = dict.fromkeys(self.states)
        return bool(self._undated)

    def date_some(self, most: int) -> bool:
        """Dates so many sites again; returns whether any are left."""
        for name in list(islice(self._undated, most)):
            self._date(name)
            self._publish_facts(name)
        return bool(self._undated)

    def _date(self, name: str) -> None:
        """Dates what is kept of a site, before anything is dated by the new time."""
        if name not in self._undated:
            return
        del self._undated[name]
        state = self.states[name]
        state.taint_first_seen_at = {
            taint: at + self._step for taint, at in state.taint_first_seen_at.items()
        }
        if state.ready_changed_at is not None:
            state.ready_changed_at += self._step
        if state.health_changed_at is not None:
            state.health_changed_at += self._step

    @contextmanager
    def gathering(self) -> Iterator[set[str]]:
        """Publishes the facts of each site once, at the end, and not for each order that is set.

        Only while nothing is decided: a decision must see what every decision before it ordered.

        Yields:
            The sites whose facts are published; others may be added.
        """
        gathered: set[str] = set()
        self._gathered = gathered
        try:
            yield gathered
        finally:
            names, self._gathered = gathered, None
            for name in sorted(names):
                self._publish_facts(name)

    def admit(self, name: str) -> None:
        """Takes in a Site object that is new or changed, or whose grants have changed."""
        if name not in self.states:
            self.states[name] = self._new_state(self.objects.sites.get(name))
        self._date(name)
        state = self.states[name]
        if name in self.objects.sites:
            state.taint_first_seen_at = taint_times_after(
                state.taint_first_seen_at,
                self.objects.sites[name].spec.taints,
                self._dating_now().replace(microsecond=0),
            )
        self._publish_facts(name)

    def _new_state(self, site: Site | None) -> SiteState:
        now = self.clock.monotonic()
        was_known = site is not None and site.status.observed_at is not None
        if was_known:
            self._known_heard_by_seconds = now + self.silent_after_seconds
        return SiteState(
            admitted_seconds=now, health=on_admitted(self.health_limits, now, was_known=was_known)
        )

    @property
    def health_limits(self) -> HealthLimits:
        """When a site is late, silent and lost."""
        if self.limits is None:
            self.limits = HealthLimits(silent_after_seconds=self.silent_after_seconds)
        return self.limits

    def forget(self, name: str) -> None:
        """Forgets a site whose Site object is gone."""
        self._undated.pop(name, None)
        state = self.states.pop(name, None)
        if state is not None and state.order_status is not None:
            self.left.on_claims(name, state.order_status.kept, ())
            self.reporters.forget(name, state.order_status.orders)
        self.facts_sink(name, None)

    def on_report(self, report: SiteReport) -> frozenset[WakeEvent]:
        """Takes in a report.

        Returns:
            The events that could help waiting workloads: changed facts, shorter round trips, more
            free capacity.
        """
        self._date(report.site)
        state = self.states.get(report.site)
        if state is None:
            return frozenset()
        before, was_ready = state.report, state.is_ready
        if not report.is_cluster_reachable:
            report = with_last_figures(
                report,
                known=state.report,
                site=self.objects.sites.get(report.site),
                clock=self.clock,
            )
        given_up_before = self._given_up(state)
        state = self._after_report(state, report)
        # The state is replaced once the facts are taken in: a report that fails changes nothing.
        self._publish_facts(report.site, state)
        self.states[report.site] = state
        if not state.is_ready:
            return frozenset()
        if not was_ready or before is None or self._may_have_been_stale(before, report):
            return frozenset({"report", "latency", "capacity"})
        events = wake_events_of(before.figures, report.figures)
        if state.ordered and (
            before.bound != report.bound or self._gives_up_more(state, given_up_before)
        ):
            # A pod that is bound now may have been assumed on another node while in flight.
            return events | {"capacity"}
        return events

    def _after_report(self, state: SiteState, report: SiteReport) -> SiteState:
        before = state.report.bound if state.report else {}
        bound = report.bound
        # Of most orders a report says the same as the one before it.
        changed = [one for one in state.ordered if before.get(one) != bound.get(one)]
        after = replace(
            state,
            report=report,
            last_heard_seconds=self._sent_seconds(state, report.sent_seconds),
            ordered=state.ordered
            | {one: not_superseded(one, state.ordered[one], bound) for one in changed},
            unschedulable=unschedulable_after(state.unschedulable, report),
            intensity_history=state.intensity_history.with_intensity(
                report.figures.intensity, report.observed_seconds
            ),
        )
        # Which pods without a node count depends on the time, too.
        after.take_count(state.count(), {*changed, *state.unschedulable, *after.unschedulable})
        after.is_cluster_reachable = report.is_cluster_reachable
        health = on_report(
            state.health,
            self.health_limits,
            made_seconds=after.last_heard_seconds,
            now_seconds=self.clock.monotonic(),
            interval_seconds=report.interval_seconds,
            is_new_boot=report.is_new_boot,
        )
        self._set_health(after, health)
        self._set_ready(after, is_ready=health.is_present and after.is_cluster_reachable)
        return after

    def sealing_key_of(self, site: str) -> str:
        """The public key for which Secrets of a site are sealed; "" while it is unknown."""
        state = self.states.get(site)
        return state.report.sealing_key if state and state.report else ""

    def _sent_seconds(self, state: SiteState, made_seconds: float | None) -> float:
        made = self.clock.monotonic() if made_seconds is None else made_seconds
        return max(state.last_heard_seconds, made)

    def pods_given_up(self, site: str, order_id: str) -> int:
        """Pods of an order that a site could not schedule for so long that no room is kept."""
        state = self.states.get(site)
        return self._given_up(state).get(order_id, 0) if state else 0

    def _given_up(self, state: SiteState) -> dict[str, int]:
        return pods_without_room(state.unschedulable, state.report, self.stuck_after_seconds)

    def _gives_up_more(self, state: SiteState, before: Mapping[str, int]) -> bool:
        return any(pods > before.get(one, 0) for one, pods in self._given_up(state).items())

    def _may_have_been_stale(self, before: SiteReport, report: SiteReport) -> bool:
        """Whether the former figures may have become stale before this report came."""
        return report.observed_seconds - before.observed_seconds >= self.silent_after_seconds

    def on_order_status(self, report: OrderStatusReport) -> bool:
        """Takes in the status of a site's orders; False for a site that is not admitted."""
        state = self.states.get(report.site)
        if state is None:
            return False
        state.last_heard_seconds = self._sent_seconds(state, report.sent_seconds)
        state.health = on_other_message(
            state.health, self.health_limits, made_seconds=state.last_heard_seconds
        )
        if report.is_executing:
            before, state.order_status = state.order_status, report
            self.left.on_claims(report.site, before.kept if before else (), report.kept)
            known = before.orders.keys() if before else frozenset[str]()
            self.reporters.on_orders(report.site, known, report.orders.keys())
        return True

    def seconds_to_hear_known(self) -> float:
        """How long it may take until all sites have reported that an earlier process knew."""
        if self.clock.monotonic() >= self._known_heard_by_seconds:
            return 0.0
        return self.seconds_to_hear(
            name for name, one in self.states.items() if one.health.was_known
        )

    def seconds_to_hear(self, names: Iterable[str]) -> float:
        """How long it may take until something is known of each of these sites; 0: it is.

        Since this process began to listen, such a site has not said yet what it runs, and that is
        no silence until `silent_after_seconds` have passed.
        """
        now, most = self.clock.monotonic(), 0.0
        for state in filter(None, map(self.states.get, names)):
            if state.health.is_absent or (state.report and state.order_status):
                continue
            most = max(most, state.admitted_seconds + self.silent_after_seconds - now)
        return most

    def claims_at(self, site: str, order_id: str) -> tuple[str, ...]:
        """Names of the claims that a site keeps of an order."""
        state = self.states.get(site)
        report = state.order_status if state else None
        return report.kept.get(order_id, ()) if report else ()

    def mark_silent(self, name: str) -> bool:
        """Marks a site as silent at once.

        Returns:
            Whether the site reported before.
        """
        state = self.states.get(name)
        if state is None or not (state.is_ready or not state.is_cluster_reachable):
            return False
        now = self.clock.monotonic()
        self._apply_health(name, fall_silent(state.health, self.health_limits, now_seconds=now))
        return True

    def on_will(self, name: str) -> None:
        """Notes that the session of a site ended; only missing reports make it silent."""
        state = self.states.get(name)
        if state is not None:
            state.health = on_will(state.health, self.health_limits)

    def on_stall(self, stall_seconds: float) -> None:
        """Counts no silence for the time in which this process itself stood still."""
        now = self.clock.monotonic()
        for state in self.states.values():
            state.health = on_stall(
                state.health, self.health_limits, stall_seconds=stall_seconds, now_seconds=now
            )

    def check_health(self) -> list[HealthChange]:
        """Looks at the sites that are due, and returns what has changed since their last report."""
        now = self.clock.monotonic()
        due = [name for name, one in self.states.items() if one.health.look_seconds <= now]
        changes = []
        for name in due:
            before = self.states[name].health
            after = on_time(before, self.health_limits, now_seconds=now)
            self._apply_health(name, after)
            if after.name != before.name:
                changes.append(HealthChange(site=name, before=before.name, after=after.name))
        return changes

    def _apply_health(self, name: str, health: HealthState) -> None:
        self._date(name)
        state = self.states[name]
        changed = self._set_health(state, health)
        if changed and health.is_absent:
            state.is_cluster_reachable = True  # of its cluster nothing is known
            state.ready_changed_at = state.ready_changed_at or state.health_changed_at
            self._set_ready(state, is_ready=False)
            self._publish_facts(name)

    def _set_health(self, state: SiteState, health: HealthState) -> bool:
        """Keeps the health; returns whether it is another state."""
        is_other = state.health.name != health.name
        state.health = health
        if is_other:
            state.health_changed_at = self._dating_now()
            self.health_sink(health.name)
        return is_other

    def set_order(self, site: str, order_id: str, ordered: OrderGeneration | None) -> None:
        """Sets what an order requests at a site until a report shows it; None: not ordered."""
        state = self.states.get(site)
        if state is None:
            return
        known = state.ordered.get(order_id, ())
        if ordered is None:
            if not known:
                return
            self._freed_sites.add(site)
        elif any(one.generation == ordered.generation for one in known):
            return
        bound = state.report.bound if state.report else {}
        left = not_superseded(order_id, (*known, ordered), bound) if ordered else ()
        if not state.set_ordered(order_id, left):
            return
        if self._gathered is None:
            self._publish_facts(site)
        else:
            self._gathered.add(site)

    def has_ordered(self, site: str, order_id: str, generation: int) -> bool:
        """Whether a generation of an order counts at a site until a report shows it."""
        state = self.states.get(site)
        known = state.ordered.get(order_id, ()) if state else ()
        return any(one.generation == generation for one in known)

    def drop_generation(self, site: str, order_id: str, generation: int) -> None:
        """Gives back what was assumed of a generation that is never published."""
        state = self.states.get(site)
        if state is None or not self.has_ordered(site, order_id, generation):
            return
        known = state.ordered[order_id]
        state.set_ordered(order_id, tuple(one for one in known if one.generation != generation))
        self._freed_sites.add(site)
        self._publish_facts(site)

    def set_reserved(self, site: str, reserved: tuple[InFlight, ...]) -> None:
        """Replaces what is reserved at a site for workloads that have waited long."""
        state = self.states.get(site)
        if state is not None and state.reserved != reserved:
            state.reserved = reserved
            self._publish_facts(site)

    def keep_for_preemptors(self, site: str, kept: tuple[InFlight, ...]) -> None:
        """Replaces what is kept at a site for workloads for which others end."""
        state = self.states.get(site)
        if state is not None and state.kept_for_preemptors != kept:
            if not kept:
                self._freed_sites.add(site)
            state.kept_for_preemptors = kept
            self._publish_facts(site)

    def set_planned(self, site: str, workload: str, run: PlannedRun | None) -> None:
        """Sets what a workload is planned to start at a site later; None: nothing."""
        state = self.states.get(site)
        if state is None or state.planned.get(workload) == run:
            return
        if run is None:
            del state.planned[workload]
            self._freed_sites.add(site)
        else:
            state.planned[workload] = run
        self._publish_facts(site)

    def end_term(self) -> None:
        """Forgets what this scheduler ordered and reserved; what sites report is kept."""
        self.left, self._freed_sites = LeftBehind(), set()
        for name, state in self.states.items():
            for order_id in list(state.ordered):
                state.set_ordered(order_id, ())
            state.reserved = state.kept_for_preemptors = ()
            state.planned = {}
            if state.order_status is not None:
                self.left.on_claims(name, (), state.order_status.kept)
            self._publish_facts(name)

    def release_reserved(self, site: str) -> None:
        """Gives back all that is reserved at a site; the site then counts as freed."""
        self.set_reserved(site, ())
        self._freed_sites.add(site)

    def take_freed(self) -> set[str]:
        """Sites where ordered or reserved capacity was given back since the last call."""
        freed, self._freed_sites = self._freed_sites, set()
        return freed

    def status_of(self, name: str, state: SiteState | None = None) -> SiteStatus:
        """The figures of a site as its status; what the site never reported is absent.

        Args:
            name: the site's name.
            state: another state than the one that is kept.
        """
        state, site = state or self.states[name], self.objects.sites[name]
        ready = ready_condition(state, clock=self.clock)
        if state.report is None:
            figures, observed_at = SiteStatus(), site.status.observed_at
        else:
            figures, observed_at = (
                state.report.figures,
                self._instant_of(state.report.observed_seconds),
            )
        return msgspec.structs.replace(figures, observed_at=observed_at, conditions=(ready,))

    def facts_of(self, name: str, state: SiteState | None = None) -> SiteFacts:
        """The facts of a site as decisions see them now.

        Args:
            name: the site's name.
            state: another state than the one that is kept.
        """
        state, site = state or self.states[name], self.objects.sites[name]
        spec = msgspec.structs.replace(
            site.spec, taints=with_taint_times(site.spec.taints, state.taint_first_seen_at)
        )
        # That a site is late or held changes no decision, so it is no other fact.
        ready = ready_condition(state, clock=None)
        status = msgspec.structs.replace(self.status_of(name, state), conditions=(ready,))
        return site_facts_of(
            msgspec.structs.replace(site, spec=spec, status=status),
            self.objects.grants_of(name),
            in_flight=state.in_flight(self.stuck_after_seconds),
            p90=state.intensity_history.p90(),
            last_forecast=state.zone.kept_forecast(self._dating_now()),
            zone_intensity=state.zone.intensity,
            zone_forecast=state.zone.forecast,
            planned=[state.planned[each] for each in sorted(state.planned)],
        )

    def refresh_zone(self, grid_zone: str) -> None:
        """Takes in what feeds say of a grid zone from now on."""
        for name in list(self.states):
            site = self.objects.sites.get(name)
            if site is not None and site.spec.energy.grid_zone == grid_zone:
                self._date(name)
                self._publish_facts(name)

    def _publish_facts(self, name: str, state: SiteState | None = None) -> None:
        if name in self.objects.sites and name in self.states:
            self._note_zone(name, state or self.states[name])
            self.facts_sink(name, self.facts_of(name, state))

    def _note_zone(self, name: str, state: SiteState) -> None:
        reported = state.report.figures.intensity if state.report else None
        state.zone.note(self.objects.sites[name], reported, self.outlook_of, self._dating_now())

    def _set_ready(self, state: SiteState, *, is_ready: bool) -> None:
        if state.is_ready != is_ready or state.ready_changed_at is None:
            state.is_ready, state.ready_changed_at = is_ready, self._dating_now()

    def _instant_of(self, observed_seconds: float) -> datetime:
        age = max(0.0, self.clock.monotonic() - observed_seconds)
        return (self._dating_now() - timedelta(seconds=age)).replace(microsecond=0)
