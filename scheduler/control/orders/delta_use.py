"""Whether a site gets deltas of its index, and when it needs the whole index again."""

import logging
from dataclasses import dataclass, field

from scheduler.control.ports.agents import IndexVersion, OrderStatusReport

_log = logging.getLogger(__name__)

_FORGET_AGENT_SECONDS = 600.0
_MAX_REPEATS = 2


@dataclass(slots=True)
class DeltaUse:
    """What is known of one site about deltas.

    Deltas are for a site of which every agent takes them: one that does not, and that takes the
    site's lease from another, would work by the base alone, which lists what was long withdrawn.

    Attributes:
        is_base_due: the site needs the whole index, because it may lack the base of the deltas.
    """

    is_base_due: bool = False
    _heard_seconds: dict[str, float] = field(default_factory=dict)
    _unable: set[str] = field(default_factory=set)
    _base_sent_seconds: float = float("-inf")
    _repeats: int = 0
    _is_blocked: bool = False

    def note_agent(self, report: OrderStatusReport, now: float) -> bool:
        """Notes what the agent that sent a status can do.

        Returns:
            Whether an agent that takes no deltas is new among the site's agents.
        """
        self._heard_seconds[report.agent] = now
        for name, heard in list(self._heard_seconds.items()):
            if heard < now - _FORGET_AGENT_SECONDS:
                del self._heard_seconds[name]
                self._unable.discard(name)
        was_able = report.agent not in self._unable
        if report.takes_deltas:
            self._unable.discard(report.agent)
            return False
        self._unable.add(report.agent)
        return was_able

    @property
    def is_usable(self) -> bool:
        """Whether the next index may be a delta or a base."""
        return bool(self._heard_seconds) and not self._unable and not self._is_blocked

    def start_again(self) -> None:
        """Begins with a new base: there is a new leader, or a new session with the broker."""
        self.is_base_due, self._is_blocked, self._repeats = True, False, 0

    def on_sent(self, *, is_base: bool, now: float) -> None:
        """Notes that an index went out, whole or as a delta."""
        if is_base:
            self.is_base_due, self._base_sent_seconds = False, now

    def on_echo(
        self,
        report: OrderStatusReport,
        *,
        base: IndexVersion | None,
        newest: IndexVersion | None,
        now: float,
        repeat_seconds: float,
    ) -> bool:
        """Looks whether the deltas of a base reach the executing agent.

        Args:
            report: its status.
            base: version of the base that it needs; None: its index was sent whole.
            newest: version of the newest index.
            now: monotonic seconds.
            repeat_seconds: the whole index is repeated at most this often.

        Returns:
            Whether the whole index is due. After two of them no more deltas are sent in this
            session with the broker, which may not let their topic through.
        """
        if base is None or newest is None:
            self._repeats = 0
            return False
        works_by_base = report.version is not None and base <= report.version <= newest
        if works_by_base and not report.wants_full_index:
            self._repeats = 0
            return False
        if self.is_base_due or now - self._base_sent_seconds < repeat_seconds:
            return False
        self._repeats += 1
        if self._repeats >= _MAX_REPEATS:
            self._is_blocked = True
            _log.warning(
                "site %s: no delta of its index arrives, so it gets whole ones; does the broker let"
                " agents read kapok/v1/SITE/desired/delta, and the hub write it?",
                report.site,
            )
        self.is_base_due = True
        return True
