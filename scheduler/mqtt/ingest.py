"""Turns messages from agents into events for the control loops.

A message passes these checks in this order: its topic, its signature by a key that the Site lists,
its decoding, its boot and sequence number. A message that fails one is counted by the reason and
dropped; no input makes `Ingest.handle` raise. If one brings out a fault all the same, messages of
its site and kind are dropped for a while.
"""

import logging
from contextlib import suppress
from dataclasses import asdict, dataclass, field
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
from scheduler.control.ports.ledger import SignedHead
from scheduler.control.ports.telemetry import Telemetry
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.site import SiteStatus
from scheduler.model.quantities import NotAQuantity
from scheduler.mqtt.keyring import Keyring
from scheduler.placement.fleet.namespace_limits import NamespaceLimitIndex
from scheduler.placement.fleet.node_table import NodeTable
from scheduler.placement.fleet.site_figures import figures_of
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults
from scheduler.runtime.printable import printable

_log = logging.getLogger(__name__)

_STATUS_FIELDS = ("nodeClasses", "rtt", "intensity", "power", "apiKinds", "namespaces")
_MAX_AGE_SECONDS = 10 * 365 * 86_400.0
_OLDEST_FIGURE_AT = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_RESOURCES_PER_SITE = 512
_FALLBACK_FIELDS = ("intensity", "power")
_MAX_AGENTS_PER_SITE = 256
_MAX_GPU_CARD_NUMBER = 128


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

    def handle(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Verifies, decodes and dispatches one message; a bad one is counted and dropped."""
        try:
            parsed_topic: topics.Topic | None = None
            data: bytes | None = None
            with self.faults.barrier("message", passing=(WireError,)):
                parsed_topic = _parse_site_topic(topic, retained=retained)
                data = self._verified_payload(topic, parsed_topic, payload)
            if parsed_topic is None or data is None:
                return
            # Only the site itself can have a verified message, so only it is set aside.
            sender = (parsed_topic.site, parsed_topic.kind)
            if self.faults.admits("message", sender):
                with self.faults.barrier("message", sender, passing=(WireError,)):
                    self._dispatch(parsed_topic, data)
        except WireError as error:
            self.telemetry.count_bad_message(error.reason)
            _log.debug("%s: %s: %s", topic[:300], error.reason, error)

    def forget(self, site: str) -> None:
        """Drops what is known of a site that is gone or has new keys."""
        self._agents.pop(site, None)
        self.sites_needing_full_report.discard(site)

    def _verified_payload(
        self, topic: str, parsed_topic: topics.Topic, payload: bytes
    ) -> bytes | None:
        """The payload if a key of the site signed it; else None, and the listener is notified.

        Raises:
            WireError: the signature does not hold, or the envelope cannot be read.
        """
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
        if message.observed_seconds_ago > _MAX_AGE_SECONDS:
            raise WireError("malformed", f"observed more than {_MAX_AGE_SECONDS:g} seconds ago")
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
        return _site_report_of(agent.latest_report, agent.observed_seconds, others, now)

    def _handle_offline(self, site: str, data: bytes) -> None:
        message = OFFLINE.decode(data)
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


def _parse_site_topic(topic: str, *, retained: bool) -> topics.Topic:
    parsed_topic = topics.parse_topic(topic)
    if retained or parsed_topic.kind not in ("report", "status", "offline"):
        raise WireError(
            "malformed", f"{topic}: not a topic that sites publish to, or a retained message"
        )
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
        _check_figures(SiteFacts(name=report.site, status=figures))
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
    """A figure with `observedAt` in place of its age; a date that cannot be read is left out.

    An agent's settings may give a date; a sensor gives an age in seconds. A figure with neither is
    as old as its report.
    """
    text, ago = figure.get("observedAt"), figure.get("observedSecondsAgo")
    plain = {k: v for k, v in figure.items() if k not in ("observedAt", "observedSecondsAgo")}
    at = now - timedelta(seconds=min(ago, _MAX_AGE_SECONDS)) if ago else None
    if text is not None:
        with suppress(ValueError):
            at = datetime.fromisoformat(text)
    if at is None:
        return plain
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if at < _OLDEST_FIGURE_AT:
        raise WireError("malformed", f"observedAt: {text} is before 1970")
    at = min(at, now).astimezone(UTC)  # a clock that is ahead makes no figure younger than now
    return plain | {"observedAt": at.replace(microsecond=0).isoformat()}


def _check_figures(facts: SiteFacts) -> None:
    """Reads all figures as the fleet does, so that no unreadable report reaches it.

    Raises:
        NotAQuantity: an amount is not a quantity.
        WireError: a GPU card's number is too high, or there are too many resources; the fleet has
            a column for each card and each resource.
    """
    rows = NodeTable()
    rows.read(facts)
    if rows.max_cards > _MAX_GPU_CARD_NUMBER:
        raise WireError("too-large", f"a GPU card with a number above {_MAX_GPU_CARD_NUMBER}")
    if len(rows.rows.column_numbers) > _MAX_RESOURCES_PER_SITE:
        raise WireError("too-large", f"more than {_MAX_RESOURCES_PER_SITE} resources at a site")
    NamespaceLimitIndex().parse(facts)
    figures_of(facts)


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
        index_proof=message.index_proof or "",
        ledger_heads=tuple(SignedHead(**asdict(one.head)) for one in message.ledger_heads or ()),
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
        message=printable(order.message or ""),
    )
