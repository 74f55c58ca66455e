"""The composition root: builds the hub, the broker, the ledger and the loops from the settings.

The only module that knows all others. `run` is `kapok up`: it opens the services, takes the lease,
waits for the sites' reports, and decides until it is cancelled. All loops run in one task group.
What a single message, object or request causes stays inside its loop (`scheduler.runtime.faults`);
a loop that fails all the same is started again.
"""

import asyncio
import gc
import logging
import os
import random
import secrets
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from scheduler.control.autoscaled_workloads import AutoscaledWorkloads
from scheduler.control.clock_events import ClockEvents
from scheduler.control.controller import Controller
from scheduler.control.events.recorder import EventRecorder
from scheduler.control.events.site_notices import SiteNotices
from scheduler.control.leader_election import Leadership, LeadershipLost
from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.orders.identity import IdentityResolver
from scheduler.control.orders.sync import OrderSync
from scheduler.control.ports.hub import (
    KAPOK_RESOURCES,
    SITES,
    ApiResource,
)
from scheduler.control.queue.capacity_watch import CapacityWatcher
from scheduler.control.queue.requeue import Requeuer, RequeueReasons
from scheduler.control.queue.reservations import ReservationPlanner, Reservations
from scheduler.control.queue.work_queue import SchedulingQueue
from scheduler.control.reconcile.batch_prices import BatchLimits, BatchPricer
from scheduler.control.reconcile.decide import Decider
from scheduler.control.reconcile.reconciler import Reconciler
from scheduler.control.reconcile.workload_writer import WorkloadWriter
from scheduler.control.site_status_writer import SiteStatusWriter
from scheduler.control.standby import Standby
from scheduler.control.startup import Startup
from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.fair_shares import FairShares
from scheduler.control.state.ledger_heads import LedgerHeads
from scheduler.control.state.manifest_checks import ManifestChecks
from scheduler.control.state.node_label_keys import NodeLabelKeys
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.ownership import ObjectOwnership
from scheduler.control.state.quotas import Quotas
from scheduler.control.state.sites import Sites
from scheduler.control.state.unadmitted_sites import UnadmittedSites
from scheduler.control.stats.workloads import WorkloadStats
from scheduler.control.wake_ups import WakeUps
from scheduler.control.worker import Worker
from scheduler.hub.informer import Informer, list_first
from scheduler.hub.kind_schemas import KindSchemas
from scheduler.hub.token_review import open_reviewer
from scheduler.hub.web_address import publish_web_address
from scheduler.ledger.pages import read_blob, read_blob_of, read_page
from scheduler.ledger.reader import decision_json
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.ledger.segments import is_signed_by
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.metadata import WorkKey
from scheduler.mqtt.ingest import Ingest
from scheduler.mqtt.keyring import Keyring
from scheduler.mqtt.nonces import NonceBook
from scheduler.mqtt.order_publisher import OrderPublisher
from scheduler.mqtt.outbox import Outbox
from scheduler.mqtt.receiver import Receiver
from scheduler.mqtt.session import BrokerSession
from scheduler.mqtt.site_asker import SiteAsker
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.queue.minimum_requests import MinimumRequests
from scheduler.recovery.losses import find_ledger_cut, refuse_losses
from scheduler.runtime.cancellation import run_cancellable
from scheduler.runtime.clock import Clock, SystemClock
from scheduler.runtime.data_dir import locked_data_directory
from scheduler.runtime.faults import FaultRelay, Faults
from scheduler.services import Endpoints, Services, open_services
from scheduler.settings import Settings
from scheduler.web.metrics import Metrics, watch_loop_lag
from scheduler.web.records import LedgerSource
from scheduler.web.server import WebSources, serve_web
from scheduler.web.sessions import TokenReviewer
from scheduler.web.snapshot import SnapshotSources, StateSnapshot, take_snapshot

_log = logging.getLogger(__name__)

_REFRESH_SECONDS, _REFRESH_CHECK_SECONDS = 3600.0, 60.0


