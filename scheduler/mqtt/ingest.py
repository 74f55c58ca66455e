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
from agents.protocol.envelope import unseal, unseal_stranger
from agents.protocol.errors import WireError
from agents.protocol.report import OFFLINE, REPORT, Origin, Report, ReportDelta
from agents.protocol.status import SITE_STATUS, OrderStatus
from agents.protocol.status import SiteStatus as SiteStatusMessage
from scheduler.control.ports.agents import Listener, OrderState, SiteReport, SiteWord
from scheduler.control.ports.telemetry import Telemetry
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.site import SiteStatus
from scheduler.model.quantities import NotAQuantity
from scheduler.mqtt.keyring import Keyring
from scheduler.placement.fleet.node_table import NodeRows
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

_FIGURES = ("nodeClasses", "rtt", "intensity", "power", "apiKinds", "namespaces")
_OLDEST_SECONDS = 10 * 365 * 86_400.0
_SPARE_FIGURES = ("intensity", "power")
_MOST_AGENTS_PER_SITE = 256
_MOST_CARDS = 128


@dataclass(slots=True)
class _Agent:
    """What was last heard of one agent of a site."""

    boot: tuple[int, str] = (-1, "")
    sequences: dict[str, int] = field(default_factory=dict)
    base: Report | None = None
    whole: Report | None = None
    looked_seconds: float = 0.0


