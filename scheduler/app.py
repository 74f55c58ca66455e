"""The composition root: settings become hub, broker, ledger and loops that live and die together.

The only module that knows all others. `run` is `kapok up`: it opens what is needed, takes the
lease, hears the sites, and decides until it is cancelled or a loop fails.
"""

import asyncio
import logging
import os
import random
import uuid
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from scheduler.control.controller import Loop
from scheduler.control.events.recorder import EventWriter
from scheduler.control.leader_election import Leadership, LeadershipLost
from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.orders.sync import Ordering
from scheduler.control.ports.hub import OURS, SITES, Busy, Change, NotFound, Refused, Resource
from scheduler.control.queue.capacity_watch import Lookout
from scheduler.control.queue.reservations import Chooser, Reservations
from scheduler.control.queue.work_queue import WorkQueue
from scheduler.control.reconcile.batch_prices import Batching, Limits
from scheduler.control.reconcile.reconciler import Reconciler
from scheduler.control.site_status_writer import SiteStatusWriter
from scheduler.control.state.fair_shares import SharesOfTenants
from scheduler.control.state.objects import Registry
from scheduler.control.state.sites import Sites
from scheduler.control.state.unadmitted_sites import PendingSites
from scheduler.control.stats.workloads import Figures
from scheduler.hub.informer import Informer
from scheduler.hub.token_review import open_reviewer
from scheduler.ledger.as_json import decision_json
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.mqtt.ingest import Ears
from scheduler.mqtt.keyring import Keyring
from scheduler.mqtt.order_publisher import Speaker
from scheduler.mqtt.outbox import Outbox
from scheduler.mqtt.session import Session
from scheduler.placement.cost.spend import spend_of
from scheduler.placement.fleet.context import moment_of
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.queue.minimum_requests import Needs
from scheduler.runtime.clock import Clock, SystemClock
from scheduler.runtime.data_dir import held_directory
from scheduler.services import Running, World, open_world
from scheduler.settings import Settings
from scheduler.web.loop_lag import watch_lag
from scheduler.web.metrics import Metrics
from scheduler.web.server import Sources, serve_web
from scheduler.web.sessions import Review
from scheduler.web.snapshot import Scene, Snapshot, snapshot

_log = logging.getLogger(__name__)

_LIST_AGAIN_SECONDS = 1.0


async def run(
    settings: Settings,
    data_path: Path,
    *,
    on_ready: Callable[[Running], None],
    clock: Clock | None = None,
) -> None:
    """Runs the scheduler until cancelled.

    Args:
        settings: all of them.
        data_path: the data directory; made if need be, refused when another instance holds it.
        on_ready: told once everything listens and the lease is held.
        clock: the machine's when None.

    Raises:
        DataDirectoryError: the data directory is in use or cannot be made.
        SettingsError: a file that the settings name cannot be used.
    """
    clock = clock or SystemClock()
    with held_directory(data_path) as directory:
        async with open_world(settings, directory, clock) as world:
            while True:
                try:
                    await _Scheduler(settings, world, clock).run(on_ready)
                except* LeadershipLost as lost:
                    _log.warning("%s; standing by for the lease again", lost.exceptions[0])
                on_ready = _said_already


def _said_already(_: Running) -> None:
    """Whoever started us was told once."""


