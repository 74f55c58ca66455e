"""The hub's end of the broker, for tests of agents: receives their messages, publishes orders."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiomqtt

from agents.protocol.delta import decode_report
from agents.protocol.envelope import unseal
from agents.protocol.heartbeat.chain import is_heartbeat, parse_heartbeat
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.report import OFFLINE
from agents.protocol.status import SITE_STATUS, SiteStatusMessage
from agents.protocol.topics import parse_topic
from agents.runtime.clock import AgentSystemClock
from tests.support.wire_hub import Message

CLOCK = AgentSystemClock()
Value = Any
"""A report, delta, status or will."""


@dataclass
class AgentListener:
    """Receives and keeps the messages of agents.

    As the hub does, it publishes its index again to an agent whose status echoes none.
    """

    client: aiomqtt.Client
    trusted: TrustedKeys
    index: Message | None = None
    received: list[tuple[str, Any, bool]] = field(default_factory=list)

    async def listen(self) -> None:
        await self.client.subscribe("kapok/v1/site-a/#", qos=1)
        async for message in self.client.messages:
            name, kind = str(message.topic), parse_topic(str(message.topic)).kind
            if kind == "report" and is_heartbeat(message.payload):
                beat = parse_heartbeat(message.payload)
                self.received.append(("heartbeat", beat, bool(message.retain)))
            elif kind in ("report", "status", "offline"):
                payload = unseal(message.payload, topic=name, trusted=self.trusted)
                read = {"status": SITE_STATUS.decode, "offline": OFFLINE.decode}
                value = read.get(kind, decode_report)(payload)
                self.received.append((kind, value, bool(message.retain)))
                is_without = isinstance(value, SiteStatusMessage) and value.index is None
                if is_without and self.index:
                    await self.client.publish(*self.index, qos=1, retain=True)

    def received_of(self, kind: str) -> list[Any]:
        return [value for its_kind, value, _ in self.received if its_kind == kind]

    async def wait_for(self, kind: str, holds: Callable[[Value], object] = bool) -> Value:
        """Waits for a message of a kind that meets a condition."""
        async with asyncio.timeout(60):
            while True:
                for value in self.received_of(kind):
                    if holds(value):
                        return value
                await CLOCK.sleep(0.02)


@asynccontextmanager
async def listening_hub(
    port: int, keys: Iterable[SigningKey], index: Message | None = None
) -> AsyncIterator[AgentListener]:
    """Subscribes to the messages of a site's agents, which sign with these keys.

    Args:
        port: of the broker on loopback.
        keys: keys of the agents.
        index: what it publishes again to an agent whose status echoes no index; None: nothing.
    """
    async with (
        aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client,
        asyncio.TaskGroup() as group,
    ):
        listener = AgentListener(client, TrustedKeys(key.public for key in keys), index)
        task = group.create_task(listener.listen())
        yield listener
        task.cancel()


async def publish(port: int, messages: list[Message], *, retain: bool = True) -> None:
    """Publishes a message as the hub does."""
    async with aiomqtt.Client(
        "127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5, max_inflight_messages=100
    ) as client:
        for name, payload in messages:
            await client.publish(name, payload, qos=1, retain=retain)
