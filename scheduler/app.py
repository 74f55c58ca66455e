"""The composition root: builds the hub, the broker, the ledger and the loops from the settings.

`run` is `kapok up`: it opens the services, follows the hub and the sites, and leads whenever it
holds the lease (`term` has what it then does), until it is cancelled. All loops run in one task
group. What a single message, object or request causes stays inside its loop
(`scheduler.runtime.faults`); a loop that fails all the same is started again. A hub that is away or
refuses the scheduler ends nothing: it is asked again, and nothing is decided without the lease.
"""

import asyncio
import gc
import logging
import os
import random
import secrets
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec

from scheduler.control.fence import FencedHub
from scheduler.control.leader_election import Leadership, LeadershipLost, request_timeout_of
from scheduler.control.orders.kept_orders import PreparedOrders
from scheduler.control.ports.hub import (
    SITES,
    WORKLOADS,
    HubError,
)
from scheduler.control.sites.sites import Sites
from scheduler.control.standby import Standby
from scheduler.control.state.node_label_keys import NodeLabelKeys
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.placement_slices import PlacementSlices
from scheduler.feeds.intensity_feeds import feeds_of
from scheduler.hub.health import HubHealth
from scheduler.hub.kind_schemas import KindSchemas
from scheduler.hub.token_review import open_reviewer
from scheduler.hub.web_address import publish_web_address
from scheduler.hub_following import HubFollowing
from scheduler.hub_process.launch import HubChild
from scheduler.joining_plan import reserved_names
from scheduler.key_rotation.announcer import KeyAnnouncer
from scheduler.knowledge import Knowledge
from scheduler.ledger.accounts.energy_pages import EnergyPages
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.site_health import HealthLimits
from scheduler.mqtt.nonces import NonceBook
from scheduler.mqtt.order_publisher import OrderPublisher
from scheduler.mqtt.outbox import Outbox
from scheduler.mqtt.questions.site_questions import SiteQuestions
from scheduler.mqtt.site_asker import SiteAsker
from scheduler.placement.cost.site_costs import all_costs
from scheduler.placement.filter.filter import rulebook
from scheduler.placement.fleet.fleet import Fleet
from scheduler.push.child import SITES_FOLDER
from scheduler.push.keys import PushKeys
from scheduler.recovery.losses import find_ledger_cut, refuse_losses
from scheduler.recovery.signing_key import is_key_shared
from scheduler.runtime.backoff import JitteredBackoff
from scheduler.runtime.cancellation import run_cancellable
from scheduler.runtime.clock import Clock, SystemClock
from scheduler.runtime.data_dir import locked_data_directory
from scheduler.runtime.faults import FaultRelay, Faults
from scheduler.runtime.garbage import collect_less_while_listing, stop_listing
from scheduler.services import Endpoints, Services, open_services
from scheduler.settings import Settings
from scheduler.sites_link import OpenConnection, SitesLink
from scheduler.term.loops import Loop, TermLoops
from scheduler.term.start import TermStart
from scheduler.term.term import Term
from scheduler.views import Views
from scheduler.waiting_page import serve_while_waiting
from scheduler.web.metrics import Metrics, watch_loop_lag
from scheduler.web.server import serve_web
from scheduler.whatif_process.asker import WhatIfAsker
from scheduler.whatif_process.survival_watch import SurvivalWatch

_log = logging.getLogger(__name__)


