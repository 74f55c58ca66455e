"""Puts the agent together: settings become parts, and the parts run in one TaskGroup.

This is the only module that knows all others. `build_agent` makes the parts, `Agent.run` starts
the loops (`loops.py`) and routes events between them: what the broker delivers wakes the loops that
act on it. All loops end together.
"""

import asyncio
import logging
import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agents.config.settings import AgentSettings
from agents.diagnosis.answerer import QuestionAnswerer
from agents.loops import ExecutionLoop, ReportLoop, StatusLoop
from agents.metrics.counters import Counters
from agents.metrics.server import MetricsServer
from agents.mqtt.nonces import NonceAnswerer
from agents.mqtt.order_fetcher import OrderFetcher
from agents.mqtt.publisher import ReportBuilder
from agents.mqtt.router import MessageRouter
from agents.mqtt.session import AgentSession, Will
from agents.observe import SensorCollector
from agents.orders.intake import Intake
from agents.orders.journal import Journal
from agents.protocol.errors import WireError
from agents.protocol.hub_requests import (
    FETCH_ORDERS,
    WANT_FULL_REPORT,
    WANT_INDEX_PROOF,
    WANT_LEDGER_HEADS,
    HigherBoot,
)
from agents.protocol.hub_trust.key_set import HubKeySet
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.runtime.clock import AgentClock
from agents.runtime.data_dir import (
    ENERGY_FILE,
    Boot,
    load_or_create_client_id,
    load_or_create_sealing_key,
    record_higher_boot,
)
from agents.runtime.faults import AgentFaults
from agents.runtime.heartbeats import Heartbeats
from agents.runtime.hub_trust import HubTrust
from agents.runtime.memory import MemoryKeeper, find_allocator
from agents.runtime.service_manager import ServiceManager
from agents.sensors.energy import EnergyMeter
from agents.sensors.host import resident_bytes
from agents.wiring import build_discovery, build_sensors, site_rules_of

if TYPE_CHECKING:  # loaded only where they are used: an edge node has little memory
    from agents.joining.renewal import CertificateRenewal
    from agents.member.access import Access
    from agents.member.discovery import Discovery
    from agents.orders.lease import LocalLease

_log = logging.getLogger(__name__)

# Two sensors, the executor and the lease block at the same time; each further thread would cost
# memory for a connection and a heap.
_WORKER_THREADS: Final = 4

