"""The agents of one site: what is kept of each, and whose report counts for the site.

One report counts: that of the agent that applies orders. Of the others only the figures are kept
that fill in what it lacks, and the full reports that deltas build on, which are bounded together.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from agents.protocol.bounds import MAX_PAYLOAD_BYTES
from agents.protocol.errors import WireError
from agents.protocol.report import MessageHeader, Report, ReportDelta
from scheduler.control.ports.agents import SiteReport
from scheduler.model.kinds.site import Intensity, Power

FigureT = TypeVar("FigureT", Intensity, Power)

_MAX_AGENTS_PER_SITE = 256
_LARGE_BASE_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReport:
    """A report that was read, and of which nothing is kept yet.

    Attributes:
        whole: the report, with the delta applied.
        base: the full report that the delta was applied to; None for a full report.
        figures: its figures as the site's status.
    """

    whole: Report
    base: Report | None
    figures: SiteReport


@dataclass(slots=True)
class AgentState:
    """The newest messages of one agent.

    Attributes:
        boot: number and id of the agent's boot; a message of a lower number is stale.
        sequences: highest sequence number by kind of topic, in this boot.
        base: the full report that deltas apply to; None until one has arrived in this boot.
        base_bytes: its size as JSON.
        intensity: the carbon intensity of its last report, with a date.
        power: the power of its last report, with a date.
    """

    boot: tuple[int, str] = (-1, "")
    sequences: dict[str, int] = field(default_factory=dict)
    base: Report | None = None
    base_bytes: int = 0
    intensity: Intensity | None = None
    power: Power | None = None

    def base_of(self, message: Report | ReportDelta) -> Report | None:
        """The full report that a delta of this boot builds on."""
        is_same_boot = self.boot == (message.boot_number, message.boot_id)
        return self.base if is_same_boot and isinstance(message, ReportDelta) else None


@dataclass(slots=True)
class SiteAgents:
    """The agents of one site.

    Attributes:
        agents: by name; the one whose message was accepted last is the last.
        counting_agent: name of the agent whose report counts, as it applies orders; "" for none.
        counting: that report.
    """

    agents: dict[str, AgentState] = field(default_factory=dict)
    counting_agent: str = ""
    counting: SiteReport | None = None

    def find(self, message: MessageHeader) -> AgentState | None:
        """The state of the agent that sent a message; None if it is new."""
        return self.agents.get(message.agent)

    def accept_newest(self, message: MessageHeader, kind: str) -> AgentState:
        """The state of the sending agent, if this message is the newest of its kind.

        Raises:
            WireError: "stale", or "too-large": the site has too many agents.
        """
        agent = self._agent_of(message.agent)
        boot = (message.boot_number, message.boot_id)
        if boot != agent.boot:
            if boot[0] <= agent.boot[0]:
                raise WireError("stale", "a message of an earlier boot")
            agent.boot, agent.sequences = boot, {}
            agent.base, agent.base_bytes = None, 0
        if message.sequence <= agent.sequences.get(kind, -1):
            raise WireError("stale", "a message that is older than the last one, or the same")
        agent.sequences[kind] = message.sequence
        return agent

    def has_large_base(self) -> bool:
        """Whether even a small delta may give a report that takes long to read."""
        return any(each.base_bytes > _LARGE_BASE_BYTES for each in self.agents.values())

    def site_report(self, name: str, read: ReadReport) -> SiteReport:
        """The report of the site after this one of an agent; keeps nothing.

        The newest report of an agent that applies orders counts: after a takeover the agent before
        says no more that it does not.
        """
        is_other = self.counting is not None and self.counting_agent != name
        if self.counting is not None and is_other and not _applies_orders(read.whole):
            return self._with_figures_of_others(self.counting_agent, self.counting)
        return self._with_figures_of_others(name, read.figures)

    def keep(
        self, name: str, read: ReadReport, *, now: datetime, age: timedelta, size: int
    ) -> None:
        """Keeps what is needed of a report that was taken in.

        Args:
            name: name of the agent.
            read: its report.
            now: the date now.
            age: how long ago it was observed.
            size: bytes of the message as JSON.
        """
        agent = self._agent_of(name)
        if read.base is None:
            agent.base, agent.base_bytes = read.whole, size
            self._drop_excess_bases(agent)
        figures = read.figures.figures
        agent.intensity = _with_date(figures.intensity, now - age)
        agent.power = _with_date(figures.power, now - age)
        if _applies_orders(read.whole):
            self.counting_agent, self.counting = name, read.figures
        elif self.counting_agent == name:
            self.counting_agent, self.counting = "", None

    def _with_figures_of_others(self, name: str, report: SiteReport) -> SiteReport:
        """The report, with figures that it lacks from the others, in order of name."""
        figures = report.figures
        for other in (one for key, one in sorted(self.agents.items()) if key != name):
            figures = msgspec.structs.replace(
                figures,
                intensity=figures.intensity or other.intensity,
                power=figures.power or other.power,
            )
        return report if figures is report.figures else replace(report, figures=figures)

    def _drop_excess_bases(self, newest: AgentState) -> None:
        """Keeps as many full reports as one message may hold; a full one is asked for again."""
        kept = sum(each.base_bytes for each in self.agents.values())
        for each in self._others(newest):
            if kept <= MAX_PAYLOAD_BYTES:
                return
            kept -= each.base_bytes
            each.base, each.base_bytes = None, 0

    def _others(self, newest: AgentState) -> Iterator[AgentState]:
        return (each for each in self.agents.values() if each is not newest)

    def _agent_of(self, name: str) -> AgentState:
        agent = self.agents.pop(name, None)
        if agent is None:
            if len(self.agents) >= _MAX_AGENTS_PER_SITE:
                raise WireError("too-large", f"more than {_MAX_AGENTS_PER_SITE} agents at a site")
            agent = AgentState()
        self.agents[name] = agent
        return agent


def _applies_orders(report: Report) -> bool:
    return report.executor is not None and report.executor.is_active


def _with_date(figure: FigureT | None, at: datetime) -> FigureT | None:
    """A figure with a date of its own: it outlives the report that it came with."""
    if figure is None or figure.observed_at is not None:
        return figure
    return msgspec.structs.replace(figure, observed_at=at.replace(microsecond=0))