async def run(
    settings: Settings,
    data_path: Path,
    *,
    on_ready: Callable[[Endpoints], None],
    clock: Clock | None = None,
    hub_child: HubChild | None = None,
) -> None:
    """Runs the scheduler until cancelled.

    Args:
        settings: all settings.
        data_path: the data directory; created if needed, refused when another instance holds it.
        on_ready: called once, when everything listens and the lease is held.
        clock: the system's clock when None.
        hub_child: becomes the embedded hub; None: a process is started for it.

    Raises:
        DataDirectoryError: the data directory is in use or cannot be created.
        SettingsError: a file that the settings name cannot be used.
    """
    clock, metrics = clock or SystemClock(), Metrics()
    health = HubHealth(clock=clock, count=metrics.count_hub_problem)
    faults = Faults(clock=clock, count=metrics.count_fault)
    hub_faults = FaultRelay()
    hub_faults.pass_to(metrics.count_fault)
    with locked_data_directory(data_path) as directory:
        async with open_services(
            settings,
            directory,
            clock,
            on_hub_fault=hub_faults.count,
            health=health,
            hub_child=hub_child,
            while_waiting=partial(
                serve_while_waiting, metrics=metrics, health=health, clock=clock, faults=faults
            ),
        ) as services:
            scheduler = Scheduler(
                settings=settings,
                services=services,
                clock=clock,
                metrics=metrics,
                health=health,
                faults=faults,
            )
            await run_cancellable(scheduler.run(on_ready), name="scheduler")


def _make_jitter() -> random.Random:
    return random.Random()  # noqa: S311 - jitter, nothing secret