FAULT_JOURNAL: Final = "journal-unusable"
"""In reports: the journal cannot be read or written, so no order is executed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One agent of one site; `build_agent` makes it.

    Attributes:
        settings: all settings.
        version: version of the program, for metrics; None if unknown.
        counters: the numbers that `/metrics` shows.
        journal: what survives a restart; `run` closes it.
        intake: the desired state that the hub signed.
        discovery: the member cluster's API and its kinds; None for a site without a cluster.
        session: the connection with the broker.
        answerer: answers the nonces of the hub.
        questions: answers its questions about orders.
        fetcher: fetches the order contents that the index lists.
        reports: sends reports.
        statuses: sends statuses.
        execution: applies orders while it holds the site's lease; None if this agent only reports.
        clock: time as an input.
        faults: the barrier of all edges.
        trust: which keys of the hub count.
        heartbeats: when each loop has to come round again.
        renewal: renews the certificate; None: the machine has not joined by a token.
    """

    settings: AgentSettings
    version: str | None
    counters: Counters
    journal: Journal
    intake: Intake
    discovery: "Discovery | None"
    session: AgentSession
    answerer: NonceAnswerer
    questions: QuestionAnswerer
    fetcher: OrderFetcher
    reports: ReportLoop
    statuses: StatusLoop
    execution: ExecutionLoop | None
    clock: AgentClock
    faults: AgentFaults
    trust: HubTrust
    heartbeats: Heartbeats
    renewal: "CertificateRenewal | None" = None

    async def run(self) -> None:
        """Runs until cancelled; releases the site's lease at the end."""
        metrics_server = MetricsServer(self.render_metrics, self.heartbeats.overdue)
        router = self._build_router()
        try:
            async with asyncio.TaskGroup() as group:
                session = self.session.run(
                    on_connected=self._on_connected, on_message=router.handle
                )
                group.create_task(session, name="session")
                if self.settings.metrics.port:
                    group.create_task(self._start_metrics(metrics_server), name="metrics")
                if self.renewal:
                    group.create_task(self.renewal.run(), name="certificate")
                group.create_task(self.reports.run(), name="report")
                group.create_task(self.statuses.run(), name="status")
                group.create_task(self.fetcher.run(), name="fetch")
                group.create_task(self.answerer.run(), name="answer")
                group.create_task(self.questions.run(), name="questions")
                if self.execution:
                    group.create_task(self.execution.run_lease(), name="lease")
                    group.create_task(self.execution.run_passes(), name="execute")
        finally:
            metrics_server.stop()
            if self.execution:
                await self.execution.release_lease()
            self.journal.close()
            self.reports.collector.close()
            if self.discovery:
                self.discovery.api.close()

    def use_access(self, access: "Access") -> None:
        """Reaches the cluster by other credentials from now on, and looks at it at once."""
        if self.discovery is None:
            return
        self.discovery.api.use_access(access)
        self.discovery.invalidate(is_urgent=True)
        self.reports.request_report()
        self._request_pass()

    async def _start_metrics(self, server: MetricsServer) -> None:
        """Starts the metrics server; a taken port is no reason not to run."""
        metrics, is_started = self.settings.metrics, False
        while not is_started:
            with self.faults.guard("metrics"):
                await server.start(metrics.host, metrics.port)
                is_started = True
            await self.clock.sleep(self.faults.quarantine_seconds("metrics"))

    def render_metrics(self) -> str:
        """The page of `/metrics`; empty if it cannot be rendered."""
        with self.faults.guard("metrics"):
            return self._render_metrics()
        return ""

    def _render_metrics(self) -> str:
        self.update_gauges()
        return self.counters.render()

    def update_gauges(self) -> None:
        """Sets the gauges that are read when the page is rendered."""
        rss, index, execution = resident_bytes(), self.intake.index, self.execution
        self.counters.set("build_info", 1.0, version=self.version or "unknown")
        self.counters.set("resident_memory_bytes", float(rss or 0))
        self.counters.set("executing", float(execution is not None and execution.lease.is_held()))
        self.counters.set("index_epoch", float(index.epoch if index else 0))
        self.counters.set("index_sequence", float(index.sequence if index else 0))
        phases: dict[str, int] = {}
        for order in execution.executor.order_statuses() if execution else ():
            phases[order.phase] = phases.get(order.phase, 0) + 1
        self.counters.replace("orders", "phase", phases)

    def describe(self) -> str:
        """What the agent does now, for `systemctl status`."""
        broker, execution = self.settings.broker, self.execution
        link = "connected to" if self.session.connection else "connecting to"
        words = [f"{self.settings.site}: {link} {broker.host}:{broker.port}"]
        if execution:
            held = "applies" if execution.lease.is_held() else "does not hold the lease for"
            words.append(f"{held} {len(execution.executor.order_statuses())} orders")
        return ", ".join(words)

    # ------------------------------------------------------------ events

    def _build_router(self) -> MessageRouter:
        return MessageRouter(
            site=self.settings.site,
            agent=self.settings.agent,
            intake=self.intake,
            counters=self.counters,
            on_index=self._on_index,
            on_order_content=self._request_pass,
            on_order_part=self.fetcher.notify_part_received,
            on_hub_request=self._on_hub_request,
            on_nonce=self.answerer.ask,
            on_higher_boot=self._on_higher_boot,
            on_base_missing=self.statuses.request_status,
            on_index_held_back=self.statuses.request_status,
            on_question=self.questions.ask,
            on_hub_keys=self._on_hub_keys,
            faults=self.faults,
        )

    def _on_connected(self) -> None:
        # The hub may have missed everything that the last session sent.
        self.reports.request_full_report()
        self.statuses.request_status()
        self.fetcher.request_fetch()

    def _on_index(self) -> None:
        self.fetcher.request_fetch()
        self._request_pass()
        self.reports.expect_change()
        self.statuses.request_status()  # its echo says which index this site works by

    def _on_hub_request(self, request: str) -> None:
        if request == WANT_FULL_REPORT:
            self.reports.request_full_report()
        elif request == FETCH_ORDERS:
            self.fetcher.request_fetch()
        elif request == WANT_INDEX_PROOF:
            self.statuses.request_proof()
        elif request == WANT_LEDGER_HEADS:
            self.statuses.request_heads()
        else:
            self.statuses.request_status()

    def _on_hub_keys(self, announced: HubKeySet) -> None:
        """Trusts the keys that a trusted one, or the root, vouches for."""
        with self.faults.guard("journal", passing=(WireError,)):
            if self.trust.accept(announced):
                self.intake.trusted_keys = self.trust.trusted
                self.fetcher.request_fetch()
            self.statuses.request_status()

    def _on_higher_boot(self, higher: HigherBoot) -> None:
        """Counts as a later boot: the hub takes this one for one that is over."""
        builder = self.reports.builder
        boot = builder.boot
        if (higher.agent, higher.boot_id) != (self.settings.agent, boot.id):
            return  # for another agent, or about a boot before
        if higher.above < boot.number:
            return
        renewed = None
        with self.faults.guard("boot"):
            renewed = record_higher_boot(Path(self.settings.data_dir), higher.above)
        if renewed is None:
            return
        _log.warning(
            "the hub knows boot %d of this agent: its data directory is an older state, or a copy"
            " that another agent uses too; it goes on as boot %d, and energy totals begin at 0."
            " A copy needs an identity of its own: kapok-agent join --again",
            higher.above,
            renewed.number,
        )
        builder.renew_boot(renewed)
        if self.reports.collector.meter is not None:
            self.reports.collector.meter.begin_again()
        self.session.will = _build_will(self.settings, builder)  # of the next session
        self.reports.request_full_report()
        self.statuses.request_status()

    def _request_pass(self) -> None:
        if self.execution:
            self.execution.request_pass()


