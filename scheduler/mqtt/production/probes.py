"""The probes: what a broker does, seen by messages between a scheduler and a site on it.

Everything happens on topics of one site: that of the site's certificate, or a made-up one where the
scheduler may speak for any site. Messages carry a random token, are retained only where that is
probed, expire by themselves, and are erased at the end. The site's agent and a running scheduler
count a few of them as messages that they cannot read.
"""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from agents.protocol.topics import PREFIX, is_site_name
from scheduler.mqtt.production.probe_client import (
    ProbeAddress,
    ProbeClient,
    ProbeFailure,
    ProbeIdentity,
    ProbeSession,
)
from scheduler.mqtt.production.requirements import (
    LEAST_KEEP_ALIVE_SECONDS,
    LEAST_PACKET_BYTES,
    LEAST_RECEIVE_MAXIMUM,
    RETAINED_PROBES,
    BrokerFinding,
    finding,
    not_probed,
)

_GRACE_SECONDS: Final = 0.4
"""What may not arrive is waited for so long, after what must arrive has come."""
_EXPIRY_SECONDS: Final = 1
_WILL_DELAY_SECONDS: Final = 1
_LARGE_PATIENCE_RATIO: Final = 4
"""Longest wait for a large message, in waits of a step: mosquitto 2.0 is slow over WebSocket."""
_ERASE_AFTER_SECONDS: Final = 120
_DOWN: Final = ("desired", "desired/delta", "hub")
_UP: Final = ("report", "status", "offline")
_DYNAMIC_SECURITY: Final = "$CONTROL/dynamic-security/v1"
_PAYLOAD: Final = b"kapok broker check"
_NAME_A_SITE: Final = "name a site's certificate with --site, --site-cert and --site-key"


