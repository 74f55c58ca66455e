"""The loops of `scheduler.control` as `kapok up` builds them, over a hub and a ledger in memory."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec

from scheduler.control.failover.gate import OpenGate
from scheduler.control.orders.kept_orders import PreparedOrders
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
    RecordedShare,
    RecordReference,
    SignedHead,
)
from scheduler.control.sites.sites import Sites
from scheduler.control.state.node_label_keys import NodeLabelKeys
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.placement_slices import PlacementSlices
from scheduler.knowledge import Knowledge
from scheduler.model.canonical import canonical_digest
from scheduler.model.decision import EqualDecisions, expand
from scheduler.model.decode import decode_as
from scheduler.model.demand.assignment import AssignedWorkload
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.clock import Clock
from scheduler.settings import FreshnessSettings, QueueSettings, Settings
from scheduler.term.term import Term
from tests.support.fake_clock import FakeClock
from tests.support.fake_hub import FakeHub
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.sites import Raw, grant, tenant_of_ns

EPOCH = 7
SETTINGS = Settings(
    hub_id="hub",
    freshness=FreshnessSettings(hear_sites_seconds=1.0),
    queue=QueueSettings(last_backoff_seconds=8.0, reserve_after_seconds=0.0),
)


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
        steps: how many workloads were decided in each step of equal ones.
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
        self.steps: list[int] = []
        self.evictions: list[dict[str, Any]] = []
        self.evictions_fault: Exception | None = None
        self.forgotten: list[dict[str, Any]] = []
        self.drills: list[dict[str, Any]] = []
        self._accepted: dict[str, AcceptedSpec] = {}

    def update_facts(self, site: str, facts: SiteFacts | None) -> None:
        """Not kept."""

    def absorb_facts(self) -> None:
        """Nothing is kept."""

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

    def prepare_equal(
        self,
        *,
        epoch: int,
        at: datetime,
        demand: Demand,
        terms: Terms,
        decisions: EqualDecisions,
        shares: Sequence[RecordedShare],
        followed: Mapping[str, Any] = MappingProxyType({}),
    ) -> list[PreparedRecord]:
        """Kept as the records of single decisions; `steps` has how many were made at once."""
        self.steps.append(len(shares))

        async def record(index: int) -> RecordReference:
            decision = expand(decisions, index)
            single = msgspec.structs.replace(demand, key=decision.workload, uid=decision.uid)
            found = await self.record(
                subject=decision.workload,
                epoch=epoch,
                at=at,
                content={"demand": single, "terms": terms, "decision": decision, **followed},
                spec=shares[index].spec,
                incarnation=shares[index].incarnation,
            )
            return replace(found, index=index)

        return [partial(record, index) for index in range(len(shares))]

    async def record_not_carried_out(
        self,
        *,
        subject: str,
        epoch: int,
        at: datetime,
        decision: str,
        why: str,
        incarnation: str,
    ) -> None:
        del at, why, incarnation
        assert epoch == EPOCH
        self.undone.append((subject, decision))

    async def record_evictions(self, *, epoch: int, at: datetime, content: dict[str, Any]) -> None:
        assert at.tzinfo is not None
        assert epoch == EPOCH
        if self.evictions_fault is not None:
            raise self.evictions_fault
        self.evictions.append(content)

    async def record_forgotten_site(
        self, *, epoch: int, at: datetime, content: dict[str, Any]
    ) -> None:
        assert at.tzinfo is not None
        assert epoch == EPOCH
        if self.evictions_fault is not None:
            raise self.evictions_fault
        self.forgotten.append(content)

    async def record_drill(self, *, epoch: int, at: datetime, content: dict[str, Any]) -> None:
        assert at.tzinfo is not None
        assert epoch == EPOCH
        if self.evictions_fault is not None:
            raise self.evictions_fault
        self.drills.append(content)

    def last_drill(self) -> Mapping[str, Any] | None:
        return self.drills[-1] if self.drills else None

    def last_evictions(self) -> Mapping[str, Any] | None:
        return self.evictions[-1] if self.evictions else None

    def decisions_after(self, subject: str, shown: str) -> tuple[str, ...]:
        undone = {decision for _, decision in self.undone}
        ids = [f"{EPOCH}-{n}" for n, one in enumerate(self.records, 1) if one[0] == subject]
        later = ids[ids.index(shown) + 1 :] if shown in ids else [] if shown else ids
        return tuple(one for one in later if one not in undone)

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

    async def watch(
        self, clock: Clock, *, on_failure: Callable[[], None], on_recovery: Callable[[], None]
    ) -> None:
        """Never fails."""

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

    def sent_head(self, site: str, version: IndexVersion | None = None) -> SignedHead | None:
        del site, version
        return None

    def is_slow(self, site: str, order: OrderForSite) -> bool:
        del site, order
        return False

    def prepare_order(self, site: str, order: OrderForSite) -> None:
        """Nothing is prepared."""

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

    def clear_content(self, site: str, order_id: str) -> None:
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


@dataclass
class FakeLease:
    """A lease that is always held; implements `scheduler.knowledge.HeldLease`."""

    epoch: int = EPOCH
    keeps_unknown_orders: bool = False

    def may_write(self) -> bool:
        return True


class EmptyChain:
    """A ledger without a record; implements `scheduler.knowledge.LedgerChain`."""

    def head(self) -> SignedHead | None:
        return None

    def has(self, _seq: int, _digest: str) -> bool:
        return True


class SilentAsker:
    """Asks nobody; implements `scheduler.knowledge.NonceAsker`."""

    def agents_without_nonce(self, _site: str) -> list[str]:
        return []


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
        self.objects = HubObjects(self.telemetry, self._on_object_changed, self.faults)
        self.sites = Sites(
            objects=self.objects,
            clock=self.clock,
            silent_after_seconds=1e9,
            facts_sink=self._on_facts_changed,
        )
        self.prepared = PreparedOrders(
            hub_id=SETTINGS.hub_id, objects=self.objects, clock=self.clock, faults=self.faults
        )
        self.slices = PlacementSlices(self.hub)
        self.term = Term(
            Knowledge(
                settings=SETTINGS,
                clock=self.clock,
                metrics=self.telemetry,
                faults=self.faults,
                hub=self.hub,
                leadership=FakeLease(),
                objects=self.objects,
                fleet=self.fleet,
                sites=self.sites,
                recorder=self.recorder,
                ledger=EmptyChain(),
                hub_keys=frozenset(),
                schemas=None,
                node_labels=NodeLabelKeys(on_change=self._on_label_keys_changed),
                prepared=self.prepared,
                asker=SilentAsker(),
                publisher=self.publisher,
                connected_since_seconds=lambda: 0.0,
                on_higher_epoch=lambda _: None,
                jitter=random.Random(1),  # noqa: S311 - a test, seeded
                slices=self.slices,
            )
        )
        term = self.term
        self.inputs, self.stats, self.quotas = term.inputs, term.stats, term.quotas
        self.dispatcher, self.order_sync = term.dispatcher, term.order_sync
        self.queue, self.requeuer, self.reservations = term.queue, term.requeuer, term.reservations
        self.events, self.wake_ups, self.clock_events = (
            term.events,
            term.wake_ups,
            term.clock_events,
        )
        self.reconciler, self.worker = term.reconciler, term.worker
        self.controller, self.startup = term.controller, term.startup
        self.failover_loop, self.failover = term.failover, term.reconciler.decider.failover
        self.drain_loop = term.drain
        self.failover_loop.gate = OpenGate()
        self.unready_loop = term.unready_loop
        self.unready_loop.gate = OpenGate()

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
                body = await self.slices.filled(one)
                self.objects.apply_event(resource, WatchEvent("ADDED", body))
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

    def _on_label_keys_changed(self) -> None:
        self.dispatcher.republish_all()

    def _on_object_changed(self, kind: str, key: tuple[str, str], sites: frozenset[str]) -> None:
        if self.startup.has_synced:
            self.controller.on_object_changed(kind, key, sites)

    def _on_facts_changed(self, site: str, facts: SiteFacts | None) -> None:
        self.recorder.update_facts(site, facts)
        if facts is None:
            self.fleet.remove(site)
        else:
            self.fleet.upsert(facts)