def build_agent(
    settings: AgentSettings,
    *,
    key: SigningKey,
    boot: Boot,
    clock: AgentClock,
    jitter: random.Random,
    version: str | None = None,
    access: "Access | None" = None,
) -> Agent:
    """Makes an agent by its settings; nothing runs yet.

    Args:
        settings: all settings.
        key: the agent's key, which signs what it sends.
        boot: this start of the agent.
        clock: time as an input.
        jitter: chance as an input.
        version: version of the program, for reports and metrics.
        access: how to reach the cluster; None: as the settings say.

    Raises:
        AccessError: the settings do not say how to reach the cluster.
        ReplayError: the file to replay cannot be used.
        IdentityError: other users may read the client id or the sealing key.
        OSError: these cannot be written.
    """
    counters, data_dir = Counters(), Path(settings.data_dir)
    heartbeats = Heartbeats(clock)
    faults = AgentFaults(lambda where: counters.add("faults_total", where=where), clock)
    builder = ReportBuilder(
        site=settings.site,
        agent=settings.agent,
        boot=boot,
        key=key,
        full_interval_seconds=settings.report.full_interval_seconds,
        interval_seconds=settings.report.interval_seconds,
    )
    sealing_key = load_or_create_sealing_key(data_dir)
    journal = Journal(data_dir / "journal.sqlite")
    trust = HubTrust(
        data_dir=data_dir,
        configured=settings.hub_keys,
        roots=TrustedKeys.parse(settings.root_keys),
    )
    intake = Intake(site=settings.site, trusted_keys=trust.trusted, journal=journal)

    def count_request(verb: str, status_class: str) -> None:
        counters.add("member_requests_total", verb=verb, code=status_class)

    discovery = build_discovery(settings.cluster, clock, count_request, access=access)
    lease = _build_lease(settings, key, discovery, clock)

    def is_executing() -> bool:
        return lease is not None and lease.is_held()

    collector = SensorCollector(
        sensors=build_sensors(
            settings,
            clock,
            discovery,
            read_applied_generations=journal.applied_generations,
            is_active=is_executing,
            version=version,
            sealing_key=sealing_key.public,
            asked_labels=lambda: (intake.index.node_labels or ()) if intake.index else (),
            on_fault=lambda error: faults.record("sensor", error, "kubernetes"),
        ),
        meter=EnergyMeter(data_dir / ENERGY_FILE),
        clock=clock,
        counters=counters,
        faults=faults,
        other_faults=lambda: (FAULT_JOURNAL,) if journal.problem else (),
    )
    executor = None
    if discovery is not None and lease is not None:
        from agents.orders.executor import OrderExecutor  # noqa: PLC0415 - only for a site with a cluster

        executor = OrderExecutor(
            discovery=discovery,
            intake=intake,
            journal=journal,
            clock=clock,
            jitter=jitter,
            is_allowed=lease.is_held,
            sealing_key=sealing_key,
            bound_pods=lambda: collector.bound_pods,
            faults=faults,
            pod_problems=lambda: collector.pod_problems,
            not_ready=lambda: collector.not_ready,
            tenant_account=settings.cluster.tenant_account,
            site_rules=site_rules_of(settings.allow),
        )
    intake.is_reporting_only = executor is None
    session = AgentSession(
        broker=settings.broker,
        client_id=f"kapok-agent-{load_or_create_client_id(data_dir)}",
        will=_build_will(settings, builder),
        # The base first: a delta that comes before its base has to wait for it.
        topics=tuple(builder.topic_of(kind) for kind in ("desired", "desired/delta", "hub")),
        clock=clock,
        jitter=jitter,
        counters=counters,
        faults=faults,
    )
    statuses = StatusLoop(
        interval_seconds=settings.report.status_interval_seconds,
        session=session,
        builder=builder,
        intake=intake,
        executor=executor,
        is_executing=is_executing,
        clock=clock,
        counters=counters,
        faults=faults,
    )
    reports = ReportLoop(
        interval_seconds=settings.report.interval_seconds,
        session=session,
        builder=builder,
        collector=collector,
        clock=clock,
        counters=counters,
        faults=faults,
        heartbeats=heartbeats,
    )

    def on_change() -> None:
        statuses.request_status()
        reports.note_applied(journal.applied_generations())

    reader = None
    if discovery is not None:
        from agents.diagnosis.order_reader import OrderReader  # noqa: PLC0415 - only for a site with a cluster

        reader = OrderReader(api=discovery.api, journal=journal, clock=clock)
    execution = None
    if executor is not None and lease is not None:
        execution = ExecutionLoop(
            executor=executor,
            lease=lease,
            clock=clock,
            resync_seconds=settings.cluster.resync_seconds,
            on_change=on_change,
            faults=faults,
            heartbeats=heartbeats,
        )

    def answer(is_full: bool) -> None:  # noqa: FBT001 - a callback
        # The status first: the report then vouches for it.
        if is_full:
            statuses.request_status()
            reports.request_full_report()
        else:
            statuses.offer_status()
            reports.request_report()

    return Agent(
        settings=settings,
        version=version,
        counters=counters,
        journal=journal,
        intake=intake,
        discovery=discovery,
        session=session,
        fetcher=OrderFetcher(session=session, intake=intake, clock=clock, faults=faults),
        answerer=NonceAnswerer(nonces=builder.nonces, answer=answer, clock=clock, jitter=jitter),
        questions=QuestionAnswerer(
            builder=builder,
            intake=intake,
            session=session,
            reader=reader,
            clock=clock,
            counters=counters,
            faults=faults,
        ),
        reports=reports,
        statuses=statuses,
        execution=execution,
        clock=clock,
        faults=faults,
        trust=trust,
        heartbeats=heartbeats,
        renewal=_build_renewal(settings, key, clock, jitter, counters=counters, faults=faults),
    )


