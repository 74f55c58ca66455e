"""The hub's side of a bad day: publishes what it wants, and again whatever an echo lacks."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import aiomqtt

from agents.protocol.delta import decode_report
from agents.protocol.envelope import unseal
from agents.protocol.index import digest_of
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.orders import OrderContent
from agents.protocol.status import SITE_STATUS, SiteStatusMessage
from agents.protocol.topics import parse_topic
from agents.runtime.clock import AgentSystemClock
from tests.support.production_broker import SCHEDULER, ProductionBroker
from tests.support.wire_hub import Message, WireHub, packed

CLOCK = AgentSystemClock()
_REPAIR_SECONDS = 2.0
_AT_ONCE = 100


@dataclass(slots=True)
class BadDayHub:
    """Keeps the desired state of many sites on a broker that loses it.

    Attributes:
        broker: as the hub reaches it.
        sites: names of the sites.
        key: signs everything.
        agent_key: key of all agents.
        statuses: newest status of each site.
        heard_at: monotonic seconds of the newest report of each site.
        energy: every energy total that was reported, by counter, in order of arrival.
    """

    broker: ProductionBroker
    sites: list[str]
    key: SigningKey = field(default_factory=SigningKey.generate)
    agent_key: SigningKey = field(default_factory=SigningKey.generate)
    statuses: dict[str, SiteStatusMessage] = field(default_factory=dict)
    heard_at: dict[str, float] = field(default_factory=dict)
    energy: dict[str, list[tuple[int, int, float]]] = field(default_factory=dict)
    sequence: int = 0
    _wanted: dict[str, list[Message]] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)
    _client: aiomqtt.Client | None = None

    def want(self, make: Callable[[WireHub], list[OrderContent]]) -> None:
        """Wants other orders at every site from now on."""
        self.sequence += 1
        for site in self.sites:
            hub = WireHub(site=site, key=self.key)
            each = packed(*make(hub))
            index = hub.index(self.sequence, *each)
            self._wanted[site] = [*hub.orders(*each), index]
            self._digests[site] = digest_of(hub.payload_of(index))

    async def run(self) -> None:
        """Runs until cancelled; returns to a broker that was away."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repair())
            while True:
                try:
                    await self._session()
                except* (aiomqtt.MqttError, OSError):
                    pass  # it returns, as the scheduler does
                self._client = None
                await CLOCK.sleep(0.2)

    async def publish(self, messages: list[Message], *, retain: bool = True) -> None:
        """Publishes anything, as soon as there is a session, and again if that one ends."""
        for at in range(0, len(messages), _AT_ONCE):
            while not await self._publish_some(messages[at : at + _AT_ONCE], retain=retain):
                await CLOCK.sleep(0.2)

    async def _publish_some(self, messages: list[Message], *, retain: bool) -> bool:
        client, is_sent = self._client, True
        if client is None:
            return False
        try:
            async with asyncio.TaskGroup() as group:
                for name, payload in messages:
                    group.create_task(client.publish(name, payload, qos=1, retain=retain))
        except* aiomqtt.MqttError:
            is_sent = False
        return is_sent

    async def publish_wanted(self) -> None:
        """Publishes everything that is wanted."""
        await self.publish([one for site in self.sites for one in self._wanted[site]])

    async def converges(self, *, within_seconds: float = 60.0, orders: int) -> None:
        """Waits until every site says that it works by the wanted index and lacks nothing."""
        started, deadline = monotonic(), monotonic() + within_seconds
        while behind := [
            one for one in self.sites if not self._has_converged(one, started, orders)
        ]:
            assert monotonic() < deadline, (
                f"{len(behind)} sites behind after {within_seconds} s, such as {behind[0]}: "
                f"{self.statuses.get(behind[0])}"
            )
            await CLOCK.sleep(0.05)

    def _has_converged(self, site: str, since: float, orders: int) -> bool:
        status = self.statuses.get(site)
        return (
            status is not None
            and status.index is not None
            and status.index.digest == self._digests[site]
            and not status.missing
            and self.heard_at.get(site, 0) >= since
            and len(status.orders) in (0, orders)
        )

    async def _session(self) -> None:
        async with self.broker.client(SCHEDULER) as client:
            for kind in ("report", "status"):
                await client.subscribe(f"kapok/v1/+/{kind}", qos=1)
            self._client = client
            async with asyncio.TaskGroup() as group:
                if self._wanted:
                    group.create_task(self.publish_wanted())
                async for message in client.messages:
                    self._hear(str(message.topic), bytes(message.payload))

    async def _repair(self) -> None:
        """Publishes again for sites whose echo is not what is wanted, each at most every 2 s."""
        while True:
            await CLOCK.sleep(_REPAIR_SECONDS)
            for site, status in list(self.statuses.items()):
                held = status.index.digest if status.index else ""
                if held != self._digests.get(site) or status.missing:
                    await self.publish(self._wanted[site])

    def _hear(self, name: str, data: bytes) -> None:
        topic, trusted = parse_topic(name), TrustedKeys([self.agent_key.public])
        payload = unseal(data, topic=name, trusted=trusted)
        if topic.kind == "report":
            self._hear_report(topic.site, payload)
        else:
            self.statuses[topic.site] = SITE_STATUS.decode(payload)

    def _hear_report(self, site: str, payload: bytes) -> None:
        self.heard_at[site] = monotonic()
        report: Any = decode_report(payload)
        if report.energy is not None and report.energy.it_joules is not None:
            key = f"{site}/{report.energy.counter_id}"
            seen = (report.boot_number, report.sequence, report.energy.it_joules)
            self.energy.setdefault(key, []).append(seen)
