"""Turns what arrives on the wire into what the loops hear.

In this order: the topic, the signature by a key that the Site admits, the decoding, the age, the
order of messages. Whatever fails is counted by kind and forgotten; nothing here raises on bad
input.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from agents.protocol import delta, topics
from agents.protocol.envelope import unseal, unseal_unadmitted
from agents.protocol.errors import WireError
from agents.protocol.report import OFFLINE, REPORT, MessageHeader, Report, ReportDelta
from agents.protocol.status import SITE_STATUS, OrderStatus, SiteStatusMessage
from scheduler.control.ports.agents import (
    AgentEventHandler,
    OrderState,
    OrderStatusReport,
    SiteReport,
)
from scheduler.control.ports.telemetry import Telemetry
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.site import SiteStatus
from scheduler.model.quantities import NotAQuantity
from scheduler.mqtt.keyring import Keyring
from scheduler.placement.fleet.node_table import NodeTable
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

_STATUS_FIELDS = ("nodeClasses", "rtt", "intensity", "power", "apiKinds", "namespaces")
_MAX_FIGURE_AGE_SECONDS = 10 * 365 * 86_400.0
_FALLBACK_FIELDS = ("intensity", "power")
_MAX_AGENTS_PER_SITE = 256
_MAX_GPU_CARD_NUMBER = 128


@dataclass(slots=True)
class _AgentState:
    """What was last heard of one agent of a site."""

    boot: tuple[int, str] = (-1, "")
    sequences: dict[str, int] = field(default_factory=dict)
    last_full_report: Report | None = None
    latest_report: Report | None = None
    observed_seconds: float = 0.0


@dataclass(slots=True)
class Ingest:
    """Hears all sites.

    Attributes:
        keyring: whom to believe.
        listener: who is told.
        telemetry: counts what is refused.
        clock: for ages, by its monotonic side only.
        sites_needing_full_report: sites whose deltas cannot be used; the session asks them for a
        full report.
    """

    keyring: Keyring
    listener: AgentEventHandler
    telemetry: Telemetry
    clock: Clock
    sites_needing_full_report: set[str] = field(default_factory=set)
    _agents: dict[str, dict[str, _AgentState]] = field(default_factory=dict)

    def handle(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Takes one message in."""
        try:
            parsed_topic = _parse_site_topic(topic, retained=retained)
            data = self._verified_payload(topic, parsed_topic, payload)
            if data is not None:
                self._dispatch(parsed_topic, data)
        except WireError as error:
            self.telemetry.count_bad_message(error.reason)
            _log.debug("%s: %s: %s", topic[:300], error.reason, error)

    def forget(self, site: str) -> None:
        """The site is gone: its numbers start anew if it comes back."""
        self._agents.pop(site, None)
        self.sites_needing_full_report.discard(site)

    def _verified_payload(
        self, topic: str, parsed_topic: topics.Topic, payload: bytes
    ) -> bytes | None:
        """The payload, if someone whom the site admits signed it."""
        trusted = self.keyring.keys_of(parsed_topic.site)
        if trusted is not None:
            try:
                return unseal(payload, topic=topic, trusted=trusted)
            except WireError as error:
                if error.reason != "unknown-key":
                    raise
        self.telemetry.count_bad_message("unknown-site" if trusted is None else "unknown-key")
        _, key = unseal_unadmitted(payload, topic=topic)
        self.listener.on_unadmitted_site(parsed_topic.site, str(key))
        return None

    def _dispatch(self, parsed_topic: topics.Topic, data: bytes) -> None:
        if parsed_topic.kind == "offline":
            self._handle_offline(parsed_topic.site, data)
        elif parsed_topic.kind == "status":
            message = SITE_STATUS.decode(data)
            self._accept_newest(parsed_topic, message, message.site)
            self.telemetry.count_message("status")
            self.listener.on_order_status(_order_status_report_of(message))
        else:
            self._handle_report(parsed_topic, delta.decode_report(data))

    def _handle_report(self, parsed_topic: topics.Topic, message: Report | ReportDelta) -> None:
        agent = self._accept_newest(parsed_topic, message, message.site)
        if isinstance(message, Report):
            agent.last_full_report = delta.canonicalise_report(message)
            agent.latest_report = agent.last_full_report
        elif agent.last_full_report is None:
            self.sites_needing_full_report.add(parsed_topic.site)
            raise WireError("stale", "a delta, and its full report was never heard")
        else:
            try:
                agent.latest_report = delta.apply_delta(agent.last_full_report, message)
            except WireError:
                self.sites_needing_full_report.add(parsed_topic.site)
                raise
        agent.observed_seconds = self.clock.monotonic() - message.observed_seconds_ago
        self.telemetry.count_message("report")
        self._notify_report(parsed_topic.site, self._active_agent_of(parsed_topic.site) or agent)

    def _notify_report(self, site: str, agent: _AgentState) -> None:
        """The site's figures are as old as its voice's look, whoever else has reported since."""
        if agent.latest_report is None:
            return
        others = self._other_reports(site, agent)
        now = self.clock.now()
        self.listener.on_report(
            _site_report_of(agent.latest_report, agent.observed_seconds, others, now)
        )

    def _handle_offline(self, site: str, data: bytes) -> None:
        message = OFFLINE.decode(data)
        if message.site != site:
            raise WireError("wrong-site", f"a will of {message.site!r} on the topic of {site!r}")
        known = self._agents.get(site, {}).get(message.agent)
        if known is None or known.boot != (message.boot_number, message.boot_id):
            raise WireError("stale", "the will of another boot")
        self.telemetry.count_message("offline")
        self.listener.on_site_offline(site)

    def _accept_newest(
        self, parsed_topic: topics.Topic, message: MessageHeader, site: str
    ) -> _AgentState:
        """The sender's record, if this message is the newest of its kind.

        Raises:
            WireError: "wrong-site" or "stale".
        """
        if site != parsed_topic.site:
            raise WireError("wrong-site", f"says {site!r} on the topic of {parsed_topic.site!r}")
        agent = self._agent_state_of(parsed_topic.site, message.agent)
        boot = (message.boot_number, message.boot_id)
        if boot != agent.boot:
            if boot[0] <= agent.boot[0]:
                raise WireError("stale", "a message of an earlier boot")
            agent.boot, agent.sequences, agent.last_full_report = boot, {}, None
        if message.sequence <= agent.sequences.get(parsed_topic.kind, -1):
            raise WireError("stale", "an older message than the last one, or the same")
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
        """The agent that applies orders; it alone speaks for the cluster."""
        for agent in self._agents[site].values():
            whole = agent.latest_report
            if whole and whole.executor and whole.executor.is_active:
                return agent
        return None

    def _other_reports(self, site: str, active: _AgentState) -> list[Report]:
        """Reports of the site's other agents, for facts that its voice lacks."""
        agents = (agent for _, agent in sorted(self._agents[site].items()))
        return [one.latest_report for one in agents if one.latest_report and one is not active]


