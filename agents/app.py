"""Puts the agent together: settings become sensors, journal, session and loops in one TaskGroup.

The only file that knows all others. The loops: report (look, then say), status (when something
happened, or the interval is over), fetch (contents that the index names), execute (bring the member
to the index), lease (who executes). They live and die together.
"""

import asyncio
import logging
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiomqtt

from agents.config.settings import AgentSettings
from agents.member.api import MemberApiError
from agents.member.discovery import Discovery
from agents.metrics.counters import Counters
from agents.metrics.server import MetricsServer
from agents.mqtt.order_fetcher import OrderFetcher
from agents.mqtt.publisher import ReportBuilder
from agents.mqtt.router import MessageRouter
from agents.mqtt.session import AgentSession, Will
from agents.observe import SensorCollector, SiteObservation
from agents.orders.executor import OrderExecutor
from agents.orders.intake import Intake
from agents.orders.journal import Journal, JournalError
from agents.orders.lease import LocalLease
from agents.protocol.errors import WireError
from agents.protocol.hub_requests import FETCH_ORDERS, WANT_FULL_REPORT
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.runtime.clock import AgentClock
from agents.runtime.identity import Boot
from agents.sensors.energy import EnergyMeter
from agents.sensors.host import resident_bytes
from agents.wiring import build_discovery, build_sensors

_log = logging.getLogger(__name__)

_IN_PROGRESS_POLL_SECONDS: Final = 1.0
_IN_PROGRESS_PHASES: Final = frozenset({"Fetching", "Applying", "Applied", "Withdrawing"})
_EXPIRY_INTERVALS: Final = 3
_RENEWALS_PER_LEASE: Final = 3
_MIN_INTERVAL_SECONDS: Final = 0.2
_WORKER_THREADS: Final = 3


