"""The agents of one site: what is kept of each, and whose report counts for the site.

One report counts: that of the agent that applies orders. Of the others only the figures are kept
that fill in what it lacks, each with its own date, and the full reports that deltas build on, which
are bounded together.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import inf
from typing import Self, TypeVar

import msgspec

from agents.protocol.bounds import MAX_PAYLOAD_BYTES
from agents.protocol.errors import WireError
from agents.protocol.heartbeat.chain import Heartbeat, ReceivedChain, ReportedHeartbeats
from agents.protocol.report import MessageHeader, Offline, Report, ReportDelta, ReportedEnergy
from agents.protocol.status import SiteStatusMessage
from scheduler.control.ports.agents import SiteReport
from scheduler.model.kinds.site import Intensity, Power
from scheduler.mqtt.received_messages import ReceivedAgent, ReceivedMessages

FigureT = TypeVar("FigureT", Intensity, Power)

SiteMessage = Report | ReportDelta | SiteStatusMessage | Offline

_MAX_AGENTS_PER_SITE = 256
_LARGE_BASE_BYTES = 32 * 1024
_MAX_COUNTER_ASKS = 3
_TURNS_SAID, _TURNS_BETWEEN = 3, 1000
_TOTALS = (
    "it_joules",
    "pv_joules",
    "export_joules",
    "battery_charge_joules",
    "battery_discharge_joules",
    "unmeasured_seconds",
)


class EarlierBoot(WireError):
    """A message of a boot of an agent that was followed by another one.

    Attributes:
        newest_boot: number of the newest boot of the agent.
    """

    def __init__(self, newest_boot: int) -> None:
        super().__init__("stale", "a message of an earlier boot")
        self.newest_boot = newest_boot


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReport:
    """A report that was read, and of which nothing is kept yet.

    Attributes:
        whole: the report, with the delta applied.
        base: the full report that the delta was applied to; None for a full report.
        figures: its figures as the site's status; without times until `site_reports.with_times`.
    """

    whole: Report
    base: Report | None
    figures: SiteReport


@dataclass(frozen=True, slots=True)
class FallbackFigures:
    """Figures of an agent that the site's report may lack; they outlive their report.

    Attributes:
        intensity: the carbon intensity, with a date.
        power: the power, with a date.
    """

    intensity: Intensity | None = None
    power: Power | None = None

    @classmethod
    def of_report(cls, read: ReadReport, observed_at: datetime) -> Self:
        """The figures of a report that was observed at this date, unless they say otherwise."""
        figures = read.figures.figures
        return cls(
            _with_date(figures.intensity, observed_at), _with_date(figures.power, observed_at)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VouchedReport:
    """A report that heartbeats may follow.

    Attributes:
        header: sender and nonces of its message.
        read: the report, with times.
        said: what it says of its heartbeats.
        chain: their chain.
    """

    header: MessageHeader
    read: ReadReport
    said: ReportedHeartbeats
    chain: ReceivedChain

    @classmethod
    def of_message(
        cls, message: Report | ReportDelta, read: ReadReport, chain: ReceivedChain
    ) -> Self | None:
        """What is kept of a report for its heartbeats."""
        names = ("agent", "boot_id", "boot_number", "sequence", "observed_seconds_ago", "nonces")
        header = MessageHeader(**{name: getattr(message, name) for name in names})
        if message.heartbeats is None:
            return None
        # A heartbeat is no new boot, and no full report for deltas to build on.
        read = replace(
            read, base=read.base or read.whole, figures=replace(read.figures, is_new_boot=False)
        )
        return cls(header=header, read=read, said=message.heartbeats, chain=chain)

    def at_heartbeat(self, sent_seconds: float) -> ReadReport:
        """The report as a heartbeat of that time repeats it; its dated figures stay as old."""
        figures = replace(
            self.read.figures,
            sent_seconds=sent_seconds,
            observed_seconds=sent_seconds - self.said.observed_within_seconds,
        )
        return replace(self.read, figures=figures)


@dataclass(slots=True)
class EnergyCounter:
    """The energy counter of one agent, and whether its totals count one machine once.

    Two agents on copies of one disk count on from the same totals under the same id. Neither of
    the two totals is exact then, so each is asked to begin again under an id of its own. An agent
    of a version before keeps its id; its counter stays doubted, and it is not asked for ever.

    Attributes:
        id: of the counter; "" before the first report with totals.
        totals: the highest so far, in the order of `_TOTALS`.
        is_doubted: the totals fell, or another agent of the same identity is there.
        asks: how often the agent was asked to begin again.
    """

    id: str = ""
    totals: tuple[float, ...] = ()
    is_doubted: bool = False
    asks: int = 0

    def note(self, energy: ReportedEnergy) -> bool:
        """Takes in what a report says.

        Returns:
            Whether the agent is to be asked to begin again.
        """
        known = self.totals or (0.0,) * len(_TOTALS)
        said = (getattr(energy, name) for name in _TOTALS)
        # A total that a report leaves out says nothing.
        totals = tuple(
            before if now is None else now for now, before in zip(said, known, strict=True)
        )
        if energy.counter_id != self.id:
            self.id, self.totals, self.is_doubted, self.asks = energy.counter_id, totals, False, 0
            return False
        if any(now < before for now, before in zip(totals, self.totals, strict=True)):
            self.is_doubted = True
        self.totals = tuple(map(max, totals, self.totals))
        if not self.is_doubted or self.asks >= _MAX_COUNTER_ASKS:
            return False
        self.asks += 1
        return True


@dataclass(slots=True)
class AgentState:
    """The newest messages of one agent.

    Attributes:
        boot: number and id of the agent's boot; a message of a lower number is stale.
        sequences: highest sequence number by kind of topic, in this boot.
        base: the full report that deltas apply to; None until one has arrived in this boot.
        base_bytes: its size as JSON.
        fallback: the figures of its last report that fill in for the other agents.
        counter: its energy counter.
        corrections: how often a message of an earlier boot came from an agent that is there now.
        vouched: its last report, if heartbeats may follow it.
    """

    boot: tuple[int, str] = (-1, "")
    sequences: dict[str, int] = field(default_factory=dict)
    base: Report | None = None
    base_bytes: int = 0
    fallback: FallbackFigures = field(default_factory=FallbackFigures)
    counter: EnergyCounter = field(default_factory=EnergyCounter)
    corrections: int = 0
    vouched: VouchedReport | None = None

    @classmethod
    def of_received(cls, received: ReceivedAgent) -> Self:
        """An agent of which only is known what an earlier process received."""
        sequences = {"report": received.report_sequence, "status": received.status_sequence}
        return cls((received.boot_number, received.boot_id), sequences)

    def received(self) -> ReceivedAgent:
        """What was received of the agent, for the next process."""
        newest = self.sequences.get
        return ReceivedAgent(*self.boot, newest("report", -1), newest("status", -1))

    def base_of(self, message: Report | ReportDelta) -> Report | None:
        """The full report that a delta of this boot builds on."""
        is_same_boot = self.boot == (message.boot_number, message.boot_id)
        return self.base if is_same_boot and isinstance(message, ReportDelta) else None


@dataclass(slots=True, kw_only=True)
class SiteAgents:
    """The agents of one site.

    Attributes:
        site: its name.
        received: what was received before this process started.
        agents: by name; the one whose message was accepted last is the last.
        counting_agent: name of the agent whose report counts, as it applies orders; "" for none.
        counting: that report.
    """

    site: str
    received: ReceivedMessages
    agents: dict[str, AgentState] = field(default_factory=dict)
    counting_agent: str = ""
    counting: SiteReport | None = None

    def find(self, message: MessageHeader) -> AgentState | None:
        """The state of the agent that sent a message; None if it is new."""
        return self.agents.get(message.agent)

    def is_first_report(self, message: MessageHeader) -> bool:
        """Whether no report of this boot of the agent was accepted yet."""
        known = self.agents.get(message.agent)
        is_same = known is not None and known.boot == (message.boot_number, message.boot_id)
        return known is None or not is_same or "report" not in known.sequences

    def is_newest(self, message: SiteMessage, kind: str, key_id: str) -> bool:
        """Whether a message is the newest of its agent and kind; keeps nothing."""
        agent = self._find(message.agent, key_id)
        if agent is None:
            return True
        boot = (message.boot_number, message.boot_id)
        if boot != agent.boot:
            return boot[0] > agent.boot[0]
        sequence = getattr(message, "sequence", inf)
        return bool(sequence > agent.sequences.get(kind, -1))

    def accept_newest(self, message: MessageHeader, kind: str, key_id: str) -> AgentState:
        """The state of the sending agent, if this message is the newest of its kind.

        Raises:
            EarlierBoot: the agent has started again since.
            WireError: "stale", or "too-large": the site has too many agents.
        """
        agent = self._find(message.agent, key_id) or AgentState()
        boot = (message.boot_number, message.boot_id)
        if boot != agent.boot and boot[0] <= agent.boot[0]:
            raise EarlierBoot(agent.boot[0])
        if boot == agent.boot and message.sequence <= agent.sequences.get(kind, -1):
            raise WireError("stale", "a message that is older than the last one, or the same")
        if message.agent not in self.agents and len(self.agents) >= _MAX_AGENTS_PER_SITE:
            raise WireError("too-large", f"more than {_MAX_AGENTS_PER_SITE} agents at a site")
        if boot != agent.boot:
            agent.boot, agent.sequences = boot, {}
            agent.base, agent.base_bytes = None, 0
        if kind == "report":
            agent.vouched = None  # of a report that is not taken in, no heartbeat says the same
        agent.sequences[kind] = message.sequence
        self.agents.pop(message.agent, None)
        self.agents[message.agent] = agent
        self.received.note((self.site, key_id, message.agent), agent.received())
        return agent

    def note_second(self, message: MessageHeader) -> bool:
        """Notes an agent of an earlier boot that is there now beside the one that reports.

        Once it may be one agent whose disk was put back; then the other says no more.

        Returns:
            Whether two take turns, and this is to be said: at the third time, then rarely.
        """
        agent = self.agents.get(message.agent)
        if agent is None:
            return False
        if agent.counter.id:
            agent.counter.is_doubted = True
        agent.corrections += 1
        return agent.corrections == _TURNS_SAID or agent.corrections % _TURNS_BETWEEN == 0

    def has_large_base(self) -> bool:
        """Whether even a small delta may give a report that takes long to read."""
        return any(each.base_bytes > _LARGE_BASE_BYTES for each in self.agents.values())

    def find_vouched(self, chain: bytes) -> AgentState | None:
        """The agent whose last report has heartbeats of this name."""
        return next(
            (
                one
                for one in self.agents.values()
                if one.vouched is not None and one.vouched.chain.name == chain
            ),
            None,
        )

    def accept_heartbeat(self, heartbeat: Heartbeat) -> VouchedReport:
        """The report that a heartbeat repeats.

        Raises:
            WireError: the agent has not made it, or it is not the newest of its report.
        """
        agent = self.find_vouched(heartbeat.chain)
        if agent is None or agent.vouched is None:
            raise WireError("stale", "a heartbeat whose report has not been received")
        agent.vouched.chain.accept(heartbeat)
        return agent.vouched

    def lacks_status(self, vouched: VouchedReport) -> bool:
        """Whether the newest status of an agent did not arrive, as its heartbeats show."""
        agent = self.agents.get(vouched.header.agent)
        known = agent.sequences.get("status", -1) if agent else -1
        return vouched.said.status is not None and known < vouched.said.status

    def site_report(self, name: str, read: ReadReport, *, observed_at: datetime) -> SiteReport:
        """The report of the site after this one of an agent; keeps nothing.

        The newest report of an agent that applies orders counts: after a takeover the agent before
        says no more that it does not. Another agent's report makes none of its figures younger.

        Args:
            name: name of the agent.
            read: its report, with times.
            observed_at: when it was observed at the latest.
        """
        fallbacks = {key: each.fallback for key, each in self.agents.items()}
        fallbacks[name] = FallbackFigures.of_report(read, observed_at)
        counting_agent, report = name, read.figures
        is_other = self.counting is not None and self.counting_agent != name
        if self.counting is not None and is_other and not _applies_orders(read.whole):
            counting_agent = self.counting_agent
            report = replace(
                self.counting,
                sent_seconds=read.figures.sent_seconds,
                is_new_boot=read.figures.is_new_boot,
            )
        if len(self.agents) > 1:
            # Each has an interval of its own; what the site does is to be measured.
            report = replace(report, interval_seconds=None)
        del fallbacks[counting_agent]
        return _with_fallbacks(report, [one for _, one in sorted(fallbacks.items())])

    def keep_base(self, name: str, read: ReadReport, *, size: int) -> None:
        """Keeps a full report for the deltas that build on it, however old it is.

        Args:
            name: name of the agent.
            read: its report; a delta changes nothing.
            size: bytes of the message as JSON.
        """
        if read.base is None:
            agent = self.agents[name]
            agent.base, agent.base_bytes = read.whole, size
            self._drop_excess_bases(agent)

    def keep(self, name: str, read: ReadReport, *, observed_at: datetime, size: int) -> None:
        """Keeps what is needed of a report that was taken in.

        Args:
            name: name of the agent.
            read: its report.
            observed_at: when it was observed at the latest.
            size: bytes of the message as JSON.
        """
        self.keep_base(name, read, size=size)
        self.agents[name].fallback = FallbackFigures.of_report(read, observed_at)
        if _applies_orders(read.whole):
            self.counting_agent, self.counting = name, read.figures
        elif self.counting_agent == name:
            self.counting_agent, self.counting = "", None

    def _drop_excess_bases(self, newest: AgentState) -> None:
        """Keeps as many full reports as one message may hold; a full one is asked for again."""
        kept = sum(each.base_bytes for each in self.agents.values())
        for each in (one for one in self.agents.values() if one is not newest):
            if kept <= MAX_PAYLOAD_BYTES:
                return
            kept -= each.base_bytes
            each.base, each.base_bytes, each.vouched = None, 0, None

    def _find(self, name: str, key_id: str) -> AgentState | None:
        agent = self.agents.get(name)
        if agent is not None:
            return agent
        received = self.received.find((self.site, key_id, name))
        return None if received is None else AgentState.of_received(received)


def _with_fallbacks(report: SiteReport, fallbacks: Iterable[FallbackFigures]) -> SiteReport:
    """The report, with figures that it lacks from the other agents."""
    figures = report.figures
    for other in fallbacks:
        figures = msgspec.structs.replace(
            figures,
            intensity=figures.intensity or other.intensity,
            power=figures.power or other.power,
        )
    return replace(report, figures=figures)


def _applies_orders(report: Report) -> bool:
    return report.executor is not None and report.executor.is_active


def _with_date(figure: FigureT | None, at: datetime) -> FigureT | None:
    """A figure with a date of its own: it outlives the report that it came with."""
    if figure is None or figure.observed_at is not None:
        return figure
    return msgspec.structs.replace(figure, observed_at=at.replace(microsecond=0))
