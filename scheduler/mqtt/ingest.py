"""Turns messages from agents into events for the control loops.

A message passes these checks in this order: its topic, its signature by a key that the Site lists,
its decoding, its boot and sequence number. A message that fails one is counted by the reason and
dropped; no input makes `Ingest.handle` raise. If one brings out a fault all the same, messages of
its site and kind are dropped for a while.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import inf

from agents.protocol import delta, topics
from agents.protocol.envelope import sender_key_id, unseal, unseal_unadmitted
from agents.protocol.errors import WireError
from agents.protocol.keys import TrustedKeys
from agents.protocol.report import OFFLINE, MessageHeader, Offline, Report, ReportDelta
from agents.protocol.status import SITE_STATUS, OrderStatus, SiteStatusMessage
from scheduler.control.ports.agents import (
    AgentEventHandler,
    OrderState,
    OrderStatusReport,
    SiteReport,
)
from scheduler.control.ports.ledger import SignedHead
from scheduler.control.ports.telemetry import Telemetry
from scheduler.model.kinds.fields import NAME_PATTERN
from scheduler.mqtt.arrivals import parse_site_topic
from scheduler.mqtt.keyring import Keyring
from scheduler.mqtt.site_reports import MAX_AGE_SECONDS, site_report_of
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults
from scheduler.runtime.printable import printable

_log = logging.getLogger(__name__)

_MAX_AGENTS_PER_SITE = 256

SiteMessage = Report | ReportDelta | SiteStatusMessage | Offline


@dataclass(frozen=True, slots=True)
class OpenedMessage:
    """A message that was verified and decoded."""

    topic: topics.Topic
    message: SiteMessage


_CLAIM_NAME = re.compile(NAME_PATTERN)


@dataclass(slots=True)
class _AgentState:
    """The newest messages of one agent of a site.

    Attributes:
        boot: number and id of the agent's boot; a message of a lower number is stale.
        sequences: highest sequence number by kind of topic, in this boot.
        last_full_report: the base that deltas apply to; None until one has arrived in this boot.
        latest_report: the last report, with the delta applied.
        observed_seconds: when it was observed, on our monotonic clock.
    """

    boot: tuple[int, str] = (-1, "")
    sequences: dict[str, int] = field(default_factory=dict)
    last_full_report: Report | None = None
    latest_report: Report | None = None
    observed_seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Ingest:
    """Receives the messages of all sites.

    Attributes:
        keyring: the keys that each admitted site signs with.
        listener: receives the events.
        telemetry: counts accepted and refused messages.
        clock: for ages and for the dates of figures.
        faults: handles the faults that single messages cause.
        sites_needing_full_report: sites whose deltas lack their full report; the scheduler takes
            them out and asks for a full report.
    """

    keyring: Keyring
    listener: AgentEventHandler
    telemetry: Telemetry
    clock: Clock
    faults: Faults
    sites_needing_full_report: set[str] = field(default_factory=set, init=False)
    _agents: dict[str, dict[str, _AgentState]] = field(default_factory=dict, init=False)

    def handle(self, topic: str, payload: bytes, *, retained: bool = False) -> bool:
        """Verifies, decodes and dispatches one message; a bad one is counted and dropped.

        Returns:
            Whether the message was accepted.
        """
        is_admitted = None
        with self._refusals(topic), self.faults.barrier("message", passing=(WireError,)):
            parsed_topic = parse_site_topic(topic, retained=retained)
            is_admitted = self.is_admitted(parsed_topic.site, sender_key_id(payload))
        if not is_admitted:
            if is_admitted is False:
                self.list_unadmitted(topic, payload)
            return False
        opened = self.open(topic, payload)
        return opened is not None and self.apply(opened)

    def is_admitted(self, site: str, key_id: str) -> bool:
        """Whether a Site lists the key."""
        trusted = self.keyring.keys_of(site)
        return trusted is not None and trusted.find(key_id) is not None

    def list_unadmitted(self, topic: str, payload: bytes) -> None:
        """Notifies the listener of a site that signs with a key that no Site lists."""
        with self._refusals(topic), self.faults.barrier("message", passing=(WireError,)):
            parsed_topic = parse_site_topic(topic, retained=False)
            self.count_unadmitted(parsed_topic.site)
            _, key = unseal_unadmitted(payload, topic=topic)
            self.listener.on_unadmitted_site(parsed_topic.site, str(key))

    def count_unadmitted(self, site: str) -> None:
        """Counts a message of a site or a key that is not admitted."""
        is_known = self.keyring.keys_of(site) is not None
        self.telemetry.count_bad_message("unknown-key" if is_known else "unknown-site")

    def open(self, topic: str, payload: bytes) -> "OpenedMessage | None":
        """Verifies and decodes a message and changes nothing; may run on any thread.

        Returns:
            The message; None if it is refused, which is counted.
        """
        with self._refusals(topic):
            data, parsed_topic = b"", None
            with self.faults.barrier("message", passing=(WireError,)):
                parsed_topic = parse_site_topic(topic, retained=False)
                trusted = self.keyring.keys_of(parsed_topic.site) or TrustedKeys()
                data = unseal(payload, topic=topic, trusted=trusted)
            if parsed_topic is None:
                return None
            # Only the site itself can have a verified message, so only it is set aside.
            sender = (parsed_topic.site, parsed_topic.kind)
            decoding = (*sender, "decode")
            if not all(self.faults.admits("message", one) for one in (sender, decoding)):
                return None
            with self.faults.barrier("message", decoding, passing=(WireError,)):
                return OpenedMessage(parsed_topic, _decode(parsed_topic.kind, data))
        return None

    def is_newest(self, opened: "OpenedMessage") -> bool:
        """Whether `apply` would accept this message as the newest of its agent and kind."""
        site, message = opened.topic.site, opened.message
        agent = self._agents.get(site, {}).get(message.agent)
        if message.site != site or agent is None:
            return message.site == site
        boot = (message.boot_number, message.boot_id)
        if boot != agent.boot:
            return boot[0] > agent.boot[0]
        sequence = getattr(message, "sequence", inf)
        return bool(sequence > agent.sequences.get(opened.topic.kind, -1))

    def apply(self, opened: "OpenedMessage") -> bool:
        """Dispatches an opened message.

        Returns:
            Whether it was accepted; if not, that is counted.
        """
        topic, sender = opened.topic, (opened.topic.site, opened.topic.kind)
        with (
            self._refusals(f"{topic.site} {topic.kind}"),
            self.faults.barrier("message", sender, passing=(WireError,)),
        ):
            self._dispatch(topic, opened.message)
            return True
        return False

    @contextmanager
    def _refusals(self, topic: str) -> Iterator[None]:
        """Counts a refused message, and ends normally."""
        try:
            yield
        except WireError as error:
            self.telemetry.count_bad_message(error.reason)
            _log.debug("%s: %s: %s", topic[:300], error.reason, error)

    def forget(self, site: str) -> None:
        """Drops what is known of a site that is gone or has new keys."""
        self._agents.pop(site, None)
        self.sites_needing_full_report.discard(site)

    def _dispatch(self, parsed_topic: topics.Topic, message: SiteMessage) -> None:
        if isinstance(message, Offline):
            self._handle_offline(parsed_topic.site, message)
        elif isinstance(message, SiteStatusMessage):
            self._accept_newest(parsed_topic, message, message.site)
            self.telemetry.count_message("status")
            self.listener.on_order_status(_order_status_report_of(message))
        else:
            self._handle_report(parsed_topic, message)

    def _handle_report(self, parsed_topic: topics.Topic, message: Report | ReportDelta) -> None:
        if message.observed_seconds_ago > MAX_AGE_SECONDS:
            raise WireError("malformed", f"observed more than {MAX_AGE_SECONDS:g} seconds ago")
        site = parsed_topic.site
        agent = self._accept_newest(parsed_topic, message, message.site)
        whole = self._whole_report(site, agent, message)
        before = (agent.last_full_report, agent.latest_report, agent.observed_seconds)
        if isinstance(message, Report):
            agent.last_full_report = whole
        agent.latest_report = whole
        agent.observed_seconds = self.clock.monotonic() - message.observed_seconds_ago
        try:
            self.listener.on_report(self._site_report(site, self._active_agent_of(site) or agent))
        except Exception:  # nothing is kept of a report that was not taken in
            agent.last_full_report, agent.latest_report, agent.observed_seconds = before
            raise
        self.telemetry.count_message("report")

    def _whole_report(self, site: str, agent: _AgentState, message: Report | ReportDelta) -> Report:
        """A full report itself, or the agent's last one with this delta applied.

        Raises:
            WireError: the full report that the delta builds on is missing, or they do not match.
        """
        if isinstance(message, Report):
            return delta.canonicalise_report(message)
        self.sites_needing_full_report.add(site)  # unless the delta can be applied
        if agent.last_full_report is None:
            raise WireError("stale", "a delta whose full report has not been received")
        whole = delta.apply_delta(agent.last_full_report, message)
        self.sites_needing_full_report.discard(site)
        return whole

    def _site_report(self, site: str, agent: _AgentState) -> SiteReport:
        """The site as `agent` observed it; other agents only fill in what it lacks."""
        assert agent.latest_report is not None  # noqa: S101 - the caller has just set it
        others = self._other_reports(site, agent)
        now = self.clock.now()
        return site_report_of(agent.latest_report, agent.observed_seconds, others, now)

    def _handle_offline(self, site: str, message: Offline) -> None:
        if message.site != site:
            raise WireError(
                "wrong-site", f"a last will of {message.site!r} on the topic of {site!r}"
            )
        known = self._agents.get(site, {}).get(message.agent)
        if known is None or known.boot != (message.boot_number, message.boot_id):
            raise WireError("stale", "the last will of another boot")
        self.telemetry.count_message("offline")
        self.listener.on_site_offline(site)

    def _accept_newest(
        self, parsed_topic: topics.Topic, message: MessageHeader, site: str
    ) -> _AgentState:
        """The state of the sending agent, if this message is the newest of its kind.

        Raises:
            WireError: "wrong-site" or "stale".
        """
        if site != parsed_topic.site:
            raise WireError("wrong-site", f"names {site!r} on the topic of {parsed_topic.site!r}")
        agent = self._agent_state_of(parsed_topic.site, message.agent)
        boot = (message.boot_number, message.boot_id)
        if boot != agent.boot:
            if boot[0] <= agent.boot[0]:
                raise WireError("stale", "a message of an earlier boot")
            agent.boot, agent.sequences, agent.last_full_report = boot, {}, None
        if message.sequence <= agent.sequences.get(parsed_topic.kind, -1):
            raise WireError("stale", "a message that is older than the last one, or the same")
        agent.sequences[parsed_topic.kind] = message.sequence
        return agent

    def _agent_state_of(self, site: str, name: str) -> _AgentState:
        agents = self._agents.setdefault(site, {})
        if name not in agents:
            if len(agents) >= _MAX_AGENTS_PER_SITE:
                raise WireError("too-large", f"more than {_MAX_AGENTS_PER_SITE} agents at a site")
            agents[name] = _AgentState()
        return agents[name]

    def _active_agent_of(self, site: str) -> _AgentState | None:
        """The agent that applies orders; its reports count for the site. None: no agent does."""
        for agent in self._agents[site].values():
            whole = agent.latest_report
            if whole and whole.executor and whole.executor.is_active:
                return agent
        return None

    def _other_reports(self, site: str, active: _AgentState) -> list[Report]:
        """Reports of the site's other agents, in order of name; they fill in missing figures."""
        agents = (agent for _, agent in sorted(self._agents[site].items()))
        return [one.latest_report for one in agents if one.latest_report and one is not active]


