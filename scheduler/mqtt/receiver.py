"""Receives messages faster than they can be verified, and gives each site its fair share.

All sites share one TCP connection with the broker, so a message that is not read keeps back those
of all sites. `receive` therefore reads every message at once and only sorts it into a bounded
queue; `run` verifies what the queue returns, for a few milliseconds at a time. What is dropped is
counted: an older message that a newer one of its kind replaced, or one without room in the queue.
"""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass, field

from agents.protocol.errors import WireError
from scheduler.control.ports.telemetry import Telemetry
from scheduler.mqtt.arrival_queue import ArrivalQueue, QueueLimits
from scheduler.mqtt.arrivals import HEARTBEAT, Arrival, Lane, is_large, lane_of
from scheduler.mqtt.ingest import Ingest, OpenedMessage, VerifiedMessage
from scheduler.mqtt.token_bucket import BudgetRates, Rate, TokenBucket
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_MIB = 2**20

# An agent sends 0.2 messages a second, and a few more when orders change; after a reconnect a full
# report and a status at once. The largest report (5,000 nodes) takes about 0.1 s.
_SITE_RATES = BudgetRates(
    messages=Rate(30, 200), size=Rate(2 * _MIB, 16 * _MIB), work=Rate(0.1, 1.0)
)
_SITE_LIMITS = QueueLimits(lane_messages=64, lanes=64, sender_bytes=4 * _MIB, total_bytes=24 * _MIB)
# All sites without a Site object share one small budget: they are only listed for an operator.
_UNADMITTED_RATES = BudgetRates(
    messages=Rate(50, 100), size=Rate(_MIB, 4 * _MIB), work=Rate(0.05, 0.5)
)
_UNADMITTED_LIMITS = QueueLimits(
    lane_messages=1, lanes=512, sender_bytes=_MIB, total_bytes=24 * _MIB
)
_UNADMITTED = ""  # no site has this name
_MAX_UNADMITTED_BYTES = 64 * 1024
_LISTED_SECONDS = 30.0
_MAX_LISTED = 4096

_BATCH_SECONDS = 0.01
_MIN_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.001, 0.02
# Messages that fail verification may take a fifth of the time, and so may the verification of
# messages that arrive while there is no room.
_REJECTED_PAUSE_RATIO = 4.0
_OVERFLOW_WORK = Rate(0.2, 0.2)
# What takes longer than several of the largest reports shows that the process stood still: it was
# paused, or the machine had no time for it. No sender pays or waits for that.
_MAX_WORK_SECONDS = 0.5
# A site has one at a time, so a single site never keeps the others waiting.
_MAX_LARGE_AT_ONCE = 2