class _Scheduler:
    """The loops, plugged together."""

    def __init__(self, settings: Settings, world: World, clock: Clock) -> None:
        self._settings, self._world, self._clock = settings, world, clock
        self._higher_epoch: asyncio.Queue[int] = asyncio.Queue()
        self.metrics = Metrics()
        world.client.observe = self.metrics.api_request
        self.figures = Figures(clock, self.metrics)
        self.keyring = Keyring()
        self.outbox = Outbox()
        self.fleet = Fleet()
        self.recorder = LedgerRecorder(world.ledger)
        self.registry = Registry(self.metrics, self._changed)
        self.sites = Sites(
            self.registry, clock, settings.freshness.silent_after_seconds, self._facts_changed
        )
        self.speaker = Speaker(world.key, self.outbox)
        self.dispatcher = Dispatcher(
            self.speaker,
            clock,
            self.metrics,
            settings.dispatch.repeat_seconds,
            self._higher_epoch.put_nowait,
            settings.freshness.hear_sites_seconds,
        )
        self.leadership = Leadership(
            world.client,
            clock,
            f"{os.uname().nodename}-{uuid.uuid4().hex[:8]}",
            alone=not settings.hub.kubeconfig,
        )
        self.queue = WorkQueue(
            clock,
            settings.queue.first_backoff_seconds,
            settings.queue.last_backoff_seconds,
            settings.queue.unschedulable_recheck_seconds,
            lookout=Lookout(Needs(self.fleet)),
        )
        self.ordering = Ordering(self.registry, self.sites, self.dispatcher, settings.hub_id)
        self.shares = SharesOfTenants(self.registry, self.ordering.quotas, self.fleet, clock)
        self.queue.shares = self.shares.share
        self.pending = PendingSites(clock)
        self.events = EventWriter(world.client, clock)
        self.loop = self._loop()
        self.batching = Batching(
            self.queue,
            self.loop.reconciler,
            clock,
            self.metrics,
            Limits(**msgspec.structs.asdict(settings.batch)),
        )
        self.ears = Ears(self.keyring, self.loop, self.metrics, clock)
        self.session = Session(
            world.address,
            self.ears,
            self.outbox,
            clock,
            random.Random(),  # noqa: S311 - jitter, nothing secret
            self.loop.broker_connected,
        )

    def _loop(self) -> Loop:
        terms = Terms(
            report_stale_seconds=int(self._settings.freshness.stale_after_seconds),
            may_evict=False,  # nothing replaces the work of a silent site yet: NotEnforced
        )
        self.ordering.quotas.cost = lambda demand, shares: spend_of(
            demand, self.fleet, moment_of(self._clock.now(), terms), shares
        )
        reconciler = Reconciler(
            self._world.client,
            self.registry,
            self.sites,
            self.fleet,
            self.ordering,
            self.recorder,
            self._clock,
            terms,
            lambda: self.leadership.epoch,
            self.events,
            self._settings.dispatch.stuck_in_flight_seconds,
            self.figures,
        )
        reservations = Reservations(
            self.sites,
            self._clock,
            self._settings.queue.reserve_after_seconds,
            Chooser(
                self.registry,
                self.ordering.quotas,
                self.fleet,
                self.figures.usage,
                self._clock,
                lambda: reconciler.terms,
            ),
        )
        reconciler.opened = reservations.opened
        return Loop(
            self.registry,
            self.sites,
            self.dispatcher,
            reconciler,
            self.queue,
            self.shares,
            self.pending,
            self.speaker,
            self.metrics,
            self._clock,
            reservations,
            self._settings.freshness.hear_sites_seconds,
        )

    async def run(self, on_ready: Callable[[Running], None]) -> None:
        """Takes the lease, reads the hub, hears the sites, then decides."""
        running, context = self._world.running, self._settings.hub.context or None
        async with (
            open_reviewer(running.kubeconfig, context=context) as review,
            serve_web(self._world.web_port, self._sources(review)),
        ):
            self.dispatcher.start_epoch(await self.leadership.acquire())
            try:
                await self._lead(on_ready)
            finally:
                await self.leadership.release()

    async def _lead(self, on_ready: Callable[[Running], None]) -> None:
        informers = {resource: self._informer(resource) for resource in OURS}
        for resource, informer in informers.items():
            await self._first_list(informer, resource)
        self.loop.start()
        async with asyncio.TaskGroup() as group:
            for resource, informer in informers.items():
                group.create_task(informer.run(), name=f"watch {resource.plural}")
            for name, task in self._tasks():
                group.create_task(task, name=name)
            on_ready(self._world.running)
            await self.loop.hear_first()
            group.create_task(self.loop.work(), name="work")
            group.create_task(self.batching.run(), name="batches")

    def _tasks(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        writer = SiteStatusWriter(
            self._world.client,
            self.sites,
            self._clock,
            self._settings.freshness.site_status_seconds,
        )
        yield "lease", self.leadership.keep()
        yield "epoch", self._keep_epoch()
        yield "broker session", self.session.run()
        yield "full reports", self._ask_for_full_reports()
        yield "dispatch", self.dispatcher.run()
        yield "wake", self.loop.wake()
        yield "time", self.loop.watch_time()
        yield "site status", writer.run()
        yield "events", self.events.run()
        yield "pending sites", self.pending.run(self._world.client)
        yield "event-loop lag", watch_lag(self._clock, self.metrics.loop_lag)
        if self._world.broker:
            yield "embedded broker", self._world.broker.keep_running()

    def _informer(self, resource: Resource) -> Informer:
        jitter = random.Random()  # noqa: S311 - jitter, nothing secret
        return Informer(self._world.client, resource, self._take, clock=self._clock, jitter=jitter)

    def _take(self, resource: Resource, change: Change) -> None:
        self.registry.take(resource, change)

    def _changed(self, kind: str, key: tuple[str, str], sites: frozenset[str]) -> None:
        if kind == SITES.kind:
            self._admit_keys(key[1])
        if self.leadership.epoch and self.loop.is_open:
            self.loop.changed(kind, key, sites)

    def _admit_keys(self, name: str) -> None:
        site = self.registry.sites.get(name)
        if site is None:
            self.keyring.forget(name)
            self.ears.forget(name)
        elif self.keyring.admit(name, site.spec.delivery.agent_keys):
            self.ears.forget(name)

    def _facts_changed(self, site: str, facts: SiteFacts | None) -> None:
        """The fleet and the ledger's image of it change together, so that replay sees the same."""
        if facts is None:
            self.fleet.remove(site)
        else:
            self.fleet.upsert(facts)
        self.recorder.facts(site, facts)

    async def _keep_epoch(self) -> None:
        """A site works by a later epoch than ours: the hub is a restored backup."""
        while True:
            seen = await self._higher_epoch.get()
            if seen > self.leadership.epoch:
                _log.warning("a site knows epoch %s, ours is %s", seen, self.leadership.epoch)
                self.dispatcher.start_epoch(await self.leadership.raise_above(seen))

    async def _ask_for_full_reports(self) -> None:
        """Deltas whose full report was never heard: asks for it."""
        while True:
            await self._clock.sleep(0.5)
            while self.ears.wants_full:
                site = self.ears.wants_full.pop()
                self.speaker.ask(site, self.leadership.epoch, want_status=False, want_report=True)

    async def _first_list(self, informer: Informer, resource: Resource) -> None:
        """Lists for the first time, waiting for a hub that cannot yet.

        Raises:
            Refused: the hub does not serve the kind; the message says how to make it.
        """
        while True:
            try:
                await informer.synchronise()
            except Busy as error:
                _log.warning("%s: %s; again", resource.plural, error)
                await self._clock.sleep(_LIST_AGAIN_SECONDS)
            except NotFound as error:
                raise Refused(
                    f"the hub serves no {resource.plural}.{resource.group}; "
                    "kubectl apply --server-side -f manifests/crds, then start again"
                ) from error
            else:
                return

    def _snapshot(self) -> Snapshot:
        scene = Scene(
            registry=self.registry,
            sites=self.sites,
            fleet=self.fleet,
            queue=self.queue,
            pending=self.pending,
            figures=self.figures,
            clock=self._clock,
            stale_after_seconds=self._settings.freshness.stale_after_seconds,
        )
        return snapshot(
            scene,
            epoch=self.leadership.epoch,
            is_broker_connected=self.session.is_connected,
            outbox=len(self.outbox),
        )

    def _sources(self, review: Review) -> Sources:
        return Sources(
            look=self._snapshot,
            render=self.metrics.render,
            decision=partial(decision_json, self._world.ledger.path),
            why_not_ready=self._why_not_ready,
            review=review,
            clock=self._clock,
        )

    def _why_not_ready(self) -> str:
        if not self.leadership.epoch:
            return "waiting for the lease"
        if not self.session.is_connected:
            return "no session with the broker"
        return "" if self.loop.has_started else "hearing the sites"
