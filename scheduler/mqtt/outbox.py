"""Messages to publish, in the order in which they were put: the newest of each topic and kind.

What is retained is the state of its topic, and a newer payload replaces it. What is not retained is
a request: it replaces one of its kind, but not another that a site would then never see.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One MQTT publication.

    Attributes:
        topic: where it goes.
        payload: what it says; empty if `seal` gives it.
        retain: the broker keeps it as the state of the topic.
        kind: what a message that is not retained asks for; "" for the state of a topic.
        seal: makes the payload of a large message; it takes long, so a thread calls it.
        expiry_seconds: the broker drops it when no client has taken it for so long; None: never.
    """

    topic: str
    payload: bytes
    retain: bool
    kind: str = ""
    seal: Callable[[], bytes] | None = None
    expiry_seconds: int | None = None

    @property
    def place(self) -> tuple[str, str]:
        """Of the messages with the same one, the newest counts."""
        return self.topic, self.kind


@dataclass(slots=True)
class Outbox:
    """The newest message of each topic and kind, until a session sends it."""

    _waiting: dict[tuple[str, str], OutgoingMessage] = field(default_factory=dict, init=False)
    _not_empty: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def put_state(self, topic: str, payload: bytes) -> None:
        """Replaces the retained message of a topic and moves it to the end.

        An index is put after the orders that it lists, and is so sent after them.
        """
        self._put(OutgoingMessage(topic, payload, retain=True))

    def put_unsealed(self, topic: str, seal: Callable[[], bytes]) -> None:
        """Replaces the retained message of a topic by a large one, which is sealed when sent."""
        self._put(OutgoingMessage(topic, b"", retain=True, seal=seal))

    def put_request(
        self, topic: str, payload: bytes, *, kind: str, expiry_seconds: int | None = None
    ) -> None:
        """Replaces the message of a topic that asks for the same, and moves it to the end."""
        self._put(
            OutgoingMessage(topic, payload, retain=False, kind=kind, expiry_seconds=expiry_seconds)
        )

    def drop_request(self, topic: str, *, kind: str) -> None:
        """Drops a request that was not sent yet, because nothing waits for its answer."""
        self._waiting.pop((topic, kind), None)

    async def take(self) -> OutgoingMessage:
        """Removes and returns the oldest message; waits while there is none."""
        while not self._waiting:
            self._not_empty.clear()
            await self._not_empty.wait()
        return self._waiting.pop(next(iter(self._waiting)))

    def put_back(self, unsent: OutgoingMessage) -> None:
        """Puts an unsent message first again, unless there is a newer one in its place."""
        if unsent.place not in self._waiting:
            self._waiting = {unsent.place: unsent, **self._waiting}
            self._not_empty.set()

    def drop_all(self) -> None:
        """Drops what is not sent yet: this scheduler does not lead any more."""
        self._waiting.clear()

    def _put(self, message: OutgoingMessage) -> None:
        self._waiting.pop(message.place, None)
        self._waiting[message.place] = message
        self._not_empty.set()

    def __len__(self) -> int:
        return len(self._waiting)