@dataclass(slots=True, kw_only=True)
class Receiver:
    """Queues the messages of all sites and hands them to `Ingest`.

    Attributes:
        ingest: verifies and dispatches.
        telemetry: counts what is dropped.
        clock: for budgets and pauses.
        faults: handles the faults that single messages cause.
        queue: what waits.
    """

    ingest: Ingest
    telemetry: Telemetry
    clock: Clock
    faults: Faults
    queue: ArrivalQueue = field(init=False)
    _number: int = field(default=0, init=False)
    _overflow_work: TokenBucket = field(init=False)
    _listed: "OrderedDict[Lane, float]" = field(default_factory=OrderedDict, init=False)
    _group: asyncio.TaskGroup | None = field(default=None, init=False)
    _large_count: int = field(default=0, init=False)
    _has_arrived: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        self._overflow_work = TokenBucket(_OVERFLOW_WORK, self.clock)
        self.queue = ArrivalQueue(
            clock=self.clock,
            rates=_SITE_RATES,
            limits=_SITE_LIMITS,
            shared_rates=_UNADMITTED_RATES,
            shared_limits=_UNADMITTED_LIMITS,
            shared_sender=_UNADMITTED,
        )

    def receive(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Queues one message, or drops it; takes microseconds and never raises."""
        try:
            with self.faults.barrier("message", passing=(WireError,)):
                lane = lane_of(topic, payload, retained=retained)
                self._check_awaited(lane)
                self._number += 1
                if lane.kind == HEARTBEAT or self.ingest.is_admitted(lane.site, lane.key_id):
                    one = Arrival(number=self._number, topic=topic, payload=payload, lane=lane)
                    if not self.queue.offer(lane.site, one):
                        self._on_overflow(one)
                else:
                    self._queue_unadmitted(topic, payload, lane)
                self._has_arrived.set()
        except WireError as error:
            self.telemetry.count_bad_message(error.reason)
            _log.debug("%s: %s: %s", topic[:300], error.reason, error)

    def _check_awaited(self, lane: Lane) -> None:
        """Refuses what nothing was asked or said for before anything of it is read."""
        if lane.kind == "answer" and not self.ingest.is_awaited(lane.site, lane.token):
            raise WireError("stale", "an answer to no open question")
        if lane.kind == HEARTBEAT:
            self.ingest.check_chain(lane.site, bytes.fromhex(lane.key_id))

    def forget(self, site: str) -> None:
        """Drops what is known of a site that is gone or has new keys, and what waits of it."""
        self.queue.forget(site)
        self.ingest.forget(site)

    async def run(self) -> None:
        """Handles what waits; runs until cancelled."""
        self._large_count = 0
        async with asyncio.TaskGroup() as self._group:
            while True:
                pause_seconds = self.handle_batch()
                if pause_seconds is None:
                    self._has_arrived.clear()
                    await self._has_arrived.wait()
                else:
                    await self.clock.sleep(pause_seconds)

    def handle_batch(self) -> float | None:
        """Handles messages for some milliseconds.

        Returns:
            How long to pause before the next batch; None: nothing waits.
        """
        started, rejected_seconds = self.clock.monotonic(), 0.0
        while self.clock.monotonic() - started < _BATCH_SECONDS:
            taken = self.queue.take(allows=self._may_begin)
            if taken is None:
                break
            rejected_seconds += self._handle(*taken)
        else:
            return rejected_seconds * _REJECTED_PAUSE_RATIO
        if rejected_seconds:
            return rejected_seconds * _REJECTED_PAUSE_RATIO
        wait_seconds = self.queue.wait_seconds()
        if wait_seconds is None:
            return None
        return min(_MAX_PAUSE_SECONDS, max(wait_seconds, _MIN_PAUSE_SECONDS))

    def _handle(self, sender: str, one: Arrival) -> float:
        """Handles a message; returns the seconds that it took, if it was not accepted."""
        if self._group and sender != _UNADMITTED and not self._is_light(one):
            self.queue.set_busy(sender, is_busy=True)
            self._large_count += 1
            self._group.create_task(self._handle_large(sender, one), name="large message")
            return 0.0
        started = self.clock.monotonic()
        if sender == _UNADMITTED:
            self._remember_listed(one.lane)
            self.ingest.list_unadmitted(one.topic, one.payload)
            is_accepted = True  # charged to the shared budget, whatever it was
        else:
            is_accepted = self.ingest.handle(one.topic, one.payload)
        seconds = self._work_since(started)
        if not is_accepted:
            return seconds
        self._on_accepted(sender, one, seconds)
        return 0.0

    async def _handle_large(self, sender: str, one: Arrival) -> None:
        """Reads a large message on a thread, so that the event loop is not held.

        Its sender pays for it if it has signed it, used or not.
        """
        started, is_accepted, verified = self.clock.monotonic(), False, None
        try:
            with self.faults.barrier("message"):
                verified = await asyncio.to_thread(self.ingest.verify, one.topic, one.payload)
            with self.faults.barrier("message"):
                read = await asyncio.to_thread(self._read, verified) if verified else None
                is_same = self.ingest.is_admitted(one.lane.site, one.lane.key_id)
                is_accepted = read is not None and is_same and self.ingest.apply(read)
        finally:
            self.queue.set_busy(sender, is_busy=False)
        seconds = self._work_since(started)
        if is_accepted:
            self._on_accepted(sender, one, seconds)
        elif verified is not None:
            self.queue.charge(sender, one, work_seconds=seconds)
        else:
            await self.clock.sleep(seconds * _REJECTED_PAUSE_RATIO)
        self._large_count -= 1
        self._has_arrived.set()

    def _read(self, verified: VerifiedMessage) -> OpenedMessage | None:
        opened = self.ingest.decode(verified)
        return None if opened is None else self.ingest.read(opened)

    def _work_since(self, started_seconds: float) -> float:
        """How long something took, without what the process stood still in that time."""
        return min(_MAX_WORK_SECONDS, self.clock.monotonic() - started_seconds)

    def _may_begin(self, one: Arrival) -> bool:
        return self._large_count < _MAX_LARGE_AT_ONCE or self._is_light(one)

    def _is_light(self, one: Arrival) -> bool:
        """Whether a message may be read on the event loop; a small delta may change much."""
        is_heavy = one.lane.kind == "report" and self.ingest.takes_long(one.lane.site)
        return not is_heavy and not is_large(one.payload)

    def _on_accepted(self, sender: str, one: Arrival, seconds: float) -> None:
        removed = self.queue.accept(sender, one, work_seconds=seconds)
        self._count_dropped("superseded", len(removed))

    def _on_overflow(self, one: Arrival) -> None:
        """Replaces older messages by one without room, if it is valid and newer."""
        is_superfluous = one.lane.kind == HEARTBEAT  # the next one says as much
        if is_superfluous or self._overflow_work.is_empty() or is_large(one.payload):
            self._count_dropped("no-room")
            return
        started = self.clock.monotonic()
        opened = self.ingest.open(one.topic, one.payload)
        if opened is not None and self.ingest.is_newest(opened):
            removed = self.queue.replace(one.lane.site, one)
            self._count_dropped("superseded", len(removed))
        elif opened is not None:
            self.telemetry.count_bad_message("stale")
        self._overflow_work.charge(self._work_since(started))

    def _queue_unadmitted(self, topic: str, payload: bytes, lane: Lane) -> None:
        """Queues a message of an unadmitted site, unless the site was listed just now."""
        sender = Lane(site=lane.site, kind="", key_id=lane.key_id)
        listed_seconds = self._listed.get(sender, float("-inf"))
        is_listed = self.clock.monotonic() - listed_seconds < _LISTED_SECONDS
        one = Arrival(number=self._number, topic=topic, payload=payload, lane=sender)
        if is_listed or len(payload) > _MAX_UNADMITTED_BYTES:
            self.ingest.count_unadmitted(lane.site)
        elif not self.queue.offer(_UNADMITTED, one):
            self.ingest.count_unadmitted(lane.site)
            self._count_dropped("no-room")

    def _remember_listed(self, sender: Lane) -> None:
        self._listed.pop(sender, None)
        self._listed[sender] = self.clock.monotonic()
        if len(self._listed) > _MAX_LISTED:
            self._listed.popitem(last=False)

    def _count_dropped(self, reason: str, count: int = 1) -> None:
        if count:
            self.telemetry.count_dropped_messages(reason, count)