def _decode(kind: str, data: bytes) -> SiteMessage:
    if kind == "offline":
        return OFFLINE.decode(data)
    return SITE_STATUS.decode(data) if kind == "status" else delta.decode_report(data)


def _order_status_report_of(message: SiteStatusMessage) -> OrderStatusReport:
    index = message.index
    return OrderStatusReport(
        site=message.site,
        site_uid=message.site_uid,
        version=(index.epoch, index.sequence) if index else None,
        digest=index.digest if index else "",
        orders={one.id: _order_state_of(one) for one in message.orders},
        missing=message.missing,
        kept=_kept_by_order(message),
        is_executing=message.is_executing,
        index_proof=message.index_proof or "",
        ledger_heads=tuple(SignedHead(**asdict(one.head)) for one in message.ledger_heads or ()),
    )


def _kept_by_order(message: SiteStatusMessage) -> dict[str, tuple[str, ...]]:
    kept: dict[str, list[str]] = {}
    for claim in message.kept or ():
        if _CLAIM_NAME.fullmatch(claim.name):  # the hub would refuse the whole status for another
            kept.setdefault(claim.id, []).append(claim.name)
    return {order_id: tuple(names) for order_id, names in kept.items()}


def _order_state_of(order: OrderStatus) -> OrderState:
    return OrderState(
        id=order.id,
        generation=order.generation,
        phase=order.phase,
        applied_generation=order.applied_generation,
        replicas=order.desired,
        ready=order.ready,
        bound=order.bound,
        finished=order.finished,
        recreated=order.recreated or 0,
        not_run=order.not_run or 0,
        message=printable(order.message or ""),
    )
