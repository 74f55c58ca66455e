"""The loops' centre: every event comes in here, and says which workloads are to be looked at.

One worker takes workloads off the queue one after the other; effects are in `reconcile`. What is
heard from sites goes into `sites` and `dispatch` at once, synchronously, so that a decision always
stands on one consistent state.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.ports.agents import OrderState, SiteReport, SiteWord, Speaker
from scheduler.control.ports.hub import (
    GRANTS,
    POLICIES,
    SITES,
    TENANTS,
    WORKLOADS,
    Conflict,
    HubError,
)
from scheduler.control.ports.telemetry import Telemetry
from scheduler.control.queue.reservations import ROOM, Reservations
from scheduler.control.queue.work_queue import Urgency, WorkQueue
from scheduler.control.reconcile.outcome import Outcome
from scheduler.control.reconcile.reconciler import Reconciler
from scheduler.control.state.fair_shares import SharesOfTenants
from scheduler.control.state.objects import Registry
from scheduler.control.state.sites import Sites
from scheduler.control.state.unadmitted_sites import PendingSites
from scheduler.model.kinds.kinds import Site, Workload
from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.filter.rules import Event
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

_SILENCE_LOOK_SECONDS = 1.0
_HEAR_LOOK_SECONDS = 0.05
_STUCK_LOOK_SECONDS = 30.0
_WAKE_SECONDS = 0.1
_WAKE_AT_ONCE = 1000
_ELSEWHERE: Mapping[str, Event] = {"placed": "placed", "deleted": "gone"}
"""What the result of one look means for other workloads."""


@dataclass(slots=True)
class Loop:
    """Where events become work.

    Attributes:
        registry: the hub's objects.
        sites: what is known of sites.
        dispatcher: orders on their way.
        reconciler: what is done with one workload.
        queue: which is next.
        shares: whose work it is, and how much he uses.
        pending: strangers.
        speaker: for asking sites.
        telemetry: counts attempts.
        clock: for durations.
        reservations: room that is kept for who waits long.
        hear_seconds: how long sites are waited for after a start.
        is_open: all objects are known, so that changes are looked at one by one.
        has_started: the start is over, and decisions are made.
    """

    registry: Registry
    sites: Sites
    dispatcher: Dispatcher
    reconciler: Reconciler
    queue: WorkQueue
    shares: SharesOfTenants
    pending: PendingSites
    speaker: Speaker
    telemetry: Telemetry
    clock: Clock
    reservations: Reservations
    hear_seconds: float
    is_open: bool = False
    has_started: bool = False
    _leaving: set[WorkKey] = field(default_factory=set)
    _boundaries: list[datetime] = field(default_factory=list)
    _events: set[Event] = field(default_factory=set)
    _gained: set[str] = field(default_factory=set)
    _event: asyncio.Event = field(default_factory=asyncio.Event)

    # ------------------------------------------------------------ from the hub

    def changed(self, kind: str, key: WorkKey, sites: frozenset[str]) -> None:
        """An object of ours changed in the hub; `sites` are those that it is about."""
        if kind == WORKLOADS.kind:
            self._workload_changed(key)
        elif kind == SITES.kind:
            self._site_changed(key[1])
        elif kind == GRANTS.kind:
            self._grants_changed(sites)
        else:
            if kind == TENANTS.kind:
                self.shares.tenants_changed()
            self.reconciler.wishes.ask_anew(self._following(kind, key))
            self._redecide(self.registry.workloads)
            self._happened("scheme", "tenant", "workload")

    def _following(self, kind: str, key: WorkKey) -> list[WorkKey]:
        """The workloads of a policy; what it says anew is asked anew."""
        if kind != POLICIES.kind:
            return []
        return [
            each
            for each, one in self.registry.workloads.items()
            if each[0] == key[0] and one.spec.policy_ref and one.spec.policy_ref.name == key[1]
        ]

    def _workload_changed(self, key: WorkKey) -> None:
        workload = self.registry.workloads.get(key)
        if workload is not None and workload.metadata.deletion_timestamp:
            self._leaving.add(key)
        else:
            self._leaving.discard(key)
        self._enqueue(key)

    def _site_changed(self, name: str) -> None:
        site = self.registry.sites.get(name)
        self.reservations.forget_site(name)
        if site is None:
            self.sites.forget(name)
            self.dispatcher.forget_site(name)
            self._redecide(self.registry.placed_at(name))
        else:
            self.admit(site)
            self._redecide(self.registry.placed_at(name))
        self._gained.add(name)
        self._happened("site", "report", "latency", "capacity")

    def admit(self, site: Site) -> None:
        """A site is there: it is listened to, and spoken to once it was heard."""
        name = site.metadata.name
        is_new = name not in self.sites.states
        self.sites.admit(name)
        self.dispatcher.admit(name, site.metadata.uid)
        self.pending.admitted(name)
        if is_new:
            self.speaker.ask(name, self.dispatcher.epoch, want_status=True, want_report=True)

    def _grants_changed(self, sites: Iterable[str]) -> None:
        """What runs at these sites may now break a right, and what waits may now have one."""
        for name in sites:
            if name in self.sites.states:
                self.sites.admit(name)
                self._redecide(self.registry.placed_at(name))
        self._note_boundaries()
        self._happened("grant", "time")

    def _note_boundaries(self) -> None:
        """Instants at which a grant begins or ends."""
        now = self.clock.now()
        specs = [one.spec for one in self.registry.grants.values()]
        instants = [at for spec in specs for at in (spec.valid_from, spec.valid_until) if at]
        self._boundaries = sorted(at for at in instants if at > now)

    # ------------------------------------------------------------ from sites

    def report(self, report: SiteReport) -> None:
        """A newer report than the last one."""
        was_silent = self._is_silent(report.site)
        news = self.sites.report(report)
        if "capacity" in news:
            self._gained.add(report.site)
        self._happened(*news)
        if was_silent:
            self._look_at(self.registry.placed_at(report.site))

    def word(self, word: SiteWord) -> None:
        """A newer status than the last one."""
        state = self.sites.states.get(word.site)
        before = state.word if state else None
        if not self.sites.word(word):
            return
        self.dispatcher.word(word)
        if word.is_executing:
            self._look_at(_touched(before, word))
            self._look_at(self._leaving)

    def offline(self, site: str) -> None:
        """The broker says that the site's session ended without a good-bye."""
        self._silent(site)

    def stranger(self, site: str, public_key: str) -> None:
        """Somebody reports as a site that does not admit his key."""
        self.pending.seen(site, public_key)

    def broker_connected(self) -> None:
        """A session with the broker begins; it may have forgotten everything."""
        self.dispatcher.repeat_all()
        for name in self.sites.states:
            self.speaker.ask(name, self.dispatcher.epoch, want_status=True, want_report=True)

    # ------------------------------------------------------------ loops

    def start(self) -> None:
        """All objects are known: sites are admitted, claims made, every workload is to be seen."""
        self.is_open = True
        self._note_boundaries()
        for site in self.registry.sites.values():
            self.admit(site)
        self.reconciler.claims.start(self.registry.workloads.values())
        for key in self.registry.workloads:
            self._workload_changed(key)

    async def hear_first(self) -> None:
        """Waits until every site has spoken, or for the stated time, before anything is decided."""
        deadline = self.clock.monotonic() + self.hear_seconds
        while self.clock.monotonic() < deadline and not self._all_heard():
            await self.clock.sleep(_HEAR_LOOK_SECONDS)
        self.reconciler.resume()
        self.dispatcher.open()
        self.has_started = True

    async def work(self) -> None:
        """Takes workloads one after the other; runs until cancelled."""
        while True:
            key = await self.queue.take()
            began = self.clock.monotonic()
            try:
                result = self._file(key, await self.reconciler.reconcile(key))
            except Conflict as error:  # somebody wrote first: what he wrote comes by the watch
                _log.info("%s/%s: %s", *key, error)
                result = self._retry(key)
            except HubError as error:
                _log.warning("%s/%s: again later: %s", *key, error)
                result = self._retry(key)
            except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
                # A fault of ours that one object brought out must not end the work on all others.
                _log.exception("%s/%s: a fault of the scheduler, tried again later", *key)
                result = self._retry(key)
            finally:
                self.queue.finish(key)
            self._note_freed()
            self.telemetry.attempt(result, self.clock.monotonic() - began)

    async def wake(self) -> None:
        """Wakes waiting work for what happened, a little later, so that a burst wakes it once."""
        while True:
            await self._event.wait()
            await self.clock.sleep(_WAKE_SECONDS)
            self._event.clear()
            events, self._events = self._events, set()
            gained, self._gained = self._gained, set()
            if gained:
                events.discard("capacity")  # where there is more is known
                self._gain(gained)
            while self.queue.wake(*events, most=_WAKE_AT_ONCE) == _WAKE_AT_ONCE:
                await self.clock.sleep(0)  # a hundred thousand wake without holding others up

    def _gain(self, sites: set[str]) -> None:
        """Who could fit has his turn, and for whom what is reserved there is meant."""
        self.queue.gained(sites)
        for key in self.reservations.concerned(sites):
            self._look_at([key])
            level, lookout = self.reservations.level(key), self.queue.lookout
            with self.reservations.opened(key, level):
                self._look_at(lookout.able(sites, above=level) if lookout else ())

    async def watch_time(self) -> None:
        """What only the passing of time brings: silence, grants' ends, orders that are stuck."""
        looked_seconds = self.clock.monotonic()
        while True:
            await self.clock.sleep(_SILENCE_LOOK_SECONDS)
            for site in list(self.sites.overdue()):
                self._silent(site)
            self._pass_boundaries()
            self.reservations.look()
            self._note_freed()
            self._redecide(self.reconciler.wishes.due(self.clock.now()))
            if self.clock.monotonic() - looked_seconds >= _STUCK_LOOK_SECONDS:
                looked_seconds = self.clock.monotonic()
                self._look_at(self._on_their_way())

    # ------------------------------------------------------------ inside

    def _file(self, key: WorkKey, outcome: Outcome) -> str:
        self.queue.succeed(key)
        self._note_waiting(key, outcome)
        if outcome.result in _ELSEWHERE:
            self._happened(_ELSEWHERE[outcome.result])
        if outcome.result == "deleted" and key not in self.registry.workloads:
            self.queue.forget(key)  # else made anew under its name meanwhile: looked at again
        elif outcome.parked_for:
            pause = outcome.again_in_seconds
            self.queue.park(key, outcome.parked_for, need=outcome.need, again_in_seconds=pause)
        return outcome.result

    def _note_waiting(self, key: WorkKey, outcome: Outcome) -> None:
        workload = self.registry.workloads.get(key)
        if workload is None:
            self.reservations.note(key, is_waiting=False)
            return
        self.reservations.note(
            key,
            is_waiting=bool(outcome.parked_for & ROOM),
            priority=workload.spec.priority,
            generation=workload.metadata.generation,
        )

    def _note_freed(self) -> None:
        """What was given back may be what somebody waits for."""
        quotas, sites = self.reconciler.ordering.quotas, self.sites
        if quotas.was_freed:
            self._happened("quota")
        if sites.freed:
            self._gained |= sites.freed
            self._happened("capacity")
        quotas.was_freed, sites.freed = False, set()

    def _retry(self, key: WorkKey) -> str:
        self.queue.fail(key)
        return "error"

    def _enqueue(self, key: WorkKey) -> None:
        workload = self.registry.workloads.get(key)
        self.queue.add(key, self._urgency(workload))

    def _urgency(self, workload: Workload | None) -> Urgency:
        if workload is None:
            return Urgency()
        created = workload.metadata.creation_timestamp
        return Urgency(
            workload.spec.priority,
            created.timestamp() if created else 0.0,
            self.shares.owner_of(workload.metadata.namespace),
        )

    def _look_at(self, keys: Iterable[WorkKey]) -> None:
        for key in keys:
            if key in self.registry.workloads:
                self._enqueue(key)

    def _redecide(self, keys: Iterable[WorkKey]) -> None:
        keys = list(keys)
        self.reconciler.wishes.redecide(keys)
        self._look_at(keys)

    def _happened(self, *events: Event) -> None:
        if events:
            self._events.update(events)
            self._event.set()

    def _pass_boundaries(self) -> None:
        now = self.clock.now()
        passed = [at for at in self._boundaries if at <= now]
        if passed:
            self._boundaries = self._boundaries[len(passed) :]
            self._redecide(self.registry.workloads)
            self._happened("grant", "time")

    def _silent(self, site: str) -> None:
        if self.sites.mark_silent(site):
            _log.warning("site %s is silent", site)
            self.reservations.forget_site(site)
            self._look_at(self.registry.placed_at(site))

    def _is_silent(self, site: str) -> bool:
        state = self.sites.states.get(site)
        return state is not None and not state.is_ready

    def _on_their_way(self) -> list[WorkKey]:
        return [key for key, one in self.registry.workloads.items() if one.status.phase == "Placed"]

    def _all_heard(self) -> bool:
        return all(one.report and one.word for one in self.sites.states.values())


def _touched(before: SiteWord | None, word: SiteWord) -> list[WorkKey]:
    """Workloads of whose orders a site says something else than before."""
    old: dict[str, OrderState] = dict(before.orders) if before else {}
    changed = [i for i, state in word.orders.items() if old.pop(i, None) != state]
    return [key for key in map(_key_of, (*changed, *old)) if key is not None]


def _key_of(order_id: str) -> WorkKey | None:
    """Hub / namespace / name / incarnation."""
    parts = order_id.split("/")
    return (parts[-3], parts[-2]) if len(parts) >= 4 else None  # noqa: PLR2004 - as above
