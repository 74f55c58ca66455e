"""What is to be published: one payload per topic, the newest, in the order of first mention."""

import asyncio
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One publication."""

    topic: str
    payload: bytes
    retain: bool


@dataclass(slots=True)
class Outbox:
    """Newest payload per topic, waiting to be sent."""

    _waiting: dict[str, OutgoingMessage] = field(default_factory=dict)
    _not_empty: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Replaces what waits for this topic; it moves to the end, behind what it may refer to."""
        self._waiting.pop(topic, None)
        self._waiting[topic] = OutgoingMessage(topic, payload, retain)
        self._not_empty.set()

    async def take(self) -> OutgoingMessage:
        """Waits for the oldest."""
        while not self._waiting:
            self._not_empty.clear()
            await self._not_empty.wait()
        return self._waiting.pop(next(iter(self._waiting)))

    def put_back(self, unsent: OutgoingMessage) -> None:
        """It could not be sent: first again, unless something newer waits for the topic."""
        if unsent.topic not in self._waiting:
            self._waiting = {unsent.topic: unsent, **self._waiting}
            self._not_empty.set()

    def __len__(self) -> int:
        return len(self._waiting)
