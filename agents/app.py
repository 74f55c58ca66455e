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

from agents.config.settings import Settings
from agents.member.api import ApiError
from agents.member.discovery import Discovery
from agents.metrics.counters import Counters
from agents.metrics.server import MetricsPage
from agents.mqtt.order_fetcher import Fetcher
from agents.mqtt.publisher import Voice
from agents.mqtt.router import Hearing
from agents.mqtt.session import Session, Will
from agents.observe import Observation, Watch
from agents.orders.executor import Executor
from agents.orders.intake import Intake
from agents.orders.journal import Journal, JournalError
from agents.orders.lease import LocalLease
from agents.protocol.errors import WireError
from agents.protocol.hub_requests import FETCH_ORDERS, WANT_FULL_REPORT
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.runtime.clock import Clock
from agents.runtime.identity import Boot
from agents.sensors.energy import EnergyMeter
from agents.sensors.host import resident_bytes
from agents.wiring import member_of, sensors

_log = logging.getLogger(__name__)

_UNSETTLED_SECONDS: Final = 1.0
_UNSETTLED: Final = frozenset({"Fetching", "Applying", "Applied", "Withdrawing"})
_EXPIRY_INTERVALS: Final = 3
_LEASE_RENEWALS: Final = 3
_SOONEST_SECONDS: Final = 0.2
_THREADS: Final = 3


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

    settings: Settings
    key: SigningKey
    boot: Boot
    clock: Clock
    jitter: random.Random
    version: str | None = None
    counters: Counters = field(default_factory=Counters, init=False)
    voice: Voice = field(init=False)
    intake: Intake = field(init=False)
    watch: Watch = field(init=False)
    session: Session = field(init=False)
    _journal: Journal = field(init=False)
    _member: Discovery | None = field(init=False)
    _fetcher: Fetcher = field(init=False)
    _executor: Executor | None = field(default=None, init=False)
    _lease: LocalLease | None = field(default=None, init=False)
    _report_now: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _status_now: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _execute_now: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        settings, folder = self.settings, Path(self.settings.data_dir)
        self.voice = Voice(
            site=settings.site,
            agent=settings.agent,
            boot=self.boot,
            key=self.key,
            full_seconds=settings.report.full_interval_seconds,
        )
        self._journal = Journal(folder / "journal.sqlite")
        self.intake = Intake(settings.site, TrustedKeys.parse(settings.hub_keys), self._journal)
        self._member = member = member_of(settings.cluster, self.clock, self._count_request)
        self.watch = Watch(
            sensors=sensors(
                settings,
                self.clock,
                member,
                generations=self._journal.applied,
                is_active=self._executes,
                version=self.version,
            ),
            meter=EnergyMeter(folder / "energy.json"),
            clock=self.clock,
            counters=self.counters,
        )
        self.session = self._new_session()
        self._fetcher = Fetcher(self.session, self.intake, self.clock)
        if member is not None and settings.cluster.is_executing:
            self._lease = self._new_lease(member)
            self._executor = self._new_executor(member, self._lease)

    async def run(self) -> None:
        """Runs until cancelled; gives the lease back on the way out.

        Raises:
            OSError: the metrics port is taken.
        """
        # One looks, one acts, one keeps the lease; each more would have a connection and a heap.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
        page = MetricsPage(self.metrics_text)
        if self.settings.metrics.port:
            await page.start(self.settings.metrics.host, self.settings.metrics.port)
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
            page.stop()
            await self._release()
            self._journal.close()
            if self._member:
                self._member.api.close()

    def metrics_text(self) -> str:
        """The page of `/metrics`."""
        rss, index = resident_bytes(), self.intake.index
        self.counters.set("build_info", 1.0, version=self.version or "unknown")
        self.counters.set("resident_memory_bytes", float(rss or 0))
        self.counters.set("executing", float(self._executes()))
        self.counters.set("index_epoch", float(index.epoch if index else 0))
        self.counters.set("index_sequence", float(index.sequence if index else 0))
        phases: dict[str, int] = {}
        for order in self._executor.statuses() if self._executor else ():
            phases[order.phase] = phases.get(order.phase, 0) + 1
        self.counters.replace("orders", "phase", phases)
        return self.counters.text()

    # ------------------------------------------------------------ loops

    async def _report_loop(self) -> None:
        report = self.settings.report
        while True:
            self._report_now.clear()
            observation = await self.watch.observe()
            if not observation.look.is_silent:
                await self._say_report(observation)
            await self._wait(self._report_now, report.interval_seconds)
            # A hub, or somebody who plays its questions again, must not keep a small machine busy.
            await self._not_before(observation.at + min(_SOONEST_SECONDS, report.interval_seconds))

    async def _say_report(self, observation: Observation) -> None:
        link = self.session.link
        if link is None:
            return
        now = self.clock.monotonic()
        expiry = self.settings.report.interval_seconds * _EXPIRY_INTERVALS
        try:
            data = self.voice.report_message(
                observation.look, observation.energy, ago_seconds=now - observation.at, now=now
            )
            await link.publish(self.voice.topic("report"), data, expiry_seconds=expiry)
            self.counters.add("messages_total", kind="report")
        except (aiomqtt.MqttError, WireError) as error:
            self.voice.want_full()  # the base may not have arrived
            _log.warning("report is not sent: %s", error)

    async def _status_loop(self) -> None:
        interval = self.settings.report.status_interval_seconds
        while True:
            link = await self.session.opened()
            self._status_now.clear()
            try:
                expiry = interval * _EXPIRY_INTERVALS
                await link.publish(
                    self.voice.topic("status"), self._status(), expiry_seconds=expiry
                )
                self.counters.add("messages_total", kind="status")
            except (aiomqtt.MqttError, WireError) as error:
                _log.warning("status is not sent: %s", error)
            said_at = self.clock.monotonic()
            await self._wait(self._status_now, interval)
            await self._not_before(said_at + min(_SOONEST_SECONDS, interval))

    async def _not_before(self, at: float) -> None:
        await self.clock.sleep(max(0.0, at - self.clock.monotonic()))

    def _status(self) -> bytes:
        now, index, executor = self.clock.monotonic(), self.intake.index, self._executor
        # Before its first pass an agent knows nothing of what runs; to say that would say: nothing.
        passed_at = executor.passed_at if executor and self._executes() else None
        return self.voice.status_message(
            executor.statuses() if executor and passed_at is not None else (),
            site_uid=index.site_uid if index else None,
            echo=self.intake.echo,
            missing=tuple(entry.id for entry in self.intake.missing())
            if passed_at is not None
            else (),
            is_executing=passed_at is not None,
            bad_messages=self.counters.bad_messages(),
            ago_seconds=0.0 if passed_at is None else now - passed_at,
        )

    async def _execute_loop(self, executor: Executor) -> None:
        while True:
            self._execute_now.clear()
            try:
                changed = await asyncio.to_thread(executor.run_once)
            except (ApiError, JournalError) as error:
                changed = False
                _log.warning("orders are not executed now: %s", error)
            if changed:
                self._status_now.set()
            is_settled = all(each.phase not in _UNSETTLED for each in executor.statuses())
            resync = self.settings.cluster.resync_seconds
            await self._wait(
                self._execute_now, resync if is_settled else min(resync, _UNSETTLED_SECONDS)
            )

    async def _lease_loop(self, lease: LocalLease) -> None:
        while True:
            was_held = lease.is_held()
            try:
                is_held = await asyncio.to_thread(self._renew, lease)
            except ApiError as error:
                is_held = lease.is_held()
                _log.warning("lease: %s", error)
            if is_held != was_held:
                _log.info("this agent %s the site's lease", "has" if is_held else "has not")
                self._execute_now.set()
                self._status_now.set()
            await self.clock.sleep(lease.seconds / _LEASE_RENEWALS)

    def _renew(self, lease: LocalLease) -> bool:
        return bool(self._executor and self._executor.prepare() and lease.renew())

    async def _release(self) -> None:
        if self._lease is None:
            return
        try:
            async with asyncio.timeout(2.0):
                await asyncio.to_thread(self._lease.release)
        except (ApiError, TimeoutError) as error:
            _log.info("lease: not given back: %s; it runs out by itself", error)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        """Until the event, or the time is over."""
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(event.wait()), group.create_task(self.clock.sleep(seconds))]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    # ------------------------------------------------------------ events

    def _on_connected(self) -> None:
        self.voice.want_full()
        self._report_now.set()
        self._status_now.set()
        self._fetcher.want()

    def _on_index(self) -> None:
        self._fetcher.want()
        self._execute_now.set()
        self._status_now.set()

    def _on_part(self) -> None:
        self._fetcher.arrived()

    def _on_want(self, word: str) -> None:
        if word == WANT_FULL_REPORT:
            self.voice.want_full()
            self._report_now.set()
        elif word == FETCH_ORDERS:
            self._fetcher.want()
        else:
            self._status_now.set()

    def _executes(self) -> bool:
        return self._lease is not None and self._lease.is_held()

    def _count_request(self, verb: str, answer: str) -> None:
        self.counters.add("member_requests_total", verb=verb, code=answer)

    # ------------------------------------------------------------ parts

    def _new_session(self) -> Session:
        settings = self.settings
        hearing = Hearing(
            site=settings.site,
            agent=settings.agent,
            intake=self.intake,
            counters=self.counters,
            on_index=self._on_index,
            on_content=self._execute_now.set,
            on_part=self._on_part,
            on_want=self._on_want,
        )
        return Session(
            broker=settings.broker,
            client_id=f"kapok-agent-{settings.site}-{settings.agent}",
            will=Will(
                topic=self.voice.topic("offline"),
                payload=self.voice.offline_message(),
                delay_seconds=settings.broker.will_delay_seconds,
            ),
            topics=(self.voice.topic("desired"), self.voice.topic("hub")),
            hear=hearing.hear,
            clock=self.clock,
            jitter=self.jitter,
            counters=self.counters,
        )

    def _new_lease(self, member: Discovery) -> LocalLease:
        holder = f"{self.settings.agent}-{self.key.public.kid}"
        return LocalLease(member.api, holder, self.settings.cluster.lease_seconds, self.clock)

    def _new_executor(self, member: Discovery, lease: LocalLease) -> Executor:
        return Executor(
            discovery=member,
            intake=self.intake,
            journal=self._journal,
            clock=self.clock,
            jitter=self.jitter,
            is_allowed=lease.is_held,
            bound=lambda: self.watch.bound,
        )


async def run_until_told(agent: Agent) -> int:
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