@dataclass(slots=True)
class Agent:
    """One agent of one site.

    Attributes:
        settings: all of them.
        key: that signs.
        boot: this start.
        clock: time as an input.
        jitter: chance as an input.
        version: of the program, told in reports.
    """

    settings: AgentSettings
    key: SigningKey
    boot: Boot
    clock: AgentClock
    jitter: random.Random
    version: str | None = None
    counters: Counters = field(default_factory=Counters, init=False)
    report_builder: ReportBuilder = field(init=False)
    intake: Intake = field(init=False)
    collector: SensorCollector = field(init=False)
    session: AgentSession = field(init=False)
    _journal: Journal = field(init=False)
    _discovery: Discovery | None = field(init=False)
    _fetcher: OrderFetcher = field(init=False)
    _executor: OrderExecutor | None = field(default=None, init=False)
    _lease: LocalLease | None = field(default=None, init=False)
    _report_now: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _status_now: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _execute_now: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        settings, folder = self.settings, Path(self.settings.data_dir)
        self.report_builder = ReportBuilder(
            site=settings.site,
            agent=settings.agent,
            boot=self.boot,
            key=self.key,
            full_interval_seconds=settings.report.full_interval_seconds,
        )
        self._journal = Journal(folder / "journal.sqlite")
        self.intake = Intake(settings.site, TrustedKeys.parse(settings.hub_keys), self._journal)
        self._discovery = discovery = build_discovery(
            settings.cluster, self.clock, self._count_request
        )
        self.collector = SensorCollector(
            sensors=build_sensors(
                settings,
                self.clock,
                discovery,
                read_applied_generations=self._journal.applied_generations,
                is_active=self._is_executing,
                version=self.version,
            ),
            meter=EnergyMeter(folder / "energy.json"),
            clock=self.clock,
            counters=self.counters,
        )
        self.session = self._new_session()
        self._fetcher = OrderFetcher(self.session, self.intake, self.clock)
        if discovery is not None and settings.cluster.is_executing:
            self._lease = self._new_lease(discovery)
            self._executor = self._new_executor(discovery, self._lease)

    async def run(self) -> None:
        """Runs until cancelled; gives the lease back on the way out.

        Raises:
            OSError: the metrics port is taken.
        """
        # One looks, one acts, one keeps the lease; each more would have a connection and a heap.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_WORKER_THREADS))
        metrics_server = MetricsServer(self.render_metrics)
        if self.settings.metrics.port:
            await metrics_server.start(self.settings.metrics.host, self.settings.metrics.port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.session.run(self._on_connected), name="session")
                group.create_task(self._report_loop(), name="report")
                group.create_task(self._status_loop(), name="status")
                group.create_task(self._fetcher.run(), name="fetch")
                if self._executor and self._lease:
                    group.create_task(self._lease_loop(self._lease), name="lease")
                    group.create_task(self._execute_loop(self._executor), name="execute")
        finally:
            metrics_server.stop()
            await self._release_lease()
            self._journal.close()
            if self._discovery:
                self._discovery.api.close()

    def render_metrics(self) -> str:
        """The page of `/metrics`."""
        rss, index = resident_bytes(), self.intake.index
        self.counters.set("build_info", 1.0, version=self.version or "unknown")
        self.counters.set("resident_memory_bytes", float(rss or 0))
        self.counters.set("executing", float(self._is_executing()))
        self.counters.set("index_epoch", float(index.epoch if index else 0))
        self.counters.set("index_sequence", float(index.sequence if index else 0))
        phases: dict[str, int] = {}
        for order in self._executor.order_statuses() if self._executor else ():
            phases[order.phase] = phases.get(order.phase, 0) + 1
        self.counters.replace("orders", "phase", phases)
        return self.counters.render()

    # ------------------------------------------------------------ loops

    async def _report_loop(self) -> None:
        report = self.settings.report
        while True:
            self._report_now.clear()
            observed = await self.collector.collect()
            if not observed.observation.is_silent:
                await self._publish_report(observed)
            await self._wait_with_timeout(self._report_now, report.interval_seconds)
            # A hub, or somebody who plays its questions again, must not keep a small machine busy.
            await self._sleep_until(
                observed.started_at + min(_MIN_INTERVAL_SECONDS, report.interval_seconds)
            )

    async def _publish_report(self, observed: SiteObservation) -> None:
        connection = self.session.connection
        if connection is None:
            return
        now = self.clock.monotonic()
        expiry = self.settings.report.interval_seconds * _EXPIRY_INTERVALS
        try:
            data = self.report_builder.build_report_message(
                observed.observation,
                observed.energy,
                observed_seconds_ago=now - observed.started_at,
                now=now,
            )
            await connection.publish(
                self.report_builder.topic_of("report"), data, expiry_seconds=expiry
            )
            self.counters.add("messages_total", kind="report")
        except (aiomqtt.MqttError, WireError) as error:
            self.report_builder.request_full_report()  # the base may not have arrived
            _log.warning("report is not sent: %s", error)

    async def _status_loop(self) -> None:
        interval = self.settings.report.status_interval_seconds
        while True:
            connection = await self.session.wait_for_connection()
            self._status_now.clear()
            try:
                expiry = interval * _EXPIRY_INTERVALS
                await connection.publish(
                    self.report_builder.topic_of("status"),
                    self._build_status_message(),
                    expiry_seconds=expiry,
                )
                self.counters.add("messages_total", kind="status")
            except (aiomqtt.MqttError, WireError) as error:
                _log.warning("status is not sent: %s", error)
            published_at = self.clock.monotonic()
            await self._wait_with_timeout(self._status_now, interval)
            await self._sleep_until(published_at + min(_MIN_INTERVAL_SECONDS, interval))

    async def _sleep_until(self, at: float) -> None:
        await self.clock.sleep(max(0.0, at - self.clock.monotonic()))

    def _build_status_message(self) -> bytes:
        now, index, executor = self.clock.monotonic(), self.intake.index, self._executor
        # Before its first pass an agent knows nothing of what runs; to say that would say: nothing.
        last_pass_at = executor.last_pass_at if executor and self._is_executing() else None
        return self.report_builder.build_status_message(
            executor.order_statuses() if executor and last_pass_at is not None else (),
            site_uid=index.site_uid if index else None,
            echo=self.intake.echo,
            missing=tuple(entry.id for entry in self.intake.missing_entries())
            if last_pass_at is not None
            else (),
            is_executing=last_pass_at is not None,
            bad_messages=self.counters.bad_messages(),
            observed_seconds_ago=0.0 if last_pass_at is None else now - last_pass_at,
        )

    async def _execute_loop(self, executor: OrderExecutor) -> None:
        while True:
            self._execute_now.clear()
            try:
                changed = await asyncio.to_thread(executor.reconcile)
            except (MemberApiError, JournalError) as error:
                changed = False
                _log.warning("orders are not executed now: %s", error)
            if changed:
                self._status_now.set()
            is_settled = all(
                each.phase not in _IN_PROGRESS_PHASES for each in executor.order_statuses()
            )
            resync = self.settings.cluster.resync_seconds
            await self._wait_with_timeout(
                self._execute_now, resync if is_settled else min(resync, _IN_PROGRESS_POLL_SECONDS)
            )

    async def _lease_loop(self, lease: LocalLease) -> None:
        while True:
            was_held = lease.is_held()
            try:
                is_held = await asyncio.to_thread(self._renew_lease, lease)
            except MemberApiError as error:
                is_held = lease.is_held()
                _log.warning("lease: %s", error)
            if is_held != was_held:
                _log.info("this agent %s the site's lease", "has" if is_held else "has not")
                self._execute_now.set()
                self._status_now.set()
            await self.clock.sleep(lease.duration_seconds / _RENEWALS_PER_LEASE)

    def _renew_lease(self, lease: LocalLease) -> bool:
        return bool(self._executor and self._executor.ensure_system_namespace() and lease.renew())

    async def _release_lease(self) -> None:
        if self._lease is None:
            return
        try:
            async with asyncio.timeout(2.0):
                await asyncio.to_thread(self._lease.release)
        except (MemberApiError, TimeoutError) as error:
            _log.info("lease: not given back: %s; it runs out by itself", error)

    async def _wait_with_timeout(self, event: asyncio.Event, seconds: float) -> None:
        """Until the event, or the time is over."""
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(event.wait()), group.create_task(self.clock.sleep(seconds))]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    # ------------------------------------------------------------ events

    def _on_connected(self) -> None:
        self.report_builder.request_full_report()
        self._report_now.set()
        self._status_now.set()
        self._fetcher.request_fetch()

    def _on_index(self) -> None:
        self._fetcher.request_fetch()
        self._execute_now.set()
        self._status_now.set()

    def _on_order_part(self) -> None:
        self._fetcher.notify_part_received()

    def _on_hub_request(self, request: str) -> None:
        if request == WANT_FULL_REPORT:
            self.report_builder.request_full_report()
            self._report_now.set()
        elif request == FETCH_ORDERS:
            self._fetcher.request_fetch()
        else:
            self._status_now.set()

    def _is_executing(self) -> bool:
        return self._lease is not None and self._lease.is_held()

    def _count_request(self, verb: str, status_class: str) -> None:
        self.counters.add("member_requests_total", verb=verb, code=status_class)

    # ------------------------------------------------------------ parts

    def _new_session(self) -> AgentSession:
        settings = self.settings
        router = MessageRouter(
            site=settings.site,
            agent=settings.agent,
            intake=self.intake,
            counters=self.counters,
            on_index=self._on_index,
            on_order_content=self._execute_now.set,
            on_order_part=self._on_order_part,
            on_hub_request=self._on_hub_request,
        )
        return AgentSession(
            broker=settings.broker,
            client_id=f"kapok-agent-{settings.site}-{settings.agent}",
            will=Will(
                topic=self.report_builder.topic_of("offline"),
                payload=self.report_builder.build_offline_message(),
                delay_seconds=settings.broker.will_delay_seconds,
            ),
            topics=(self.report_builder.topic_of("desired"), self.report_builder.topic_of("hub")),
            on_message=router.handle,
            clock=self.clock,
            jitter=self.jitter,
            counters=self.counters,
        )

    def _new_lease(self, discovery: Discovery) -> LocalLease:
        holder = f"{self.settings.agent}-{self.key.public.kid}"
        return LocalLease(discovery.api, holder, self.settings.cluster.lease_seconds, self.clock)

    def _new_executor(self, discovery: Discovery, lease: LocalLease) -> OrderExecutor:
        return OrderExecutor(
            discovery=discovery,
            intake=self.intake,
            journal=self._journal,
            clock=self.clock,
            jitter=self.jitter,
            is_allowed=lease.is_held,
            bound_pods=lambda: self.collector.bound_pods,
        )


async def run_until_signalled(agent: Agent) -> int:
    """Runs an agent until SIGTERM or Ctrl-C.

    Returns:
        The exit code of a good end.

    Raises:
        OSError: the metrics port is taken.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.run(), name="agent")
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
    _log.info("ended as asked")
    return 0