@dataclass(slots=True)
class Ears:
    """Hears all sites.

    Attributes:
        keyring: whom to believe.
        listener: who is told.
        telemetry: counts what is refused.
        clock: for ages, by its monotonic side only.
        wants_full: sites whose deltas cannot be used; the session asks them for a full report.
    """

    keyring: Keyring
    listener: Listener
    telemetry: Telemetry
    clock: Clock
    wants_full: set[str] = field(default_factory=set)
    _agents: dict[str, dict[str, _Agent]] = field(default_factory=dict)

    def hear(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Takes one message in."""
        try:
            where = _upward(topic, retained=retained)
            data = self._opened(topic, where, payload)
            if data is not None:
                self._take(where, data)
        except WireError as error:
            self.telemetry.bad_message(error.reason)
            _log.debug("%s: %s: %s", topic[:300], error.reason, error)

    def forget(self, site: str) -> None:
        """The site is gone: its numbers start anew if it comes back."""
        self._agents.pop(site, None)
        self.wants_full.discard(site)

    def _opened(self, topic: str, where: topics.Topic, payload: bytes) -> bytes | None:
        """The payload, if someone whom the site admits signed it."""
        trusted = self.keyring.of(where.site)
        if trusted is not None:
            try:
                return unseal(payload, topic=topic, trusted=trusted)
            except WireError as error:
                if error.reason != "unknown-key":
                    raise
        self.telemetry.bad_message("unknown-site" if trusted is None else "unknown-key")
        _, key = unseal_stranger(payload, topic=topic)
        self.listener.stranger(where.site, str(key))
        return None

    def _take(self, where: topics.Topic, data: bytes) -> None:
        if where.kind == "offline":
            self._take_offline(where.site, data)
        elif where.kind == "status":
            message = SITE_STATUS.decode(data)
            self._newest(where, message, message.site)
            self.telemetry.message("status")
            self.listener.word(_word_of(message))
        else:
            self._take_report(where, delta.decode_report(data))

    def _take_report(self, where: topics.Topic, message: Report | ReportDelta) -> None:
        agent = self._newest(where, message, message.site)
        if isinstance(message, Report):
            agent.base = delta.canonical(message)
            agent.whole = agent.base
        elif agent.base is None:
            self.wants_full.add(where.site)
            raise WireError("stale", "a delta, and its full report was never heard")
        else:
            try:
                agent.whole = delta.whole(agent.base, message)
            except WireError:
                self.wants_full.add(where.site)
                raise
        agent.looked_seconds = self.clock.monotonic() - message.observed_seconds_ago
        self.telemetry.message("report")
        self._tell(where.site, self._voice_of(where.site) or agent)

    def _tell(self, site: str, agent: _Agent) -> None:
        """The site's figures are as old as its voice's look, whoever else has reported since."""
        if agent.whole is None:
            return
        others = self._others(site, agent)
        now = self.clock.now()
        self.listener.report(_report_of(agent.whole, agent.looked_seconds, others, now))

    def _take_offline(self, site: str, data: bytes) -> None:
        message = OFFLINE.decode(data)
        if message.site != site:
            raise WireError("wrong-site", f"a will of {message.site!r} on the topic of {site!r}")
        known = self._agents.get(site, {}).get(message.agent)
        if known is None or known.boot != (message.boot_number, message.boot_id):
            raise WireError("stale", "the will of another boot")
        self.telemetry.message("offline")
        self.listener.offline(site)

    def _newest(self, where: topics.Topic, message: Origin, site: str) -> _Agent:
        """The sender's record, if this message is the newest of its kind.

        Raises:
            WireError: "wrong-site" or "stale".
        """
        if site != where.site:
            raise WireError("wrong-site", f"says {site!r} on the topic of {where.site!r}")
        agent = self._agent(where.site, message.agent)
        boot = (message.boot_number, message.boot_id)
        if boot != agent.boot:
            if boot[0] <= agent.boot[0]:
                raise WireError("stale", "a message of an earlier boot")
            agent.boot, agent.sequences, agent.base = boot, {}, None
        if message.sequence <= agent.sequences.get(where.kind, -1):
            raise WireError("stale", "an older message than the last one, or the same")
        agent.sequences[where.kind] = message.sequence
        return agent

    def _agent(self, site: str, name: str) -> _Agent:
        agents = self._agents.setdefault(site, {})
        if name not in agents:
            if len(agents) >= _MOST_AGENTS_PER_SITE:
                raise WireError("too-large", f"more than {_MOST_AGENTS_PER_SITE} agents at a site")
            agents[name] = _Agent()
        return agents[name]

    def _voice_of(self, site: str) -> _Agent | None:
        """The agent that applies orders; it alone speaks for the cluster."""
        for agent in self._agents[site].values():
            whole = agent.whole
            if whole and whole.executor and whole.executor.is_active:
                return agent
        return None

    def _others(self, site: str, voice: _Agent) -> list[Report]:
        """Reports of the site's other agents, for facts that its voice lacks."""
        agents = (agent for _, agent in sorted(self._agents[site].items()))
        return [one.whole for one in agents if one.whole and one is not voice]


def _upward(topic: str, *, retained: bool) -> topics.Topic:
    where = topics.parse(topic)
    if retained or where.kind not in ("report", "status", "offline"):
        raise WireError("malformed", f"{topic}: nothing that sites say is retained")
    return where


def _report_of(
    whole: Report, looked_at_seconds: float, others: list[Report], now: datetime
) -> SiteReport:
    tree = REPORT.to_json(whole)
    for other in others:
        spare = REPORT.to_json(other)
        tree = {key: spare[key] for key in _SPARE_FIGURES if key in spare} | tree
    executor = whole.executor
    raw = {key: tree[key] for key in _FIGURES if key in tree}
    raw["executor"] = executor is not None
    for name in _SPARE_FIGURES:
        if name in raw:
            raw[name] = _dated(raw[name], now)
    if whole.power is not None and whole.energy is not None and whole.energy.pv_watts is not None:
        raw["power"]["pvWatts"] = whole.energy.pv_watts
    try:
        figures = msgspec.convert(raw, SiteStatus)
        _check_rows(SiteFacts(name=whole.site, status=figures))
    except (msgspec.ValidationError, NotAQuantity) as error:
        raise WireError("malformed", str(error)) from error
    return SiteReport(
        site=whole.site,
        observed_seconds=looked_at_seconds,
        figures=figures,
        has_executor=executor is not None,
        bound={one.id: (one.generation, one.bound) for one in whole.orders or ()},
    )


def _dated(figure: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A figure with the instant that it is of; one that cannot be read is left out.

    An agent's settings may give a date; a sensor gives a duration. Without either a figure is as
    old as the report that brings it.
    """
    text, ago = figure.get("observedAt"), figure.get("observedSecondsAgo")
    plain = {k: v for k, v in figure.items() if k not in ("observedAt", "observedSecondsAgo")}
    at = now - timedelta(seconds=min(ago, _OLDEST_SECONDS)) if ago else None
    if text is not None:
        with suppress(ValueError):
            at = datetime.fromisoformat(text)
    if at is None:
        return plain
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return plain | {"observedAt": at.astimezone(UTC).replace(microsecond=0).isoformat()}


def _check_rows(facts: SiteFacts) -> None:
    """Reads the rows as the fleet will: what it cannot read must not get that far.

    Raises:
        NotAQuantity: an amount is none.
        WireError: a card has a number that no machine's has; the fleet counts up to it.
    """
    rows = NodeRows()
    rows.read(facts)
    if rows.most_cards > _MOST_CARDS:
        raise WireError("too-large", f"a GPU card of a number above {_MOST_CARDS}")


def _word_of(message: SiteStatusMessage) -> SiteWord:
    index = message.index
    return SiteWord(
        site=message.site,
        site_uid=message.site_uid,
        version=(index.epoch, index.sequence) if index else None,
        digest=index.digest if index else "",
        orders={one.id: _state_of(one) for one in message.orders},
        missing=message.missing,
        is_executing=message.is_executing,
    )


def _state_of(one: OrderStatus) -> OrderState:
    return OrderState(
        id=one.id,
        generation=one.generation,
        phase=one.phase,
        applied_generation=one.applied_generation,
        replicas=one.desired,
        ready=one.ready,
        bound=one.bound,
        finished=one.finished,
        message=one.message or "",
    )
