"""The agent's loops: report, status, lease and execute.

Each loop sleeps until its interval is over or until something requests it to run now. A round that
fails is counted as a fault, and the next one comes after a pause that grows. The loop that
fetches order contents is `mqtt/order_fetcher.py`; `app.py` starts all of them.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiomqtt

from agents.member.errors import MemberApiError
from agents.metrics.counters import Counters
from agents.mqtt.publisher import ReportBuilder
from agents.mqtt.session import AgentSession, BrokerConnection
from agents.observe import SensorCollector, SiteObservation
from agents.orders.intake import Intake
from agents.orders.journal import JournalError
from agents.protocol.errors import WireError
from agents.protocol.index import HeldHead
from agents.protocol.status import OrderStatus, SiteStatusMessage
from agents.report_pace import ReportPace
from agents.runtime.clock import AgentClock
from agents.runtime.faults import AgentFaults
from agents.runtime.heartbeats import Heartbeats

if TYPE_CHECKING:  # an agent without a cluster loads neither
    from agents.orders.executor import OrderExecutor
    from agents.orders.lease import LocalLease

_log = logging.getLogger(__name__)

_EXPIRY_INTERVALS: Final = 3
"""A broker drops a report or status that no hub has received for so many intervals."""

_HELD_BACK_SECONDS: Final = 5.0
"""Between statuses while an index that the hub sends again is awaited; the hub does so as often."""

_MIN_INTERVAL_SECONDS: Final = 0.2
"""Requests do not make a loop run more often: a hub that asks again and again, or a client that
replays its requests, must not keep a small machine busy."""

_EARLY_SECONDS: Final = 0.01
"""A sleep may end a little early."""

_IN_PROGRESS_PHASES: Final = frozenset({"Fetching", "Applying", "Applied", "Withdrawing"})
_IN_PROGRESS_POLL_SECONDS: Final = 1.0
_STANDSTILL_SECONDS: Final = 120.0
_STANDSTILL_POLL_SECONDS: Final = 5.0
_RENEWALS_PER_LEASE: Final = 3
_RELEASE_TIMEOUT_SECONDS: Final = 2.0
_LATE_SECONDS: Final = 120.0
"""A round of a loop takes less beside its pauses: sensors and requests have time limits of their
own."""
_LATE_LEASE_SECONDS: Final = 600.0
_LATE_PASS_SECONDS: Final = 3600.0
"""A pass over thousands of orders at a slow cluster takes minutes."""


@dataclass(slots=True, kw_only=True)
class ReportLoop:
    """Reads all sensors and publishes what they observed, every interval and when requested.

    While pods are expected to be bound it reads them more often, and publishes what has changed.

    Attributes:
        interval_seconds: between reports.
        session: publishes; without a connection the sensors are read and nothing is sent.
        builder: makes the message.
        collector: reads the sensors.
        clock: for the interval.
        counters: counts messages sent.
        faults: the barrier around each round.
        heartbeats: notes each round.
        pace: when to look at the cluster again.
    """

    interval_seconds: float
    session: AgentSession
    builder: ReportBuilder
    collector: SensorCollector
    clock: AgentClock
    counters: Counters
    faults: AgentFaults = field(default_factory=AgentFaults)
    heartbeats: Heartbeats = field(default_factory=Heartbeats)
    pace: ReportPace = field(init=False)
    _woken: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _is_requested: bool = field(default=True, init=False)
    _look_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.pace = ReportPace(interval_seconds=self.interval_seconds)

    def request_report(self) -> None:
        """Sends a report now."""
        self._is_requested = True
        self._woken.set()

    def request_full_report(self) -> None:
        """Sends a full report now."""
        self.builder.request_full_report()
        self.request_report()

    def expect_change(self) -> None:
        """Looks at the cluster soon, and reports at once what has changed; there is a new index."""
        self.pace.expect_change()
        # Not later than it would have been: new indexes may come again and again.
        self._look_at = min(self._look_at, self.clock.monotonic() + self.pace.pause_seconds)
        self._woken.set()

    def note_applied(self, applied: Mapping[str, int]) -> None:
        """The same if other generations were applied than before, by order id."""
        if self.pace.note_applied(applied):
            self.expect_change()

    async def run(self) -> None:
        """Runs until cancelled."""
        due_at = self.clock.monotonic()
        while True:
            started = self.clock.monotonic()
            self.heartbeats.beat("report", within_seconds=self.interval_seconds * 2 + _LATE_SECONDS)
            is_due = started >= due_at - _EARLY_SECONDS
            if is_due:
                due_at = self._look_at = started + self.interval_seconds  # if this look fails, too
            with self.faults.guard("report"):
                if await self._look(started, is_due=is_due):
                    # Counted from the look, as the next look is: a look before is one too many.
                    due_at = started + self.interval_seconds
            await self._wait_until(due_at)
            least = max(_MIN_INTERVAL_SECONDS, self.faults.quarantine_seconds("report"))
            await _sleep_until(started + min(least, self.interval_seconds), self.clock)

    async def _look(self, started: float, *, is_due: bool) -> bool:
        """Reads the sensors; publishes if that is due, asked for, or if pods have changed.

        Returns:
            Whether it was to be published.
        """
        is_requested, self._is_requested = self._is_requested, False
        observed = await self.collector.collect()
        took_seconds = self.clock.monotonic() - started
        has_changed = self.pace.note_look(observed.observation.orders, took_seconds)
        self._look_at = started + self.pace.pause_seconds
        if not (is_due or is_requested or has_changed):
            return False
        if not observed.observation.is_silent:
            await self._publish(observed, may_be_heartbeat=not (is_requested or has_changed))
        return True

    async def _wait_until(self, due_at: float) -> None:
        """Waits until a report is due or asked for, or until it is time to look again."""
        while not self._is_requested:
            seconds = min(due_at, self._look_at) - self.clock.monotonic()
            if seconds <= 0:
                return
            self._woken.clear()
            await _wait_for_event(self._woken, seconds, self.clock)

    async def _publish(self, observed: SiteObservation, *, may_be_heartbeat: bool) -> None:
        connection = self.session.connection
        if connection is None:
            return
        is_sent = False
        try:
            kind, data = self._build_message(observed, may_be_heartbeat=may_be_heartbeat)
            await connection.publish(
                self.builder.topic_of("report"),
                data,
                expiry_seconds=self.interval_seconds * _EXPIRY_INTERVALS,
            )
            self.counters.add("messages_total", kind=kind)
            is_sent = True
        except (aiomqtt.MqttError, WireError) as error:
            _log.warning("report not sent: %s", error)
        finally:
            # The hub may not have received the full report that deltas would build on.
            if not is_sent:
                self.builder.request_full_report()

    def _build_message(
        self, observed: SiteObservation, *, may_be_heartbeat: bool
    ) -> tuple[str, bytes]:
        """The kind of the message, and the message: a heartbeat if that says enough."""
        now = self.clock.monotonic()
        ago, what = now - observed.started_at, (observed.observation, observed.energy)
        if may_be_heartbeat:
            data = self.builder.build_heartbeat(*what, observed_seconds_ago=ago, now=now)
            if data is not None:
                return "heartbeat", data
        return "report", self.builder.build_report_message(*what, observed_seconds_ago=ago, now=now)


@dataclass(slots=True, kw_only=True)
class StatusLoop:
    """Publishes the status of all orders, every interval and when requested.

    Attributes:
        interval_seconds: between statuses.
        session: publishes.
        builder: makes the message.
        intake: the index that the site works by, and which contents are missing.
        executor: knows the status of every order; None if this agent only reports.
        is_executing: whether this agent applies orders now.
        clock: for the interval and for ages.
        counters: counts messages sent, and bad messages received, which the status lists.
        faults: the barrier around each round.
    """

    interval_seconds: float
    session: AgentSession
    builder: ReportBuilder
    intake: Intake
    executor: "OrderExecutor | None"
    is_executing: Callable[[], bool]
    clock: AgentClock
    counters: Counters
    faults: AgentFaults = field(default_factory=AgentFaults)
    _woken: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _is_due: bool = field(default=True, init=False)
    _is_proof_requested: bool = field(default=False, init=False)
    _are_heads_requested: bool = field(default=False, init=False)

    def request_status(self) -> None:
        """Sends a status now."""
        self._is_due = True
        self._woken.set()

    def offer_status(self) -> None:
        """Sends a status now, unless heartbeats vouch for the last one."""
        self._woken.set()

    def request_proof(self) -> None:
        """Sends a status now, with the envelope of the index that it echoes."""
        self._is_proof_requested = True
        self.request_status()

    def request_heads(self) -> None:
        """Sends a status now, with the heads of the hub's ledger that this agent holds."""
        self._are_heads_requested = True
        self.request_status()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            connection = await self.session.wait_for_connection()
            self._woken.clear()
            with self.faults.guard("status"):
                await self._publish(connection)
            published_at = self.clock.monotonic()
            interval = self.interval_seconds
            if self.intake.is_holding_back:  # the hub publishes the index when it sees no echo
                interval = min(interval, _HELD_BACK_SECONDS)
            await _wait_for_event(self._woken, interval, self.clock)
            least = max(_MIN_INTERVAL_SECONDS, self.faults.quarantine_seconds("status"))
            await _sleep_until(published_at + min(least, self.interval_seconds), self.clock)

    async def _publish(self, connection: BrokerConnection) -> None:
        is_requested, self._is_due, is_sent = self._is_due, False, False
        try:
            now, status = self.clock.monotonic(), self._build_status()
            is_due = is_requested or self._is_awaiting()
            if is_due or not self.builder.is_vouched_for(status, now):
                await connection.publish(
                    self.builder.topic_of("status"),
                    self.builder.build_status_message(status, now=now),
                    expiry_seconds=self.interval_seconds * _EXPIRY_INTERVALS,
                )
                self.counters.add("messages_total", kind="status")
            self._is_proof_requested = self._are_heads_requested = False
            is_sent = True
        except (aiomqtt.MqttError, WireError) as error:
            _log.warning("status not sent: %s", error)
        finally:
            if not is_sent:
                self.builder.forget_status()

    def _is_awaiting(self) -> bool:
        """Whether the hub is to send something again, which it does when a status says so."""
        intake = self.intake
        is_lacking = intake.wants_full_index or intake.is_holding_back
        return is_lacking or bool(intake.missing_entries())

    def _build_status(self) -> SiteStatusMessage:
        now, index, executor = self.clock.monotonic(), self.intake.index, self.executor
        # Before its first pass the executor does not know what runs here. An empty list of orders
        # in an executing agent's status would claim that nothing does.
        last_pass_at = executor.last_pass_at if executor and self.is_executing() else None
        return self.builder.build_status(
            executor.order_statuses() if executor and last_pass_at is not None else (),
            site_uid=index.site_uid if index else None,
            echo=self.intake.echo,
            missing=tuple(entry.id for entry in self.intake.missing_entries())
            if last_pass_at is not None
            else (),
            is_executing=last_pass_at is not None,
            index_proof=self._read_proof(),
            ledger_heads=self._read_heads(),
            bad_messages=self.counters.bad_messages(),
            kept=executor.kept_claims() if executor and last_pass_at is not None else (),
            observed_seconds_ago=0.0 if last_pass_at is None else now - last_pass_at,
            wants_full_index=self.intake.wants_full_index,
            trusted_hub_keys=tuple(sorted(self.intake.trusted_keys.ids())),
        )

    def _read_proof(self) -> str | None:
        """The proof that the hub asked for; None if it did not, or the disk does not give it."""
        if not self._is_proof_requested:
            return None
        try:
            return self.intake.read_proof()
        except JournalError as error:
            self.faults.record("journal", error)
            return None

    def _read_heads(self) -> tuple[HeldHead, ...] | None:
        if not self._are_heads_requested:
            return None
        try:
            return self.intake.journal.ledger_heads(self.intake.site)
        except JournalError as error:
            self.faults.record("journal", error)
            return None


