"""Messages to publish: the newest payload per topic, in the order in which they were put."""

import asyncio
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One MQTT publication."""

    topic: str
    payload: bytes
    retain: bool


@dataclass(slots=True)
class Outbox:
    """The newest payload per topic, until a session sends it."""

    _waiting: dict[str, OutgoingMessage] = field(default_factory=dict, init=False)
    _not_empty: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def put(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Replaces the topic's message and moves it to the end.

        An index is put after the orders that it lists, and is so sent after them.
        """
        self._waiting.pop(topic, None)
        self._waiting[topic] = OutgoingMessage(topic, payload, retain)
        self._not_empty.set()

    async def take(self) -> OutgoingMessage:
        """Removes and returns the oldest message; waits while there is none."""
        while not self._waiting:
            self._not_empty.clear()
            await self._not_empty.wait()
        return self._waiting.pop(next(iter(self._waiting)))

    def put_back(self, unsent: OutgoingMessage) -> None:
        """Puts an unsent message first again, unless the topic has a newer one."""
        if unsent.topic not in self._waiting:
            self._waiting = {unsent.topic: unsent, **self._waiting}
            self._not_empty.set()

    def __len__(self) -> int:
        return len(self._waiting)