class Scheduler:
    """What is known of the hub and the sites, and the term that it leads or will lead next.

    Args:
        settings: all settings.
        services: the hub, the broker and the ledger.
        clock: the time.
        metrics: the counters.
        health: what the hub answers.
        faults: handles the faults of all loops.
        open_connection: makes the way to the sites; None: a session with the broker.
        make_jitter: makes the random numbers of pauses.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        services: Services,
        clock: Clock,
        metrics: Metrics,
        health: HubHealth,
        faults: Faults,
        open_connection: OpenConnection | None = None,
        make_jitter: Callable[[], random.Random] = _make_jitter,
    ) -> None:
        rulebook(), all_costs()  # imported now, and not when the first workload is decided
        self._settings, self._clock, self._make_jitter = settings, clock, make_jitter
        self.metrics, self.health, self.faults = metrics, health, faults
        client = services.client.with_observer(metrics.count_api_request)
        self._services = replace(services, client=client)
        self.slices = PlacementSlices(client)
        self._higher_epochs: asyncio.Queue[int] = asyncio.Queue()
        self._build_leadership()
        self._build_knowledge()
        self.link = SitesLink(
            services=self._services,
            reserved=reserved_names(settings.broker),
            objects=self.objects,
            standby=self.standby,
            asker=self.asker,
            publisher=self.publisher,
            questions=self.questions,
            outbox=self.outbox,
            announcer=self.announcer,
            epoch=lambda: self.leadership.epoch,
            clock=clock,
            metrics=metrics,
            faults=faults,
            jitter=self._make_jitter(),
            open_connection=open_connection,
        )
        self._begins = TermStart(
            ledger=services.ledger,
            leadership=self.leadership,
            objects=self.objects,
            hub=self.hub,
            informers=self._following.informers,
            clock=clock,
            make_backoff=self._make_backoff,
        )
        self._has_led = self._judges_losses = False
        self.term = Term(self.known)
        self.views = Views(
            known=self.known,
            term=lambda: self.term,
            services=self._services,
            metrics=metrics,
            health=health,
            questions=self.questions,
            survival=self.survival,
            outbox=self.outbox,
            is_connected=lambda: self.link.session.is_connected,
            lease_holder=lambda: self.leadership.holder,
            ledger_problem=lambda: self.recorder.problem or services.ledger.problem,
        )
        self.answers = self.views.build_answers()

    def _build_leadership(self) -> None:
        """The lease, and the hub as a leader may write to it."""
        client, seconds = self._services.client, self._settings.hub.lease_seconds
        in_time = client.with_timeout(request_timeout_of(seconds))
        self.leadership = Leadership(
            hub=in_time,
            clock=self._clock,
            faults=self.faults,
            identity=f"{os.uname().nodename}-{uuid.uuid4().hex[:8]}",
            duration_seconds=seconds,
            is_sole_candidate=not self._settings.hub.kubeconfig,
            replica=self._services.replica,
            jitter=self._make_jitter(),
        )
        self.hub = FencedHub(reads=client, writes=in_time, may_write=self.leadership.may_write)

    def _build_knowledge(self) -> None:
        """What is known: the hub's objects, the sites, the fleet."""
        settings, services, clock = self._settings, self._services, self._clock
        self.fleet = Fleet()
        self.recorder = LedgerRecorder(services.ledger, is_ledger_lost=services.is_ledger_lost)
        self.objects = HubObjects(
            telemetry=self.metrics, on_change=self._on_object_changed, faults=self.faults
        )
        self._following = HubFollowing(
            client=services.client,
            slices=self.slices,
            objects=self.objects,
            leadership=self.leadership,
            clock=clock,
            make_jitter=self._make_jitter,
            faults=self.faults,
        )
        self.feeds = feeds_of(settings.energy, clock=clock, faults=self.faults)
        self.sites = Sites(
            objects=self.objects,
            clock=clock,
            silent_after_seconds=settings.freshness.silent_after_seconds,
            facts_sink=self._on_facts_changed,
            stuck_after_seconds=settings.dispatch.stuck_in_flight_seconds,
            limits=HealthLimits(
                silent_after_seconds=settings.freshness.silent_after_seconds,
                **msgspec.structs.asdict(settings.health),
            ),
            health_sink=self.metrics.count_health_change,
            outlook_of=self.feeds.outlook,
        )
        self.feeds.on_outlook = self.sites.refresh_zone
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
        self.prepared = PreparedOrders(
            hub_id=settings.hub_id,
            objects=self.objects,
            clock=clock,
            faults=self.faults,
            may_prepare=lambda: not (self.leadership.epoch and self.term.startup.has_started),
        )
        self.publisher = OrderPublisher(
            key=services.signing_key,
            outbox=self.outbox,
            ledger_head=services.ledger.head,
            nonce_for=self.asker.nonce_for,
            node_labels=self.node_labels.for_agents,
            sealing_key_of=self.sites.sealing_key_of,
        )
        self.announcer = self._build_announcer()
        self.questions = SiteQuestions(
            clock=clock,
            send=lambda site, agent, question: self.publisher.put_question(
                site, self.leadership.epoch, agent, question
            ),
            take_back=self.publisher.drop_question,
            is_leading=lambda: bool(self.leadership.epoch),
        )
        self.standby = Standby(
            objects=self.objects, sites=self.sites, publisher=self.publisher, clock=clock
        )
        self.survival = SurvivalWatch(
            ask=WhatIfAsker(
                lambda: self.views.fleet_copy(),  # noqa: PLW0108 - the views are made later
                budget_seconds=settings.survival.budget_seconds,
                memory_mebibytes=settings.survival.memory_mebibytes,
            ).ask,
            version=lambda: self.views.fleet_version(),  # noqa: PLW0108 - as above
            clock=clock,
            telemetry=self.metrics,
            faults=self.faults,
            interval_seconds=settings.survival.interval_seconds,
        )
        self.known = Knowledge(
            settings=settings,
            clock=clock,
            metrics=self.metrics,
            faults=self.faults,
            hub=self.hub,
            leadership=self.leadership,
            objects=self.objects,
            fleet=self.fleet,
            sites=self.sites,
            recorder=self.recorder,
            ledger=services.ledger,
            hub_keys=services.hub_keys,
            schemas=KindSchemas(client=services.client, clock=clock),
            node_labels=self.node_labels,
            prepared=self.prepared,
            asker=self.asker,
            publisher=self.publisher,
            connected_since_seconds=lambda: self.link.session.connected_since_seconds,
            on_higher_epoch=self._higher_epochs.put_nowait,
            jitter=self._make_jitter(),
            slices=self.slices,
            follow_metadata=self._following.follow_metadata,
            is_served=services.client.serves,
            energy_record=EnergyPages(services.ledger),
            zone_factor=self.feeds.factor_at,
            survives_loss=self.survival.condition_of,
            kept_plans=lambda: self.survival.plans,
        )

    def _build_announcer(self) -> KeyAnnouncer | None:
        """What announces new keys to agents; None: replicas share the key, which people replace."""
        if is_key_shared(self._settings.hub):
            return None
        return KeyAnnouncer(
            root=self._services.endpoints.data_dir,
            signing=self._services.signing_key,
            outbox=self.outbox,
            sites=lambda: (
                name for name, one in self.objects.sites.items() if one.spec.delivery.agent_keys
            ),
            epoch=lambda: self.leadership.epoch,
            clock=self._clock,
        )

    async def run(self, on_ready: Callable[[Endpoints], None]) -> None:
        """Serves the web page, follows the hub and the sites, and leads when it holds the lease."""
        endpoints, context = self._services.endpoints, self._settings.hub.context or None
        async with (
            open_reviewer(endpoints.kubeconfig, context=context) as review,
            serve_web(self._services.web_listener, self.views.sources(review, self.answers)),
        ):
            self._judges_losses = True
            await self.schedule(on_ready)

    async def schedule(self, on_ready: Callable[[Endpoints], None]) -> None:
        """Follows the hub and the sites, and leads when it holds the lease; serves no page."""
        collect_less_while_listing()
        async with asyncio.TaskGroup() as group:
            if self.leadership.is_sole_candidate:
                # What is listed after the lease is taken need not be compared again.
                await self.leadership.acquire()
            for name, loop in self._following_loops():
                group.create_task(self._keep_running(name, loop), name=name)
            group.create_task(self._collect_garbage_once_listed(), name="garbage")
            try:
                await self._lead_again_and_again(on_ready)
            finally:
                self._services.ledger.end_term()
                await self.leadership.release()

    async def _collect_garbage_once_listed(self) -> None:
        """Lets the collector run as usual once the hub's objects are listed, and not over these."""
        await self._following.wait_until_listed()
        stop_listing()

    async def _lead_again_and_again(self, on_ready: Callable[[Endpoints], None]) -> None:
        while True:
            if not self.leadership.epoch:
                await self.leadership.acquire()
            acquired_seconds = self._clock.monotonic()
            _log.info("leading from now on, epoch %s", self.leadership.epoch)
            try:
                await run_cancellable(self._lead(on_ready, acquired_seconds), name="term")
            except* LeadershipLost as lost:
                self.metrics.count_lost_lease()
                why = _first_of(lost)
                _log.warning("%s; nothing is decided until the lease is held again", why)
            self._end_term()
            # A leader that the ledger has deposed still holds it; any other has lost it.
            await self.leadership.release()

    async def _lead(self, on_ready: Callable[[Endpoints], None], acquired_seconds: float) -> None:
        """Leads for one term.

        Raises:
            LeadershipLost: in a group; the term is over.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self.leadership.renew_until_lost(), name="lease")
            await self._begins.begin_in_ledger()
            group.create_task(self._begins.watch_deposition(), name="ledger's leader")
            await self._begin_term(acquired_seconds)
            loops = TermLoops(self.term)
            for name, loop in (*loops.all_along(), ("epoch", self._follow_higher_epochs)):
                group.create_task(self._keep_running(name, loop), name=name)
            if not self._has_led:
                gc.freeze()  # and what was listed stays long; nothing is collected before new work
                on_ready(self._services.endpoints)
                self._has_led = True
            await self.term.startup.wait_for_sites()
            for name, loop in loops.deciding():
                group.create_task(self._keep_running(name, loop), name=name)

    async def _begin_term(self, acquired_seconds: float) -> None:
        """Brings what is known up to date, and hands what comes from now on to the term."""
        term = self.term
        await self._following.wait_until_listed()
        await self._begins.bring_up_to_date(acquired_seconds)
        root, is_embedded = self._services.endpoints.data_dir, not self._settings.hub.kubeconfig
        if not self._has_led:
            refuse_losses(
                find_ledger_cut(
                    root,
                    self.objects.workloads.values(),
                    is_hub_embedded=is_embedded,
                    place=self._services.ledger.place,
                )
            )
        with self.faults.barrier("object", "web address"):
            try:
                url = self._services.endpoints.page_url.rstrip("/")
                await publish_web_address(self.hub, url)
            except HubError as error:
                _log.warning("the address of the page is not written to the hub: %s", error)
        if self.link.session.is_connected:
            term.startup.listening_since_seconds = self.standby.listening_since_seconds
        self.objects.begin_term(self.leadership.epoch)
        term.dispatcher.start_epoch(self.leadership.epoch)
        term.startup.begin()
        self.link.ingest.listener = term.controller

    def _make_backoff(self) -> JitteredBackoff:
        return JitteredBackoff(
            first_seconds=0.2, max_seconds=2.0, min_seconds=0.05, jitter=self._make_jitter()
        )

    def _end_term(self) -> None:
        """Drops all that was planned; what is known of the hub and the sites stays."""
        gc.unfreeze()  # or the ended term would stay in memory
        self.link.ingest.listener = self.standby
        self._services.ledger.end_term()
        self.outbox.drop_all()
        self.objects.end_term()
        self.sites.end_term()
        ended, self.term = self.term, Term(self.known)
        # With the same epoch the next term's indexes count on from those of this one.
        self.term.dispatcher.epoch = ended.dispatcher.epoch
        self.term.dispatcher.sequence = ended.dispatcher.sequence
        for key in self.objects.workloads:
            self.prepared.note_change(key)

    def _following_loops(self) -> Iterator[tuple[str, Loop]]:
        """What follows the hub and the sites, in a leader and in a scheduler that stands by."""
        for resource, informer in self._following.informers.items():
            yield f"watch {resource.plural}", informer.run
        yield "broker session", self.link.session.run
        yield "messages", self.link.receiver.run
        yield "prepared orders", self.prepared.run
        yield "ask sites", self.asker.run
        yield "received messages", partial(self._services.received.run, self._clock)
        yield "full reports", self.link.request_full_reports
        yield "spending", self.answers.run_meter
        if self._judges_losses and self.survival.interval_seconds:
            yield "survival", self.survival.run
        if self.feeds.asked:
            yield "intensity feeds", self.feeds.run
        yield "event-loop lag", partial(watch_loop_lag, self._clock, self.metrics.observe_loop_lag)
        if self.announcer:
            yield "hub keys", self.announcer.run
        if joining := self._services.joining:
            if self.announcer:
                announcer = self.announcer
                joining.hub_keys = lambda: announcer.public_keys
                joining.root_keys = lambda: announcer.root_keys
            yield from joining.loops(faults=self.faults, count=self.metrics.count_join)
        if self._services.broker:
            yield "embedded broker", self._services.broker.keep_running
        if push := self._services.push_child:
            keys = PushKeys(
                sites=self.objects.sites,
                folder=push.folder / SITES_FOLDER,
                client=self._services.client,
                clock=self._clock,
            )
            yield "push process", push.run
            yield "push keys", keys.run

    async def _keep_running(self, name: str, loop: Loop) -> None:
        """Runs a loop until cancelled; one that fails is started again after a pause."""
        while True:
            with self.faults.barrier("loop", name):
                await run_cancellable(loop(), name=name)
            await self._clock.sleep(self.faults.pause_seconds("loop", name))

    def _on_object_changed(self, kind: str, key: tuple[str, str], sites: frozenset[str]) -> None:
        if kind == SITES.kind:
            self.link.admit_keys(key[1])
        else:
            self.survival.note_change()
        if self.term.startup.has_synced:
            self.term.controller.on_object_changed(kind, key, sites)
        elif kind == WORKLOADS.kind:
            self.prepared.note_change(key)
        elif kind == SITES.kind:
            self.standby.on_site_changed(key[1])

    def _on_label_keys_changed(self) -> None:
        self.term.dispatcher.republish_all()

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
                self.term.dispatcher.start_epoch(await self.leadership.raise_epoch_above(seen))


def _first_of(group: BaseExceptionGroup[LeadershipLost]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