@dataclass(slots=True, kw_only=True)
class ExecutionLoop:
    """Keeps the site's lease and, while this agent holds it, brings the member to the index.

    Attributes:
        executor: makes the passes.
        lease: the site's lease.
        clock: for the intervals.
        resync_seconds: between passes when nothing is in progress.
        on_change: called when an order's status or the lease's holder has changed.
        faults: the barrier around each round.
        heartbeats: notes each round.
    """

    executor: "OrderExecutor"
    lease: "LocalLease"
    clock: AgentClock
    resync_seconds: float
    on_change: Callable[[], None]
    faults: AgentFaults = field(default_factory=AgentFaults)
    heartbeats: Heartbeats = field(default_factory=Heartbeats)
    _requested: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _last_statuses: tuple[OrderStatus, ...] = field(default=(), init=False)
    _changed_at: float = field(default=0.0, init=False)

    def request_pass(self) -> None:
        """Makes a pass now."""
        self._requested.set()

    async def run_passes(self) -> None:
        """Makes passes until cancelled; every second while an order is in progress."""
        while True:
            self._requested.clear()
            self.heartbeats.beat(
                "execute", within_seconds=self.resync_seconds * 2 + _LATE_PASS_SECONDS
            )
            pause = self.resync_seconds
            with self.faults.guard("pass"):
                await self._make_pass()
                pause = min(pause, self._poll_seconds())
            await self.clock.sleep(self.faults.quarantine_seconds("pass"))
            await _wait_for_event(self._requested, pause, self.clock)

    async def _make_pass(self) -> None:
        try:
            if await asyncio.to_thread(self.executor.reconcile):
                self.on_change()
        except JournalError as error:
            self.faults.record("journal", error)
            self.on_change()
        except MemberApiError as error:
            if self.faults.may_log("orders are not executed"):
                _log.warning("orders are not executed now: %s", error)

    def _poll_seconds(self) -> float:
        """The longest pause: short while an order is in progress, and less so if it stands still.

        What a finalizer or a broken image holds may stay so for days.
        """
        statuses = self.executor.order_statuses()
        if all(status.phase not in _IN_PROGRESS_PHASES for status in statuses):
            return self.resync_seconds
        now = self.clock.monotonic()
        if statuses != self._last_statuses:
            self._last_statuses, self._changed_at = statuses, now
        if now - self._changed_at < _STANDSTILL_SECONDS:
            return _IN_PROGRESS_POLL_SECONDS
        return _STANDSTILL_POLL_SECONDS

    async def run_lease(self) -> None:
        """Takes and renews the lease until cancelled."""
        while True:
            was_held = self.lease.is_held()
            self.heartbeats.beat(
                "lease", within_seconds=self.lease.duration_seconds + _LATE_LEASE_SECONDS
            )
            with self.faults.guard("lease"):
                try:
                    await asyncio.to_thread(self._renew_lease)
                except MemberApiError as error:
                    if self.faults.may_log("lease not renewed"):
                        _log.warning("lease: %s", error)
            is_held = self.lease.is_held()  # without a renewal it expires by itself
            if is_held != was_held:
                _log.info("this agent %s the site's lease", "holds" if is_held else "does not hold")
                self.request_pass()
                self.on_change()
            await self.clock.sleep(self.lease.duration_seconds / _RENEWALS_PER_LEASE)

    async def release_lease(self) -> None:
        """Releases the lease, so that another agent need not wait until it expires."""
        with self.faults.guard("lease"):
            try:
                async with asyncio.timeout(_RELEASE_TIMEOUT_SECONDS):
                    await asyncio.to_thread(self.lease.release)
            except (MemberApiError, TimeoutError) as error:
                _log.info("lease not released: %s; it expires by itself", error)

    def _renew_lease(self) -> None:
        try:
            self.executor.ensure_system_namespace()  # the Lease object is in it
            self.lease.renew()
        except MemberApiError:
            # Without the lease no pass looks again, and the namespace may be what is gone.
            self.executor.forget_namespaces()
            raise


async def _wait_for_event(event: asyncio.Event, seconds: float, clock: AgentClock) -> None:
    """Waits until the event is set, at most `seconds`."""
    # Not `asyncio.timeout`: the pause has to go by `clock`, which tests move by hand.
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(event.wait()), group.create_task(clock.sleep(seconds))]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


async def _sleep_until(at: float, clock: AgentClock) -> None:
    await clock.sleep(max(0.0, at - clock.monotonic()))
