"""The broker in memory: retained messages, sessions that are cut, and a disk that rolls back."""

from collections.abc import Callable
from dataclasses import dataclass, field

from scheduler.mqtt.outbox import Outbox, OutgoingMessage
from scheduler.mqtt.receiver import Receiver
from scheduler.runtime.clock import Clock

_PAUSE_SECONDS = 1.0
Deliver = Callable[[str, bytes], None]


@dataclass(slots=True)
class ChaosBroker:
    """Passes messages on.

    Attributes:
        is_up: whether it runs.
        retained: the newest payload of each topic that keeps one.
        sites: what takes the messages for each site that is connected, by name.
        schedulers: the sessions of schedulers.
        sent: number of messages passed on in each direction.
    """

    is_up: bool = True
    retained: dict[str, bytes] = field(default_factory=dict)
    sites: dict[str, Deliver] = field(default_factory=dict)
    schedulers: list["SchedulerSession"] = field(default_factory=list)
    sent: int = 0
    _saved: dict[str, bytes] = field(default_factory=dict)

    def send_up(self, topic: str, payload: bytes) -> bool:
        """Passes a message of a site to every scheduler with a session; returns if there is one."""
        reached = [one for one in self.schedulers if one.is_connected]
        for one in reached:
            self.sent += 1
            one.receiver.receive(topic, payload)
        return bool(reached)

    def send_down(self, message: OutgoingMessage) -> None:
        """Passes a message to its site, and keeps it if it is retained."""
        payload = message.seal() if message.seal else message.payload
        if message.retain and payload:
            self.retained[message.topic] = payload
        elif message.retain:
            self.retained.pop(message.topic, None)
        deliver = self.sites.get(message.topic.split("/")[2])
        if deliver is not None and payload:
            self.sent += 1
            deliver(message.topic, payload)

    def save(self) -> None:
        """Writes what is retained to its disk."""
        self._saved = dict(self.retained)

    def stop(self) -> None:
        """It is killed."""
        self.is_up = False
        self.sites.clear()
        for one in self.schedulers:
            one.connected_since_seconds = None

    def start(self, *, rolls_back: bool) -> None:
        """It runs again; if it rolls back, with what its disk held before."""
        if rolls_back:
            self.retained = dict(self._saved)
        self.is_up = True
        for one in self.schedulers:
            one.begin()


@dataclass(slots=True)
class SchedulerSession:
    """One scheduler's session; implements `scheduler.sites_link.SitesConnection`."""

    broker: ChaosBroker
    receiver: Receiver
    outbox: Outbox
    on_connected: Callable[[], None]
    clock: Clock
    is_cut: bool = False
    connected_since_seconds: float | None = None
    _is_running: bool = False

    @property
    def is_connected(self) -> bool:
        """Whether messages come and go now."""
        return self._is_running and self.broker.is_up and not self.is_cut

    def begin(self) -> None:
        """Tells the scheduler of a new session."""
        if self.is_connected:
            self.connected_since_seconds = self.clock.monotonic()
            self.on_connected()

    async def run(self) -> None:
        """Sends what the outbox holds, until cancelled."""
        self._is_running = True
        self.broker.schedulers.append(self)
        self.begin()
        try:
            while True:
                message = await self.outbox.take()
                while not self.is_connected:
                    self.outbox.put_back(message)
                    await self.clock.sleep(_PAUSE_SECONDS)
                    message = await self.outbox.take()
                self.broker.send_down(message)
        finally:
            self._is_running = False
            self.broker.schedulers.remove(self)
