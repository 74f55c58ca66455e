"""The loops of `scheduler.control` as `kapok up` builds them, over a hub and a ledger in memory."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from scheduler.control.clock_events import ClockEvents
from scheduler.control.controller import Controller
from scheduler.control.events.recorder import EventRecorder
from scheduler.control.events.site_notices import SiteNotices
from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.orders.identity import IdentityResolver
from scheduler.control.orders.sync import OrderSync
from scheduler.control.ports.agents import (
    IndexVersion,
    OrderForSite,
    OrderStatusReport,
    ProofRefused,
    ProvenIndex,
    SiteReport,
)
from scheduler.control.ports.hub import (
    GRANTS,
    KAPOK_RESOURCES,
    SITES,
    TENANTS,
    WORKLOADS,
    Object,
    WatchEvent,
)
from scheduler.control.ports.ledger import (
    AcceptedSpec,
    PreparedRecord,
    RecordedIdentity,
    RecordReference,
)
from scheduler.control.queue.requeue import Requeuer, RequeueReasons
from scheduler.control.queue.reservations import ReservationPlanner, Reservations
from scheduler.control.reconcile.accepted_specs import AcceptedSpecs
from scheduler.control.reconcile.assumptions import Assumptions
from scheduler.control.reconcile.decide import Decider
from scheduler.control.reconcile.health_pauses import HealthPauses
from scheduler.control.reconcile.reconciler import Reconciler
from scheduler.control.reconcile.restore import OrderRestorer
from scheduler.control.reconcile.workload_writer import WorkloadWriter
from scheduler.control.sites.sites import Sites
from scheduler.control.sites.unadmitted_sites import UnadmittedSites
from scheduler.control.startup import Startup
from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.fair_shares import FairShares
from scheduler.control.state.ledger_heads import LedgerHeads
from scheduler.control.state.node_label_keys import NodeLabelKeys
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.ownership import ObjectOwnership
from scheduler.control.state.quotas import Quotas
from scheduler.control.stats.workloads import WorkloadStats
from scheduler.control.wake_ups import WakeUps
from scheduler.control.worker import Worker
from scheduler.model.canonical import canonical_digest
from scheduler.model.decode import decode_as
from scheduler.model.demand.assignment import AssignedWorkload
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.placement.fleet.fleet import Fleet
from tests.support.fake_clock import FakeClock
from tests.support.fake_hub import FakeHub
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.queues import make_queue
from tests.support.sites import Raw, grant, tenant_of_ns

EPOCH = 7


class FakeRecorder:
    """A ledger in memory; implements `scheduler.control.ports.ledger.DecisionRecorder`.

    Attributes:
        records: (subject, content) of each record, the oldest first.
        batches: terms of each recorded batch.
        assigned: what the newest batch assigns.
        faults: raised by a record about this subject.
        identities: what is recorded of each name.
        is_lost: the file was lost.
        ended: names of workloads whose deletion is recorded.
        undone: (subject, id) of decisions that were not carried out.
        deletion_fault: raised by the record of a deletion.
    """

    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.batches: list[Terms] = []
        self.assigned: tuple[AssignedWorkload, ...] = ()
        self.faults: dict[str, Exception] = {}
        self.identities: dict[str, RecordedIdentity] = {}
        self.is_lost = False
        self.ended: list[str] = []
        self.undone: list[tuple[str, str]] = []
        self.deletion_fault: Exception | None = None
        self._accepted: dict[str, AcceptedSpec] = {}

    def update_facts(self, site: str, facts: SiteFacts | None) -> None:
        """Not kept."""

    async def record(
        self,
        *,
        subject: str,
        epoch: int,
        at: datetime,
        content: dict[str, Any],
        spec: WorkloadSpec,
        incarnation: str = "",
    ) -> RecordReference:
        assert at.tzinfo is not None
        assert epoch == EPOCH
        if subject in self.faults:
            raise self.faults[subject]
        self.records.append((subject, content))
        self.identities[subject] = RecordedIdentity(
            incarnation=incarnation, is_complete=bool(incarnation)
        )
        if "demand" in content:
            self._accepted[subject] = AcceptedSpec(spec=spec, demand=content["demand"])
        return RecordReference(f"{epoch}-{len(self.records)}", "sha256:0")

    def prepare(self, **facts: Any) -> PreparedRecord:  # noqa: ANN401 - those of `record`
        return partial(self.record, **facts)

    async def record_not_carried_out(
        self, *, subject: str, epoch: int, at: datetime, decision: str, why: str, incarnation: str
    ) -> None:
        del at, why, incarnation
        assert epoch == EPOCH
        self.undone.append((subject, decision))

    async def record_batch(
        self,
        *,
        epoch: int,
        at: datetime,
        terms: Terms,
        assigned: tuple[AssignedWorkload, ...] = (),
        content: dict[str, Any],
    ) -> RecordReference:
        assert at.tzinfo is not None
        assert (epoch, content["solver"], content["threads"]) == (EPOCH, "highs", 1)
        self.batches.append(terms)
        self.assigned = assigned
        return RecordReference(f"{epoch}-{len(self.batches)}", "sha256:0")

    async def record_deletion(
        self, *, subject: str, epoch: int, at: datetime, incarnation: str
    ) -> None:
        assert at.tzinfo is not None
        assert epoch == EPOCH
        if self.deletion_fault is not None:
            raise self.deletion_fault
        if self.identities.get(subject, RecordedIdentity()) != RecordedIdentity():
            self.ended.append(subject)
            self.records.append((subject, {"incarnation": incarnation}))
            self.identities[subject] = RecordedIdentity()
            self._accepted.pop(subject, None)

    def last_accepted(self, subject: str) -> AcceptedSpec | None:
        return self._accepted.get(subject)

    def identity_of(self, subject: str) -> RecordedIdentity:
        return self.identities.get(subject, RecordedIdentity(is_complete=not self.is_lost))

    def is_history_lost(self) -> bool:
        return self.is_lost


class FakePublisher:
    """Keeps what is published; implements `scheduler.control.ports.agents.OrderPublisherPort`.

    Attributes:
        log: (what, site, detail) of each call.
        max_orders: an index has room for so many.
        forms: (takes_deltas, renews_base) of each index.
        bases: the version of each site's base.
        indexes: the digest of each order in the newest index of each site.
    """

    def __init__(self) -> None:
        self.log: list[tuple[str, str, object]] = []
        self.max_orders = 1000
        self.forms: list[tuple[bool, bool]] = []
        self.bases: dict[str, IndexVersion] = {}
        self.indexes: dict[str, dict[str, str]] = {}
        self._digests: dict[tuple[str, str], str] = {}

    def base_version(self, site: str) -> IndexVersion | None:
        return self.bases.get(site)

    def forget_site(self, site: str) -> None:
        self.bases.pop(site, None)

    def count_that_fit(self, order_ids: Sequence[str]) -> int:
        return min(len(order_ids), self.max_orders)

    def publish_order(self, site: str, order: OrderForSite) -> str:
        if not order.kept_digest:
            self.log.append(("order", site, order.generation))
        self._digests[site, order.id] = self.digest_of(site, order)
        return self._digests[site, order.id]

    def digest_of(self, site: str, order: OrderForSite) -> str:
        return order.kept_digest or canonical_digest({"site": site, **asdict(order)})

    def publish_index(
        self,
        site: str,
        site_uid: str,
        version: IndexVersion,
        orders: Mapping[str, OrderForSite],
        *,
        purge: Collection[str] = (),
        takes_deltas: bool = False,
        renews_base: bool = False,
    ) -> str:
        del site_uid
        self.forms.append((takes_deltas, renews_base))
        base = self.bases.get(site)
        if not takes_deltas:
            self.bases.pop(site, None)
        elif renews_base or base is None or base[0] != version[0]:
            self.bases[site] = version
        self.log.append(("index", site, (version, tuple(orders))))
        self.indexes[site] = {order_id: self._digests[site, order_id] for order_id in orders}
        if purge:
            self.log.append(("purge", site, tuple(sorted(purge))))
        return f"index-{version}"

    def withdraw_content(self, site: str, order_id: str) -> None:
        self.log.append(("clear", site, order_id))

    def request_reports(
        self, site: str, epoch: int, *, want_status: bool, want_report: bool
    ) -> None:
        self.log.append(("ask", site, (epoch, want_status, want_report)))

    def request_heads(self, site: str, epoch: int) -> None:
        self.log.append(("heads", site, epoch))

    def request_proof(self, site: str, epoch: int) -> None:
        self.log.append(("proof", site, epoch))

    def read_proof(self, site: str, site_uid: str, proof: str) -> ProvenIndex:
        """Takes "SITE UID EPOCH SEQUENCE" for a proof; its digest is that of `publish_index`."""
        words = proof.split()
        if words[:2] != [site, site_uid]:
            raise ProofRefused("wrong-site", proof)
        version = (int(words[2]), int(words[3]))
        return ProvenIndex(version=version, digest=f"index-{version}")


class AttemptLog(NullTelemetry):
    """Keeps the result of each attempt."""

    def __init__(self) -> None:
        self.results: list[str] = []

    def observe_attempt(self, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.results.append(result)


@dataclass
class ControlLoops:
    """The loops, and the environment that they run in.

    Attributes:
        clock: moved by the test.
        hub: holds the objects.
        recorder: the ledger.
        publisher: the way to sites.
        telemetry: results of attempts.
        fault_places: the edge of each fault that was caught.
        has_tenant: whether a Tenant lists the namespace of the workloads.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    hub: FakeHub = field(default_factory=FakeHub)
    recorder: Any = field(default_factory=FakeRecorder)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    telemetry: AttemptLog = field(default_factory=AttemptLog)
    fault_places: list[str] = field(default_factory=list)
    has_tenant: bool = True

    def __post_init__(self) -> None:
        self.fleet = Fleet()
        self.faults = make_faults(self.clock, self.fault_places)
        self.inputs = DecisionInputs(fleet=self.fleet, clock=self.clock, base_terms=DEFAULT_TERMS)
        self.objects = HubObjects(self.telemetry, self._on_object_changed, self.faults)
        self.sites = Sites(
            objects=self.objects,
            clock=self.clock,
            silent_after_seconds=1e9,
            facts_sink=self._on_facts_changed,
        )
        self.stats = WorkloadStats(self.clock, self.telemetry)
        self.quotas = Quotas(
            cost_of=self.inputs.spend_of, daemon_pods_of=self.inputs.daemon_pods_of
        )
        self.dispatcher = Dispatcher(
            publisher=self.publisher,
            clock=self.clock,
            telemetry=self.telemetry,
            repeat_seconds=5.0,
            on_higher_epoch=lambda _: None,
            on_refusal=lambda key: self.requeuer.requeue([key]),
            faults=self.faults,
        )
        self.accepted = AcceptedSpecs(hub=self.hub, recorder=self.recorder)
        self.order_sync = OrderSync(
            objects=self.objects,
            sites=self.sites,
            dispatcher=self.dispatcher,
            quotas=self.quotas,
            node_labels=NodeLabelKeys(on_change=self.dispatcher.republish_all),
            last_accepted=self.accepted.last_accepted,
            identities=IdentityResolver(
                hub_id="hub",
                recorded=self.recorder.identity_of,
                sites=self.sites.states,
                clock=self.clock,
                hear_seconds=1.0,
            ),
        )
        self.dispatcher.content_of = self.order_sync.content_of
        self.queue = make_queue(self.clock)
        self.requeuer = Requeuer(
            objects=self.objects,
            queue=self.queue,
            fair_shares=FairShares(
                objects=self.objects, quotas=self.quotas, fleet=self.fleet, clock=self.clock
            ),
            reasons=RequeueReasons(),
        )
        self.reservations = Reservations(
            sites=self.sites,
            clock=self.clock,
            after_seconds=0,
            choose_sites=ReservationPlanner(
                objects=self.objects,
                quotas=self.quotas,
                usage=self.stats.usage,
                inputs=self.inputs,
            ),
        )
        self.events = EventRecorder(self.hub, self.clock, self.faults)
        self.wake_ups = WakeUps(
            queue=self.queue,
            requeuer=self.requeuer,
            reservations=self.reservations,
            quotas=self.quotas,
            sites=self.sites,
            clock=self.clock,
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
            clock=self.clock,
            faults=self.faults,
        )
        self.reconciler = self._make_reconciler()
        self.worker = Worker(
            queue=self.queue,
            reconciler=self.reconciler,
            objects=self.objects,
            reservations=self.reservations,
            wake_ups=self.wake_ups,
            telemetry=self.telemetry,
            clock=self.clock,
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
            fair_shares=self.requeuer.fair_shares,
            ledger_heads=LedgerHeads(
                head=lambda: None,
                sent_head=lambda _site, _version: None,
                is_recorded=lambda _seq, _hash: True,
                is_ours=lambda _head: True,
                ask=lambda _site: None,
                clock=self.clock,
                faults=self.faults,
            ),
            unadmitted_sites=UnadmittedSites(self.clock, self.faults),
            wake_ups=self.wake_ups,
            clock_events=self.clock_events,
        )
        self.startup = Startup(
            objects=self.objects,
            sites=self.sites,
            dispatcher=self.dispatcher,
            controller=self.controller,
            requeuer=self.requeuer,
            clock_events=self.clock_events,
            reconciler=self.reconciler,
            restorer=OrderRestorer(
                objects=self.objects,
                order_sync=self.order_sync,
                accepted=self.reconciler.accepted,
                requeue_reasons=self.requeuer.reasons,
                resolve_demand=self.reconciler.resolve_demand,
                faults=self.faults,
            ),
            clock=self.clock,
            wait_for_sites_seconds=1.0,
        )

    def _make_reconciler(self) -> Reconciler:
        events, ownership, accepted = self.events, ObjectOwnership(), self.accepted
        return Reconciler(
            accepted=accepted,
            objects=self.objects,
            decider=Decider(
                objects=self.objects,
                inputs=self.inputs,
                order_sync=self.order_sync,
                recorder=self.recorder,
                accepted=accepted,
                requeue_reasons=self.requeuer.reasons,
                events=events,
                stats=self.stats,
                epoch=lambda: EPOCH,
            ),
            writer=WorkloadWriter(hub=self.hub, objects=self.objects, clock=self.clock),
            order_sync=self.order_sync,
            ownership=ownership,
            assumptions=Assumptions(
                objects=self.objects,
                sites=self.sites,
                quotas=self.quotas,
                ownership=ownership,
                reservations=self.reservations,
            ),
            requeue_reasons=self.requeuer.reasons,
            reservations=self.reservations,
            events=events,
            stats=self.stats,
            clock=self.clock,
            faults=self.faults,
            epoch=lambda: EPOCH,
            stuck_after_seconds=300.0,
            on_names_freed=lambda: self.wake_ups.add_events("gone"),
            health_pauses=HealthPauses(clock=self.clock),
        )

    @asynccontextmanager
    async def started(self, *raw: Raw) -> AsyncIterator[None]:
        """The loops with these sites, which report, and these workloads; ends what was begun."""
        sites = [one for one in raw if one["kind"] == "Site"]
        for one in sites:
            await self.hub.create(SITES, {**one, "status": {}})
        await self.hub.create(GRANTS, grant(*(one["metadata"]["name"] for one in sites)))
        if self.has_tenant:
            await self.hub.create(TENANTS, tenant_of_ns())
        for one in raw:
            if one["kind"] == "Workload":
                await self.hub.create(WORKLOADS, one)
        async with self.leads(*sites):
            yield

    @asynccontextmanager
    async def leads(self, *sites: Raw) -> AsyncIterator[None]:
        """The loops with what the hub has, while these sites report."""
        self.hub.take_events()
        for resource in KAPOK_RESOURCES:
            for one in (await self.hub.list(resource)).items:
                self.objects.apply_event(resource, WatchEvent("ADDED", one))
        self.dispatcher.start_epoch(EPOCH)
        self.startup.begin()
        for one in sites:
            self.report(one)
        await self.startup.wait_for_sites()
        async with asyncio.TaskGroup() as group:
            loops = (self.worker.run, self.wake_ups.run, self.startup.recheck_decided)
            tasks = [group.create_task(loop()) for loop in loops]
            yield
            for task in tasks:
                task.cancel()

    def read_hub(self) -> None:
        """What the watches bring."""
        for resource, event in self.hub.take_events():
            if resource in KAPOK_RESOURCES:
                self.objects.apply_event(resource, event)

    def report(self, raw: Raw) -> None:
        """A site reports these figures, and that it runs nothing."""
        name = raw["metadata"]["name"]
        self.controller.on_report(
            SiteReport(
                site=name,
                observed_seconds=self.clock.monotonic(),
                figures=decode_as(raw, Site).status,
                has_executor=True,
            )
        )
        self.controller.on_order_status(
            OrderStatusReport(site=name, site_uid=None, version=None, digest="", orders={})
        )

    async def workload(self, name: str) -> Object:
        """A workload as the hub has it."""
        return await self.hub.get(WORKLOADS, name, "ns")

    async def phase(self, name: str) -> str:
        """Its phase in the hub; "" before the first."""
        return str((await self.workload(name)).get("status", {}).get("phase", ""))

    def ordered(self) -> set[str]:
        """Names of the workloads in the newest index of any site."""
        self.publisher.log.clear()
        self.dispatcher.republish_all()
        self.dispatcher.flush()
        return {
            order_id.split("/")[2]
            for what, _, detail in self.publisher.log
            if what == "index" and isinstance(detail, tuple)
            for order_id in detail[1]
        }

    def _on_object_changed(self, kind: str, key: tuple[str, str], sites: frozenset[str]) -> None:
        if self.startup.has_synced:
            self.controller.on_object_changed(kind, key, sites)

    def _on_facts_changed(self, site: str, facts: SiteFacts | None) -> None:
        self.recorder.update_facts(site, facts)
        if facts is None:
            self.fleet.remove(site)
        else:
            self.fleet.upsert(facts)