def _parse_site_topic(topic: str, *, retained: bool) -> topics.Topic:
    parsed_topic = topics.parse_topic(topic)
    if retained or parsed_topic.kind not in ("report", "status", "offline"):
        raise WireError("malformed", f"{topic}: nothing that sites say is retained")
    return parsed_topic


def _site_report_of(
    report: Report, observed_seconds: float, others: list[Report], now: datetime
) -> SiteReport:
    tree = REPORT.to_json(report)
    for other in others:
        other_tree = REPORT.to_json(other)
        tree = {key: other_tree[key] for key in _FALLBACK_FIELDS if key in other_tree} | tree
    executor = report.executor
    raw = {key: tree[key] for key in _STATUS_FIELDS if key in tree}
    raw["executor"] = executor is not None
    for name in _FALLBACK_FIELDS:
        if name in raw:
            raw[name] = _with_observed_at(raw[name], now)
    if (
        report.power is not None
        and report.energy is not None
        and report.energy.pv_watts is not None
    ):
        raw["power"]["pvWatts"] = report.energy.pv_watts
    try:
        figures = msgspec.convert(raw, SiteStatus)
        _check_node_rows(SiteFacts(name=report.site, status=figures))
    except (msgspec.ValidationError, NotAQuantity) as error:
        raise WireError("malformed", str(error)) from error
    return SiteReport(
        site=report.site,
        observed_seconds=observed_seconds,
        figures=figures,
        has_executor=executor is not None,
        bound={one.id: (one.generation, one.bound) for one in report.orders or ()},
    )


def _with_observed_at(figure: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A figure with the instant that it is of; one that cannot be read is left out.

    An agent's settings may give a date; a sensor gives a duration. Without either a figure is as
    old as the report that brings it.
    """
    text, ago = figure.get("observedAt"), figure.get("observedSecondsAgo")
    plain = {k: v for k, v in figure.items() if k not in ("observedAt", "observedSecondsAgo")}
    at = now - timedelta(seconds=min(ago, _MAX_FIGURE_AGE_SECONDS)) if ago else None
    if text is not None:
        with suppress(ValueError):
            at = datetime.fromisoformat(text)
    if at is None:
        return plain
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return plain | {"observedAt": at.astimezone(UTC).replace(microsecond=0).isoformat()}


def _check_node_rows(facts: SiteFacts) -> None:
    """Reads the rows as the fleet will: what it cannot read must not get that far.

    Raises:
        NotAQuantity: an amount is none.
        WireError: a card has a number that no machine's has; the fleet counts up to it.
    """
    rows = NodeTable()
    rows.read(facts)
    if rows.max_cards > _MAX_GPU_CARD_NUMBER:
        raise WireError("too-large", f"a GPU card of a number above {_MAX_GPU_CARD_NUMBER}")


def _order_status_report_of(message: SiteStatusMessage) -> OrderStatusReport:
    index = message.index
    return OrderStatusReport(
        site=message.site,
        site_uid=message.site_uid,
        version=(index.epoch, index.sequence) if index else None,
        digest=index.digest if index else "",
        orders={one.id: _order_state_of(one) for one in message.orders},
        missing=message.missing,
        is_executing=message.is_executing,
    )


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
        message=order.message or "",
    )
