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
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from scheduler.control.controller import Controller
from scheduler.control.events.recorder import EventRecorder
from scheduler.control.leader_election import Leadership, LeadershipLost
from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.orders.sync import OrderSync
from scheduler.control.ports.hub import (
    KAPOK_RESOURCES,
    SITES,
    ApiResource,
    Busy,
    NotFound,
    Refused,
    WatchEvent,
)
from scheduler.control.queue.capacity_watch import CapacityWatcher
from scheduler.control.queue.reservations import ReservationPlanner, Reservations
from scheduler.control.queue.work_queue import SchedulingQueue
from scheduler.control.reconcile.batch_prices import BatchLimits, BatchPricer
from scheduler.control.reconcile.reconciler import Reconciler
from scheduler.control.site_status_writer import SiteStatusWriter
from scheduler.control.state.fair_shares import FairShares
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.sites import Sites
from scheduler.control.state.unadmitted_sites import UnadmittedSites
from scheduler.control.stats.workloads import WorkloadStats
from scheduler.hub.informer import Informer
from scheduler.hub.token_review import open_reviewer
from scheduler.ledger.reader import decision_json
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.mqtt.ingest import Ingest
from scheduler.mqtt.keyring import Keyring
from scheduler.mqtt.order_publisher import OrderPublisher
from scheduler.mqtt.outbox import Outbox
from scheduler.mqtt.session import BrokerSession
from scheduler.placement.cost.spend import spend_of
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.queue.minimum_requests import MinimumRequests
from scheduler.runtime.clock import Clock, SystemClock
from scheduler.runtime.data_dir import locked_data_directory
from scheduler.services import Endpoints, Services, open_services
from scheduler.settings import Settings
from scheduler.web.metrics import Metrics, watch_loop_lag
from scheduler.web.server import WebSources, serve_web
from scheduler.web.sessions import TokenReviewer
from scheduler.web.snapshot import SnapshotSources, StateSnapshot, take_snapshot

_log = logging.getLogger(__name__)

_RELIST_SECONDS = 1.0