def _build_renewal(
    settings: AgentSettings,
    key: SigningKey,
    clock: AgentClock,
    jitter: random.Random,
    *,
    counters: Counters,
    faults: AgentFaults,
) -> "CertificateRenewal | None":
    """What renews the certificate; None if the machine has not joined by a token."""
    joining = settings.joining
    if not joining.host:
        return None
    from agents.joining.https_client import JoinServer  # noqa: PLC0415 - only after joining
    from agents.joining.renewal import CertificateRenewal  # noqa: PLC0415 - as above

    return CertificateRenewal(
        server=JoinServer(host=joining.host, port=joining.port),
        site=settings.site,
        key=key,
        data_dir=Path(settings.data_dir),
        clock=clock,
        jitter=jitter,
        counters=counters,
        faults=faults,
    )


def _build_will(settings: AgentSettings, builder: ReportBuilder) -> Will:
    return Will(
        topic=builder.topic_of("offline"),
        payload=builder.build_offline_message(),
        delay_seconds=settings.broker.will_delay_seconds,
    )


def _build_lease(
    settings: AgentSettings, key: SigningKey, discovery: "Discovery | None", clock: AgentClock
) -> "LocalLease | None":
    """The site's lease; None if this agent only reports."""
    if discovery is None or not settings.cluster.is_executing:
        return None
    from agents.orders.lease import LocalLease  # noqa: PLC0415 - only for a site with a cluster

    return LocalLease(
        api=discovery.api,
        holder=f"{settings.agent}-{key.public.kid}",
        duration_seconds=settings.cluster.lease_seconds,
        clock=clock,
    )


async def run_until_signalled(agent: Agent) -> int:
    """Runs an agent until SIGTERM or Ctrl-C.

    Returns:
        The exit code of a good end.
    """
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_WORKER_THREADS))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.run(), name="agent")
        manager = ServiceManager.from_environment(os.environ, agent.clock)
        watching = manager.run(agent.heartbeats.overdue, agent.describe)
        watchdog = group.create_task(watching, name="service manager")
        keeper = MemoryKeeper(agent.clock, agent.faults, find_allocator())
        keeping = group.create_task(keeper.run(), name="memory")
        task.add_done_callback(lambda _: (watchdog.cancel(), keeping.cancel()))

        def stop() -> None:
            manager.notify_stopping()
            task.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
    _log.info("ended as asked")
    return 0