@dataclass(slots=True, kw_only=True)
class BrokerProbes:
    """The probes of one broker.

    Attributes:
        address: where it is.
        hub: the scheduler's identity.
        site: the site's identity; equal to `hub` where none was given.
        site_name: name of the site whose topics are used.
        timeout_seconds: the longest wait of one step.
    """

    address: ProbeAddress
    hub: ProbeIdentity
    site: ProbeIdentity
    site_name: str
    timeout_seconds: float
    _token: str = field(default_factory=lambda: secrets.token_hex(16))
    _retained: set[str] = field(default_factory=set)

    @property
    def has_site(self) -> bool:
        """Whether the site is another client than the scheduler."""
        return self.site != self.hub

    def run(self) -> Iterator[BrokerFinding]:
        """Makes every probe, in a few seconds.

        Raises:
            ProbeFailure: there is no session with the broker.
        """
        with self._client(self.hub) as hub:
            yield from self._judge_capabilities(hub)
            with self._client(self.site) as site:
                try:
                    yield from self._probe_messages(hub, site)
                finally:
                    self._erase(hub)
            yield from self._probe_dynamic_security(hub)
        yield from self._probe_anonymous()

    def _client(self, identity: ProbeIdentity, session: ProbeSession | None = None) -> ProbeClient:
        return ProbeClient(self.address, identity, session, timeout_seconds=self.timeout_seconds)

    def _order(self, part: int) -> str:
        return f"{PREFIX}/{self.site_name}/orders/{self._token}/{part}"

    def _topic(self, kind: str, site: str | None = None) -> str:
        return f"{PREFIX}/{site or self.site_name}/{kind}"

    # ------------------------------------------------------------ what the broker says of itself

    def _judge_capabilities(self, hub: ProbeClient) -> Iterator[BrokerFinding]:
        said = hub.capabilities
        if said.get("RetainAvailable", 1) == 0:
            yield finding("retained", "the broker retains no messages")
        if said.get("WildcardSubscriptionAvailable", 1) == 0:
            yield finding("wildcards", "the broker allows no wildcards in subscriptions")
        if said.get("MaximumQoS", 2) == 0:
            yield finding("qos", "the broker delivers with QoS 0 only")
        if (size := said.get("MaximumPacketSize", LEAST_PACKET_BYTES)) < LEAST_PACKET_BYTES:
            yield finding("packet-size", f"the broker takes packets of at most {size} bytes")
        if (most := said.get("ReceiveMaximum", 65_535)) < LEAST_RECEIVE_MAXIMUM:
            yield finding(
                "receive-maximum",
                f"the broker takes {most} publications at once; agents keep to it, and are slower",
            )
        if (seconds := said.get("ServerKeepAlive", 20)) < LEAST_KEEP_ALIVE_SECONDS:
            yield finding("keep-alive", f"the broker demands a word every {seconds} s")

    # ------------------------------------------------------------ messages

    def _probe_messages(self, hub: ProbeClient, site: ProbeClient) -> Iterator[BrokerFinding]:
        lost = list(self._probe_round_trips(hub, site))
        if lost and not self.has_site:
            # The scheduler reads no orders where there are rules, so nothing is wrong yet.
            yield not_probed("round-trip", "a site's part", _NAME_A_SITE, severity="error")
            return
        yield from lost
        if any(one.path == "orders" for one in lost):
            return
        is_retaining = hub.capabilities.get("RetainAvailable", 1) == 1
        expiring, published_at = self._order(RETAINED_PROBES + 1), monotonic()
        if is_retaining:
            self._retain(hub, expiring, _EXPIRY_SECONDS)
        yield from self._probe_will(hub)
        if is_retaining:
            yield from self._probe_retained(hub, site)
        yield from self._probe_large(hub, site)
        yield from self._probe_receive_maximum(hub)
        yield from self._probe_kept_session(hub)
        if self.has_site:
            yield from self._probe_access(hub, site)
        else:
            yield self._access_unknown()
        if is_retaining:
            yield from self._probe_expiry(site, expiring, published_at)

    def _probe_expiry(
        self, site: ProbeClient, expiring: str, published_at: float
    ) -> Iterator[BrokerFinding]:
        site.drain(max(0.0, published_at + _EXPIRY_SECONDS + 1.2 - monotonic()))
        site.subscribe(expiring)
        if any(one.topic == expiring for one in site.drain(_GRACE_SECONDS)):
            yield finding("message-expiry", "a message came after it had expired")

    def _probe_round_trips(self, hub: ProbeClient, site: ProbeClient) -> Iterator[BrokerFinding]:
        """Each kind of topic, in its direction."""
        order, answer = self._order(RETAINED_PROBES + 2), self._topic(f"answer/{self._token}")
        down = {self._topic(kind) for kind in _DOWN} | {order}
        up = {self._topic(kind) for kind in _UP} | {answer}
        site.subscribe(*down)
        hub.subscribe(*up)
        for sender, receiver, topics in ((hub, site, down), (site, hub, up)):
            numbers = [sender.send(topic, _PAYLOAD, expiry_seconds=10) for topic in sorted(topics)]
            for number in numbers:
                sender.is_taken(number)
            came = {one.topic for one in receiver.collect(topics, self._patience())}
            for topic in sorted(topics - came):
                who, reader = (
                    (self.hub.name, self.site.name)
                    if sender is hub
                    else (self.site.name, self.hub.name)
                )
                found = finding(
                    "round-trip", f"what {who} writes on {topic}, {reader} does not read"
                )
                yield found
                if topic == order:
                    yield finding("orders", "no order reaches a site")

    def _patience(self) -> float:
        return min(2.0, self.timeout_seconds)

    def _send_retained(self, hub: ProbeClient, topic: str) -> int:
        return hub.send(topic, _PAYLOAD, is_retained=True, expiry_seconds=_ERASE_AFTER_SECONDS)

    def _retain(self, hub: ProbeClient, topic: str, expiry_seconds: int) -> bool:
        self._retained.add(topic)
        return hub.publish(topic, _PAYLOAD, is_retained=True, expiry_seconds=expiry_seconds)

    def _probe_retained(self, hub: ProbeClient, site: ProbeClient) -> Iterator[BrokerFinding]:
        topics = {self._order(part) for part in range(1, RETAINED_PROBES + 1)}
        self._retained |= topics
        numbers = [self._send_retained(hub, one) for one in topics]
        for number in numbers:
            if not hub.is_taken(number):
                break
        site.subscribe(self._topic(f"orders/{self._token}/+"))
        came = [one for one in site.collect(topics, self._patience()) if one.is_retained]
        if not came:
            yield finding("retained", "what was retained is not sent to a later subscriber")
        elif len(came) < RETAINED_PROBES:
            yield finding("retained-many", f"{len(came)} of {RETAINED_PROBES} came")

    def _probe_large(self, hub: ProbeClient, site: ProbeClient) -> Iterator[BrokerFinding]:
        topic = self._order(RETAINED_PROBES + 3)
        if hub.capabilities.get("MaximumPacketSize", LEAST_PACKET_BYTES) < LEAST_PACKET_BYTES:
            return  # said before
        site.subscribe(topic)
        hub.publish(topic, b"\0" * (LEAST_PACKET_BYTES - 4096), expiry_seconds=10)
        patience = _LARGE_PATIENCE_RATIO * self.timeout_seconds
        if site.wait_for(topic, patience) is None:
            size = LEAST_PACKET_BYTES - 4096
            yield finding("packet-size", f"a message of {size} bytes is not here in {patience:g} s")

    def _probe_will(self, hub: ProbeClient) -> Iterator[BrokerFinding]:
        topic = self._topic(f"answer/{secrets.token_hex(16)}")
        hub.subscribe(topic)
        will = (topic, _PAYLOAD, _WILL_DELAY_SECONDS)
        with self._client(self.site, ProbeSession(expiry_seconds=5, will=will)) as dying:
            dying.cut()
            cut_at = monotonic()
        came = hub.wait_for(topic, _WILL_DELAY_SECONDS + 3)
        if came is None:
            yield finding("will-delay", "no last will came from a session whose link was cut")
        elif monotonic() - cut_at < _WILL_DELAY_SECONDS / 2:
            yield finding("will-delay", "a last will came at once, not after its delay")

    def _probe_receive_maximum(self, hub: ProbeClient) -> Iterator[BrokerFinding]:
        topics = [self._order(RETAINED_PROBES + 10 + number) for number in range(3)]
        session = ProbeSession(receive_maximum=1, acknowledges=False)
        with self._client(self.site, session) as slow:
            slow.subscribe(*topics)
            for topic in topics:
                hub.publish(topic, _PAYLOAD, expiry_seconds=5)
            slow.wait_for(topics[0])
            if more := slow.drain(_GRACE_SECONDS):
                yield finding(
                    "receive-maximum",
                    f"the broker sends {1 + len(more)} messages to a client that takes 1 at a time",
                )

    def _probe_kept_session(self, hub: ProbeClient) -> Iterator[BrokerFinding]:
        name, topic = f"kapok-check-{secrets.token_hex(8)}", self._order(RETAINED_PROBES + 20)
        kept = ProbeSession(client_id=name, expiry_seconds=30)
        with self._client(self.site, kept) as first:
            first.subscribe(topic)
            first.cut()
        hub.publish(topic, _PAYLOAD, expiry_seconds=10)
        back = ProbeSession(client_id=name, is_clean=False)  # and it ends with this connection
        with self._client(self.site, back) as again:
            if not again.has_earlier_session:
                yield finding("session-expiry", "the broker forgets a session with its connection")
            elif again.wait_for(topic, self._patience()) is None:
                yield finding("session-expiry", "a kept session lacks what came while it was away")

    # ------------------------------------------------------------ who may do what

    def _access_unknown(self) -> BrokerFinding:
        return not_probed(
            "site-writes-others",
            "what a site may do; only the scheduler's identity was given",
            _NAME_A_SITE,
            severity="warning" if self.address.is_loopback else "error",
        )

    def _probe_access(self, hub: ProbeClient, site: ProbeClient) -> Iterator[BrokerFinding]:
        other = f"kapok-check-{self._token[:12]}"
        foreign_order = f"{PREFIX}/{other}/orders/{self._token}"
        foreign_answer = self._topic(f"answer/{self._token}", other)
        own_answer = self._topic(f"answer/{secrets.token_hex(16)}")
        own_down = [*(self._topic(kind) for kind in _DOWN), self._order(RETAINED_PROBES + 30)]
        hub.subscribe(foreign_answer, own_answer)
        site.subscribe(foreign_order, f"{PREFIX}/+/orders/{self._token}", *own_down)
        site.drain(_GRACE_SECONDS)
        for topic in (foreign_answer, *own_down, own_answer):
            site.publish(topic, _PAYLOAD, expiry_seconds=5)
        hub.publish(foreign_order, _PAYLOAD, expiry_seconds=5)
        heard_by_hub = {one.topic for one in hub.drain(_GRACE_SECONDS)}
        heard_by_site = {one.topic for one in site.drain(_GRACE_SECONDS)}
        if own_answer not in heard_by_hub:
            yield not_probed(
                "site-writes-others",
                "the site's own message did not arrive either",
                "try again, with a longer --timeout",
                severity="error",
            )
        if foreign_answer in heard_by_hub:
            yield finding("site-writes-others", f"{self.site.name} may write on {foreign_answer}")
        if foreign_order in heard_by_site:
            yield finding("site-reads-others", f"{self.site.name} may read {foreign_order}")
        for topic in sorted(heard_by_site.intersection(own_down)):
            yield finding("site-writes-orders", f"{self.site.name} may write on {topic}")

    def _probe_anonymous(self) -> Iterator[BrokerFinding]:
        unnamed = ProbeIdentity(name="a client without papers", ca_file=self.hub.ca_file)
        try:
            with self._client(unnamed):
                yield finding(
                    "anonymous",
                    "everybody may connect, without a certificate and without a password",
                    severity="warning" if self.address.is_loopback else "error",
                )
        except ProbeFailure:
            return

    def _probe_dynamic_security(self, hub: ProbeClient) -> Iterator[BrokerFinding]:
        response = f"{_DYNAMIC_SECURITY}/response"
        hub.subscribe(response)
        asked = b'{"commands":[{"command":"getDefaultACLAccess"}]}'
        if not hub.publish(_DYNAMIC_SECURITY, asked, expiry_seconds=5):
            yield finding("dynamic-security", f"it is off, or {self.hub.name} may not ask")
        elif hub.wait_for(response, 2 * _GRACE_SECONDS) is None:
            yield finding("dynamic-security", "it is off")

    def _erase(self, hub: ProbeClient) -> None:
        """Erases what was retained; an empty retained message does that (MQTT 5, 3.3.1.3)."""
        numbers = [hub.send(topic, b"", is_retained=True) for topic in sorted(self._retained)]
        deadline = monotonic() + self.timeout_seconds
        with suppress(ProbeFailure):  # then each expires by itself
            for number in numbers:
                if monotonic() < deadline:
                    hub.is_taken(number)


def check_broker(probes: BrokerProbes) -> list[BrokerFinding]:
    """Every finding about a broker; a broker that cannot be reached is one finding."""
    findings: list[BrokerFinding] = []
    address = probes.address
    if not address.is_encrypted and not address.is_loopback:
        findings.append(finding("tls", f"{address} is beyond this machine, and not encrypted"))
    try:
        for one in probes.run():
            findings.append(one)  # noqa: PERF402 - what was found before a failure counts
    except ProbeFailure as failure:
        findings.append(BrokerFinding(failure.path, "error", failure.what, failure.instead))
    return findings


def probed_site(name: str, *, has_site: bool) -> str:
    """The site whose topics are used: the given one, or one that does not exist.

    Args:
        name: name of the site; empty: not given.
        has_site: whether its certificate or user was given.

    Raises:
        ValueError: the name is none, or is missing.
    """
    if not name and has_site:
        raise ValueError("--site-cert: name its site too, with --site NAME")
    if name and not has_site:
        raise ValueError("--site: name its certificate with --site-cert, or --site-username")
    if name and not is_site_name(name):
        raise ValueError(f"--site {name!r}: expected lower-case letters, digits, - and .")
    return name or f"kapok-check-{secrets.token_hex(6)}"