async def run(
    settings: Settings,
    data_path: Path,
    *,
    on_ready: Callable[[Endpoints], None],
    clock: Clock | None = None,
) -> None:
    """Runs the scheduler until cancelled.

    Args:
        settings: all settings.
        data_path: the data directory; created if needed, refused when another instance holds it.
        on_ready: called once, when everything listens and the lease is held.
        clock: the system's clock when None.

    Raises:
        DataDirectoryError: the data directory is in use or cannot be created.
        SettingsError: a file that the settings name cannot be used.
    """
    clock = clock or SystemClock()
    hub_faults = FaultRelay()
    with locked_data_directory(data_path) as directory:
        async with open_services(
            settings, directory, clock, on_hub_fault=hub_faults.count
        ) as services:
            while True:
                try:
                    scheduler = _Scheduler(settings=settings, services=services, clock=clock)
                    hub_faults.pass_to(scheduler.metrics.count_fault)
                    await run_cancellable(scheduler.run(on_ready), name="term")
                except* LeadershipLost as lost:
                    _log.warning("%s; waiting for the lease again", lost.exceptions[0])
                on_ready = _ignore_ready


def _ignore_ready(_: Endpoints) -> None:
    """Does nothing: the caller of `run` was notified once."""


class _Scheduler:
    """One term of a leader: all loops with the state that they share."""

    def __init__(self, *, settings: Settings, services: Services, clock: Clock) -> None:
        self.metrics = Metrics()
        self.faults = Faults(clock=clock, count=self.metrics.count_fault)
        client = services.client.with_observer(self.metrics.count_api_request)
        self._services = replace(services, client=client)
        self._settings, self._clock = settings, clock
        self._higher_epochs: asyncio.Queue[int] = asyncio.Queue()
        self._build_state()
        self._build_queue()
        self._build_loops()
        self._build_broker_session()
        self.standby = Standby(
            objects=self.objects, sites=self.sites, publisher=self.publisher, clock=clock
        )
        self._is_standing_by = False
        self._site_informer = self._informer(SITES)

    def _build_state(self) -> None:
        """What is known: the hub's objects, the sites, the fleet, quotas, what is ordered."""
        settings, services, clock = self._settings, self._services, self._clock
        self.fleet = Fleet()
        self.inputs = DecisionInputs(
            fleet=self.fleet,
            clock=clock,
            base_terms=Terms(
                report_stale_seconds=int(settings.freshness.stale_after_seconds),
                may_evict=False,  # replicas of a silent site are not replaced yet: NotEnforced
            ),
        )
        self.recorder = LedgerRecorder(services.ledger, is_ledger_lost=services.is_ledger_lost)
        self.objects = HubObjects(
            telemetry=self.metrics, on_change=self._on_object_changed, faults=self.faults
        )
        self.sites = Sites(
            objects=self.objects,
            clock=clock,
            silent_after_seconds=settings.freshness.silent_after_seconds,
            facts_sink=self._on_facts_changed,
            stuck_after_seconds=settings.dispatch.stuck_in_flight_seconds,
        )
        self.stats = WorkloadStats(clock=clock, telemetry=self.metrics)
        self.quotas = Quotas(
            cost_of=self.inputs.spend_of, daemon_pods_of=self.inputs.daemon_pods_of
        )
        self.unadmitted_sites = UnadmittedSites(clock, self.faults)
        self.events = EventRecorder(hub=services.client, clock=clock, faults=self.faults)
        self.leadership = Leadership(
            hub=services.client,
            clock=clock,
            faults=self.faults,
            identity=f"{os.uname().nodename}-{uuid.uuid4().hex[:8]}",
            is_sole_candidate=not settings.hub.kubeconfig,
            replica=services.replica,
        )
        self.outbox = Outbox()
        self.asker = SiteAsker(
            # A new process asks under a new name: nonces of the one before prove nothing to it.
            nonces=NonceBook(asker=uuid.uuid4().hex, secret=secrets.token_bytes(32), clock=clock),
            clock=clock,
            interval_seconds=settings.freshness.nonce_seconds,
            silent_after_seconds=settings.freshness.silent_after_seconds,
            requires_nonce=settings.freshness.require_nonce,
            send=lambda site, wants_report, boot: self.publisher.ask(
                site, self.leadership.epoch, wants_report=wants_report, higher_boot=boot
            ),
        )
        self.node_labels = NodeLabelKeys(on_change=self._on_label_keys_changed)
        self.publisher = OrderPublisher(
            key=services.signing_key,
            outbox=self.outbox,
            ledger_head=services.ledger.head,
            nonce_for=self.asker.nonce_for,
            node_labels=self.node_labels.for_agents,
        )
        self.ledger_heads = LedgerHeads(
            head=services.ledger.head,
            sent_head=self.publisher.sent_head,
            is_recorded=services.ledger.has,
            is_ours=partial(is_signed_by, keys=services.hub_keys),
            ask=lambda site: self.publisher.request_heads(site, self._epoch()),
            clock=clock,
            faults=self.faults,
        )
        self.dispatcher = Dispatcher(
            publisher=self.publisher,
            clock=clock,
            telemetry=self.metrics,
            repeat_seconds=settings.dispatch.repeat_seconds,
            on_higher_epoch=self._higher_epochs.put_nowait,
            on_refusal=self._on_order_refused,
            faults=self.faults,
            is_history_lost=self.recorder.is_history_lost,
            hold_seconds=settings.freshness.hear_sites_seconds,
            keeps_unknown_orders=lambda: self.leadership.keeps_unknown_orders,
        )
        self.order_sync = OrderSync(
            objects=self.objects,
            sites=self.sites,
            dispatcher=self.dispatcher,
            quotas=self.quotas,
            node_labels=self.node_labels,
            identities=IdentityResolver(
                hub_id=settings.hub_id,
                recorded=self.recorder.identity_of,
                sites=self.sites.states,
                clock=clock,
                hear_seconds=settings.freshness.hear_sites_seconds,
            ),
        )

    def _build_queue(self) -> None:
        """Which workload is next, and what wakes those that wait."""
        settings, clock = self._settings, self._clock
        self.fair_shares = FairShares(
            objects=self.objects, quotas=self.quotas, fleet=self.fleet, clock=clock
        )
        self.queue = SchedulingQueue(
            clock=clock,
            first_backoff_seconds=settings.queue.first_backoff_seconds,
            last_backoff_seconds=settings.queue.last_backoff_seconds,
            recheck_seconds=settings.queue.unschedulable_recheck_seconds,
            shares=self.fair_shares.share,
            capacity_watcher=CapacityWatcher(MinimumRequests(self.fleet)),
        )
        self.requeuer = Requeuer(
            objects=self.objects,
            queue=self.queue,
            fair_shares=self.fair_shares,
            reasons=RequeueReasons(),
        )
        self.reservations = Reservations(
            sites=self.sites,
            clock=clock,
            after_seconds=settings.queue.reserve_after_seconds,
            choose_sites=ReservationPlanner(
                objects=self.objects,
                quotas=self.quotas,
                usage=self.stats.usage,
                inputs=self.inputs,
            ),
        )

    def _build_loops(self) -> None:
        """The loops of `scheduler.control`, from events to reconciliations."""
        settings, clock = self._settings, self._clock
        self.reconciler = self._build_reconciler()
        self.wake_ups = WakeUps(
            queue=self.queue,
            requeuer=self.requeuer,
            reservations=self.reservations,
            quotas=self.quotas,
            sites=self.sites,
            clock=clock,
            faults=self.faults,
        )
        notices = SiteNotices(events=self.events)
        self.clock_events = ClockEvents(
            notices=notices,
            objects=self.objects,
            sites=self.sites,
            reservations=self.reservations,
            requeuer=self.requeuer,
            wake_ups=self.wake_ups,
            clock=clock,
            faults=self.faults,
        )
        self.worker = Worker(
            queue=self.queue,
            reconciler=self.reconciler,
            objects=self.objects,
            reservations=self.reservations,
            wake_ups=self.wake_ups,
            telemetry=self.metrics,
            clock=clock,
            faults=self.faults,
        )
        self.batch_pricer = BatchPricer(
            queue=self.queue,
            objects=self.objects,
            quotas=self.quotas,
            inputs=self.inputs,
            recorder=self.recorder,
            epoch=self._epoch,
            clock=clock,
            telemetry=self.metrics,
            limits=BatchLimits(**msgspec.structs.asdict(settings.batch)),
            faults=self.faults,
        )
        self.controller = Controller(
            notices=notices,
            objects=self.objects,
            sites=self.sites,
            dispatcher=self.dispatcher,
            publisher=self.publisher,
            requeuer=self.requeuer,
            reservations=self.reservations,
            fair_shares=self.fair_shares,
            unadmitted_sites=self.unadmitted_sites,
            ledger_heads=self.ledger_heads,
            wake_ups=self.wake_ups,
            clock_events=self.clock_events,
        )
        self.startup = Startup(
            objects=self.objects,
            sites=self.sites,
            dispatcher=self.dispatcher,
            controller=self.controller,
            clock_events=self.clock_events,
            reconciler=self.reconciler,
            clock=clock,
            wait_for_sites_seconds=settings.freshness.hear_sites_seconds,
        )

    def _build_reconciler(self) -> Reconciler:
        return Reconciler(
            objects=self.objects,
            decider=Decider(
                objects=self.objects,
                inputs=self.inputs,
                order_sync=self.order_sync,
                recorder=self.recorder,
                requeue_reasons=self.requeuer.reasons,
                events=self.events,
                stats=self.stats,
                epoch=self._epoch,
            ),
            writer=WorkloadWriter(hub=self._services.client, objects=self.objects),
            order_sync=self.order_sync,
            ownership=ObjectOwnership(),
            requeue_reasons=self.requeuer.reasons,
            reservations=self.reservations,
            events=self.events,
            stats=self.stats,
            clock=self._clock,
            faults=self.faults,
            epoch=self._epoch,
            stuck_after_seconds=self._settings.dispatch.stuck_in_flight_seconds,
            manifest_checks=ManifestChecks(
                KindSchemas(client=self._services.client, clock=self._clock)
            ),
        )

    def _build_broker_session(self) -> None:
        """What receives messages from sites, and sends what the outbox holds."""
        self.keyring = Keyring()
        self.ingest = Ingest(
            keyring=self.keyring,
            listener=self.controller,
            telemetry=self.metrics,
            clock=self._clock,
            faults=self.faults,
            asker=self.asker,
            received=self._services.received,
        )
        self.receiver = Receiver(
            ingest=self.ingest, telemetry=self.metrics, clock=self._clock, faults=self.faults
        )
        self.session = BrokerSession(
            address=self._services.broker_address,
            receiver=self.receiver,
            outbox=self.outbox,
            clock=self._clock,
            jitter=random.Random(),  # noqa: S311 - jitter, nothing secret
            on_connected=self._on_broker_connected,
            faults=self.faults,
        )

    def _on_broker_connected(self) -> None:
        self.ingest.listener.on_broker_connected()

    def _epoch(self) -> int:
        return self.leadership.epoch

    async def run(self, on_ready: Callable[[Endpoints], None]) -> None:
        """Takes the lease, reads the hub, waits for the sites, then decides."""
        endpoints, context = self._services.endpoints, self._settings.hub.context or None
        async with (
            open_reviewer(endpoints.kubeconfig, context=context) as review,
            serve_web(self._services.web_listener, self._sources(review)),
        ):
            self.dispatcher.start_epoch(await self._begin_in_ledger(await self._acquire()))
            try:
                await self._run_as_leader(on_ready)
            finally:
                self._services.ledger.end_term()
                await self.leadership.release()

    async def _acquire(self) -> int:
        """Takes the lease; follows the sites as long as another scheduler holds it."""
        if self.leadership.is_sole_candidate:
            return await self.leadership.acquire()
        self._is_standing_by, self.ingest.listener = True, self.standby
        problem: Exception | None = None
        async with asyncio.TaskGroup() as group:
            loops = (("standby", self._watch_sites), *self._listening_loops())
            tasks = [
                group.create_task(self._keep_running(name, loop), name=name) for name, loop in loops
            ]
            try:
                await self.leadership.acquire()
            except Exception as error:  # noqa: BLE001 - raised below, not as a group
                problem = error
            if self.session.is_connected:
                self.startup.listening_since_seconds = self.standby.listening_since_seconds
            for task in tasks:
                task.cancel()
        self._is_standing_by, self.ingest.listener = False, self.controller
        if problem is not None:
            raise problem
        return self.leadership.epoch

    async def _watch_sites(self) -> None:
        await list_first(self._site_informer, SITES, self._clock)
        await self._site_informer.run()

    def _listening_loops(self) -> Iterator[tuple[str, Callable[[], Coroutine[Any, Any, None]]]]:
        """What follows the sites, in a leader and in a scheduler that stands by."""
        yield "broker session", self.session.run
        yield "messages", self.receiver.run
        yield "ask sites", self.asker.run
        yield "received messages", partial(self._services.received.run, self._clock)

    async def _run_as_leader(self, on_ready: Callable[[Endpoints], None]) -> None:
        informers = {
            one: self._site_informer if one == SITES else self._informer(one)
            for one in KAPOK_RESOURCES
        }
        for resource, informer in informers.items():
            await list_first(informer, resource, self._clock)
        root, is_embedded = self._services.endpoints.data_dir, not self._settings.hub.kubeconfig
        refuse_losses(
            find_ledger_cut(
                root,
                self.objects.workloads.values(),
                is_hub_embedded=is_embedded,
                place=self._services.ledger.place,
            )
        )
        with self.faults.barrier("object", "web address"):
            await publish_web_address(
                self._services.client, self._services.endpoints.page_url.rstrip("/")
            )
        self.startup.begin()
        async with asyncio.TaskGroup() as group:
            for resource, informer in informers.items():
                name = f"watch {resource.plural}"
                group.create_task(self._keep_running(name, informer.run), name=name)
            for name, loop in self._loops():
                group.create_task(self._keep_running(name, loop), name=name)
            # Modules and classes stay for good; without them a full collection holds the event loop
            # for a few milliseconds, with them for 70.
            gc.collect()
            gc.freeze()
            on_ready(self._services.endpoints)
            await self.startup.wait_for_sites()
            for name, loop in (("work", self.worker.run), ("batches", self.batch_pricer.run)):
                group.create_task(self._keep_running(name, loop), name=name)

    async def _keep_running(self, name: str, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs a loop until cancelled; one that fails is started again after a pause.

        Raises:
            LeadershipLost: another scheduler decides from now on.
        """
        while True:
            with self.faults.barrier("loop", name, passing=(LeadershipLost,)):
                await run_cancellable(loop(), name=name)
            await self._clock.sleep(self.faults.pause_seconds("loop", name))

    def _loops(self) -> Iterator[tuple[str, Callable[[], Coroutine[Any, Any, None]]]]:
        writer = SiteStatusWriter(
            hub=self._services.client,
            sites=self.sites,
            clock=self._clock,
            interval_seconds=self._settings.freshness.site_status_seconds,
            faults=self.faults,
            foreign_index=self.dispatcher.foreign_index_condition,
            unknown_orders_at=self.dispatcher.unknown_orders_at,
            without_nonce=self.asker.agents_without_nonce,
        )
        autoscaled = AutoscaledWorkloads(
            hub=self._services.client,
            objects=self.objects,
            clock=self._clock,
            faults=self.faults,
        )
        yield "lease", self.leadership.renew_until_lost
        yield "epoch", self._follow_higher_epochs
        yield from self._listening_loops()
        yield "full reports", self._request_full_reports
        yield "dispatch", self.dispatcher.run
        yield "wake", self.wake_ups.run
        yield "time", self.clock_events.run
        yield "site status", writer.run
        yield "events", self.events.run
        yield "pending sites", partial(self.unadmitted_sites.run, self._services.client)
        yield "ledger heads", partial(self.ledger_heads.run, self._services.client)
        yield "autoscalers", autoscaled.run
        yield "hourly indexes", self._refresh_indexes
        yield "event-loop lag", partial(watch_loop_lag, self._clock, self.metrics.observe_loop_lag)
        yield "ledger", self._watch_ledger
        yield "ledger's leader", self._watch_deposition
        if self._services.broker:
            yield "embedded broker", self._services.broker.keep_running

    async def _refresh_indexes(self) -> None:
        """Publishes an index again whose site holds no head of the last hour of the ledger."""
        while True:
            await self._clock.sleep(_REFRESH_CHECK_SECONDS)
            self.dispatcher.refresh(_REFRESH_SECONDS, self._lacks_newest_head)

    def _lacks_newest_head(self, site: str) -> bool:
        return self.publisher.sent_head(site) != self._services.ledger.head()

    async def _watch_ledger(self) -> None:
        await self.recorder.watch(
            self._clock,
            on_failure=partial(self.metrics.count_fault, "ledger"),
            on_recovery=self.worker.retry_not_recorded,
        )

    async def _begin_in_ledger(self, epoch: int) -> int:
        """Keeps former leaders out of the ledger; returns the epoch, raised above all in it."""
        ledger = self._services.ledger
        lowest = await ledger.begin_term(epoch)
        if lowest > epoch:
            _log.warning("the ledger is at epoch %s, and the Lease was at %s", lowest, epoch)
            epoch = await self.leadership.raise_epoch_above(lowest)
            await ledger.begin_term(epoch)
        return epoch

    async def _watch_deposition(self) -> None:
        """Ends the term when a later leader has the ledger.

        Raises:
            LeadershipLost: it has.
        """
        await self._services.ledger.deposed.wait()
        raise LeadershipLost("ledger: a later leader has it")

    def _informer(self, resource: ApiResource) -> Informer:
        jitter = random.Random()  # noqa: S311 - jitter, nothing secret
        return Informer(
            hub=self._services.client,
            resource=resource,
            listener=self.objects.apply_event,
            clock=self._clock,
            jitter=jitter,
            faults=self.faults,
        )

    def _on_order_refused(self, key: WorkKey) -> None:
        """Requeues a workload, so that its status says that its order cannot be published."""
        self.requeuer.requeue([key])

    def _on_object_changed(self, kind: str, key: tuple[str, str], sites: frozenset[str]) -> None:
        if kind == SITES.kind:
            self._admit_keys(key[1])
            if self._is_standing_by:
                self.standby.on_site_changed(key[1])
        if self.leadership.epoch and self.startup.has_synced:
            self.controller.on_object_changed(kind, key, sites)

    def _on_label_keys_changed(self) -> None:
        self.dispatcher.republish_all()

    def _admit_keys(self, name: str) -> None:
        site = self.objects.sites.get(name)
        if site is None:
            self.keyring.forget(name)
            self.receiver.forget(name)
            self.asker.forget(name)
            return
        self.asker.admit(name)
        if self.keyring.admit(name, site.spec.delivery.agent_keys):
            self.receiver.forget(name)

    def _on_facts_changed(self, site: str, facts: SiteFacts | None) -> None:
        """Updates fleet and ledger together, so that a replay sees the same fleet."""
        if facts is None:
            self.fleet.remove(site)
        else:
            self.fleet.upsert(facts)
        self.recorder.update_facts(site, facts)

    async def _follow_higher_epochs(self) -> None:
        """Raises our epoch above that of an index which we signed before the hub was restored."""
        while True:
            seen = await self._higher_epochs.get()
            if seen >= self.leadership.epoch:
                _log.warning(
                    "a site proves an index of epoch %s that this hub has lost; ours was %s",
                    seen,
                    self.leadership.epoch,
                )
                self.dispatcher.start_epoch(await self.leadership.raise_epoch_above(seen))

    async def _request_full_reports(self) -> None:
        """Requests a full report from sites whose deltas cannot be applied without one."""
        while True:
            await self._clock.sleep(0.5)
            while self.ingest.sites_needing_full_report:
                site = self.ingest.sites_needing_full_report.pop()
                self.publisher.request_reports(
                    site, self.leadership.epoch, want_status=False, want_report=True
                )

    def _snapshot(self) -> StateSnapshot:
        sources = SnapshotSources(
            registry=self.objects,
            sites=self.sites,
            fleet=self.fleet,
            queue=self.queue,
            unadmitted_sites=self.unadmitted_sites,
            workload_stats=self.stats,
            clock=self._clock,
            stale_after_seconds=self._settings.freshness.stale_after_seconds,
            agents_without_nonce=self.asker.agents_without_nonce,
        )
        return take_snapshot(
            sources,
            epoch=self.leadership.epoch,
            is_broker_connected=self.session.is_connected,
            outbox_messages=len(self.outbox),
        )

    def _sources(self, review: TokenReviewer) -> WebSources:
        return WebSources(
            take_snapshot=self._snapshot,
            render_metrics=self.metrics.render,
            ledger=LedgerSource(
                find_decision=partial(decision_json, self._services.ledger.place),
                read_page=partial(read_page, self._services.ledger.place),
                read_blob=partial(read_blob, self._services.ledger.place),
                read_blob_of=partial(read_blob_of, self._services.ledger.place),
            ),
            readiness_problem=self._why_not_ready,
            review_token=review,
            clock=self._clock,
            faults=self.faults,
        )

    def _why_not_ready(self) -> str:
        if not self.leadership.epoch:
            return "waiting for the lease"
        if not self.session.is_connected:
            return "no session with the broker"
        if problem := self.recorder.problem or self._services.ledger.problem:
            return f"nothing is decided: {problem}"
        return "" if self.startup.has_started else "waiting for the sites to report"