async def run(
    settings: Settings,
    data_path: Path,
    *,
    on_ready: Callable[[Endpoints], None],
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
    with locked_data_directory(data_path) as directory:
        async with open_services(settings, directory, clock) as world:
            while True:
                try:
                    await _Scheduler(settings, world, clock).run(on_ready)
                except* LeadershipLost as lost:
                    _log.warning("%s; standing by for the lease again", lost.exceptions[0])
                on_ready = _ignore_ready


def _ignore_ready(_: Endpoints) -> None:
    """Whoever started us was told once."""


class _Scheduler:
    """The loops, plugged together."""

    def __init__(self, settings: Settings, services: Services, clock: Clock) -> None:
        self.metrics = Metrics()
        client = services.client.with_observer(self.metrics.count_api_request)
        services = replace(services, client=client)
        self._settings, self._services, self._clock = settings, services, clock
        self._higher_epochs: asyncio.Queue[int] = asyncio.Queue()
        self.stats = WorkloadStats(clock, self.metrics)
        self.keyring = Keyring()
        self.outbox = Outbox()
        self.fleet = Fleet()
        self.recorder = LedgerRecorder(services.ledger)
        self.objects = HubObjects(self.metrics, self._on_object_changed)
        self.sites = Sites(
            self.objects, clock, settings.freshness.silent_after_seconds, self._on_facts_changed
        )
        self.publisher = OrderPublisher(key=services.signing_key, outbox=self.outbox)
        self.dispatcher = Dispatcher(
            self.publisher,
            clock,
            self.metrics,
            settings.dispatch.repeat_seconds,
            self._higher_epochs.put_nowait,
            settings.freshness.hear_sites_seconds,
        )
        self.leadership = Leadership(
            services.client,
            clock,
            f"{os.uname().nodename}-{uuid.uuid4().hex[:8]}",
            is_sole_candidate=not settings.hub.kubeconfig,
        )
        self.queue = SchedulingQueue(
            clock,
            settings.queue.first_backoff_seconds,
            settings.queue.last_backoff_seconds,
            settings.queue.unschedulable_recheck_seconds,
            capacity_watcher=CapacityWatcher(MinimumRequests(self.fleet)),
        )
        self.order_sync = OrderSync(self.objects, self.sites, self.dispatcher, settings.hub_id)
        self.fair_shares = FairShares(self.objects, self.order_sync.quotas, self.fleet, clock)
        self.queue.shares = self.fair_shares.share
        self.unadmitted_sites = UnadmittedSites(clock)
        self.events = EventRecorder(services.client, clock)
        self.controller = self._build_controller()
        self.batch_pricer = BatchPricer(
            self.queue,
            self.controller.reconciler,
            clock,
            self.metrics,
            BatchLimits(**msgspec.structs.asdict(settings.batch)),
        )
        self.ingest = Ingest(
            keyring=self.keyring, listener=self.controller, telemetry=self.metrics, clock=clock
        )
        self.session = BrokerSession(
            address=services.broker_address,
            ingest=self.ingest,
            outbox=self.outbox,
            clock=clock,
            jitter=random.Random(),  # noqa: S311 - jitter, nothing secret
            on_connected=self.controller.on_broker_connected,
        )

    def _build_controller(self) -> Controller:
        terms = Terms(
            report_stale_seconds=int(self._settings.freshness.stale_after_seconds),
            may_evict=False,  # nothing replaces the work of a silent site yet: NotEnforced
        )
        self.order_sync.quotas.cost_of = lambda demand, shares: spend_of(
            demand, self.fleet, decision_context(self._clock.now(), terms), shares
        )
        reconciler = Reconciler(
            self._services.client,
            self.objects,
            self.sites,
            self.fleet,
            self.order_sync,
            self.recorder,
            self._clock,
            terms,
            lambda: self.leadership.epoch,
            self.events,
            self._settings.dispatch.stuck_in_flight_seconds,
            self.stats,
        )
        reservations = Reservations(
            self.sites,
            self._clock,
            self._settings.queue.reserve_after_seconds,
            ReservationPlanner(
                self.objects,
                self.order_sync.quotas,
                self.fleet,
                self.stats.usage,
                self._clock,
                lambda: reconciler.terms,
            ),
        )
        reconciler.released_for = reservations.released_for
        return Controller(
            self.objects,
            self.sites,
            self.dispatcher,
            reconciler,
            self.queue,
            self.fair_shares,
            self.unadmitted_sites,
            self.publisher,
            self.metrics,
            self._clock,
            reservations,
            self._settings.freshness.hear_sites_seconds,
        )

    async def run(self, on_ready: Callable[[Endpoints], None]) -> None:
        """Takes the lease, reads the hub, hears the sites, then decides."""
        running, context = self._services.endpoints, self._settings.hub.context or None
        async with (
            open_reviewer(running.kubeconfig, context=context) as review,
            serve_web(self._services.web_port, self._sources(review)),
        ):
            self.dispatcher.start_epoch(await self.leadership.acquire())
            try:
                await self._run_as_leader(on_ready)
            finally:
                await self.leadership.release()

    async def _run_as_leader(self, on_ready: Callable[[Endpoints], None]) -> None:
        informers = {resource: self._informer(resource) for resource in KAPOK_RESOURCES}
        for resource, informer in informers.items():
            await self._list_first(informer, resource)
        self.controller.start()
        async with asyncio.TaskGroup() as group:
            for resource, informer in informers.items():
                group.create_task(informer.run(), name=f"watch {resource.plural}")
            for name, task in self._tasks():
                group.create_task(task, name=name)
            on_ready(self._services.endpoints)
            await self.controller.wait_for_sites()
            group.create_task(self.controller.run_worker(), name="work")
            group.create_task(self.batch_pricer.run(), name="batches")

    def _tasks(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        writer = SiteStatusWriter(
            self._services.client,
            self.sites,
            self._clock,
            self._settings.freshness.site_status_seconds,
        )
        yield "lease", self.leadership.renew_until_lost()
        yield "epoch", self._follow_higher_epochs()
        yield "broker session", self.session.run()
        yield "full reports", self._request_full_reports()
        yield "dispatch", self.dispatcher.run()
        yield "wake", self.controller.run_wake_ups()
        yield "time", self.controller.run_timers()
        yield "site status", writer.run()
        yield "events", self.events.run()
        yield "pending sites", self.unadmitted_sites.run(self._services.client)
        yield "event-loop lag", watch_loop_lag(self._clock, self.metrics.observe_loop_lag)
        if self._services.broker:
            yield "embedded broker", self._services.broker.keep_running()

    def _informer(self, resource: ApiResource) -> Informer:
        jitter = random.Random()  # noqa: S311 - jitter, nothing secret
        return Informer(
            self._services.client, resource, self._apply_event, clock=self._clock, jitter=jitter
        )

    def _apply_event(self, resource: ApiResource, event: WatchEvent) -> None:
        self.objects.apply_event(resource, event)

    def _on_object_changed(self, kind: str, key: tuple[str, str], sites: frozenset[str]) -> None:
        if kind == SITES.kind:
            self._admit_keys(key[1])
        if self.leadership.epoch and self.controller.has_synced:
            self.controller.on_object_changed(kind, key, sites)

    def _admit_keys(self, name: str) -> None:
        site = self.objects.sites.get(name)
        if site is None:
            self.keyring.forget(name)
            self.ingest.forget(name)
        elif self.keyring.admit(name, site.spec.delivery.agent_keys):
            self.ingest.forget(name)

    def _on_facts_changed(self, site: str, facts: SiteFacts | None) -> None:
        """The fleet and the ledger's image of it change together, so that replay sees the same."""
        if facts is None:
            self.fleet.remove(site)
        else:
            self.fleet.upsert(facts)
        self.recorder.update_facts(site, facts)

    async def _follow_higher_epochs(self) -> None:
        """A site works by a later epoch than ours: the hub is a restored backup."""
        while True:
            seen = await self._higher_epochs.get()
            if seen > self.leadership.epoch:
                _log.warning("a site knows epoch %s, ours is %s", seen, self.leadership.epoch)
                self.dispatcher.start_epoch(await self.leadership.raise_epoch_above(seen))

    async def _request_full_reports(self) -> None:
        """Deltas whose full report was never heard: asks for it."""
        while True:
            await self._clock.sleep(0.5)
            while self.ingest.sites_needing_full_report:
                site = self.ingest.sites_needing_full_report.pop()
                self.publisher.request_reports(
                    site, self.leadership.epoch, want_status=False, want_report=True
                )

    async def _list_first(self, informer: Informer, resource: ApiResource) -> None:
        """Lists for the first time, waiting for a hub that cannot yet.

        Raises:
            Refused: the hub does not serve the kind; the message says how to make it.
        """
        while True:
            try:
                await informer.synchronise()
            except Busy as error:
                _log.warning("%s: %s; again", resource.plural, error)
                await self._clock.sleep(_RELIST_SECONDS)
            except NotFound as error:
                raise Refused(
                    f"the hub serves no {resource.plural}.{resource.group}; "
                    "kubectl apply --server-side -f manifests/crds, then start again"
                ) from error
            else:
                return

    def _snapshot(self) -> StateSnapshot:
        scene = SnapshotSources(
            registry=self.objects,
            sites=self.sites,
            fleet=self.fleet,
            queue=self.queue,
            unadmitted_sites=self.unadmitted_sites,
            workload_stats=self.stats,
            clock=self._clock,
            stale_after_seconds=self._settings.freshness.stale_after_seconds,
        )
        return take_snapshot(
            scene,
            epoch=self.leadership.epoch,
            is_broker_connected=self.session.is_connected,
            outbox_messages=len(self.outbox),
        )

    def _sources(self, review: TokenReviewer) -> WebSources:
        return WebSources(
            take_snapshot=self._snapshot,
            render_metrics=self.metrics.render,
            find_decision_json=partial(decision_json, self._services.ledger.path),
            readiness_problem=self._why_not_ready,
            review_token=review,
            clock=self._clock,
        )

    def _why_not_ready(self) -> str:
        if not self.leadership.epoch:
            return "waiting for the lease"
        if not self.session.is_connected:
            return "no session with the broker"
        return "" if self.controller.has_started else "hearing the sites"
