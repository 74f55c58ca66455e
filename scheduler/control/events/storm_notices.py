"""What holds evictions back, for operators: a line of the log, an Event and a counter.

The Events are about the ConfigMap kapok-evictions, because a storm is of no single site.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from scheduler.control.events.recorder import EventRecorder, NamedObject
from scheduler.control.ports.telemetry import Telemetry
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.storm import Freeze, HeldDomain, StormState

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class StormNotices:
    """Says when evictions are frozen, held for a domain, and allowed again.

    Attributes:
        events: writes the Events.
        telemetry: counts freezes.
        subject: the object of the hub that the Events are about: (namespace, name).
        instant: formats a monotonic time for people.
    """

    events: EventRecorder
    telemetry: Telemetry
    subject: tuple[str, str]
    instant: Callable[[float], str]
    _were_allowed: bool = field(default=False, init=False)

    def on_change(self, before: StormState, after: StormState) -> None:
        """Says what has changed; not the numbers of an ongoing storm."""
        was, freeze = before.freeze, after.freeze
        if freeze is not None and (was is None or _is_other(was, freeze)):
            # That nothing is evicted right after a start is usual.
            is_change = self._were_allowed or freeze.reason in ("operator", "fleet")
            if is_change:
                self.telemetry.count_freeze(freeze.reason)
            self._say("EvictionsFrozen", f"nothing is evicted: {freeze.why}", is_warning=is_change)
        elif freeze is None and was is not None:
            self._were_allowed = True
            rate = f"{after.per_second:g} a second"
            self._say(
                "EvictionsAllowed",
                f"replicas of silent sites may be replaced again, at most {rate}",
                is_warning=False,
            )
        known = {one.domain for one in before.held}
        for one in after.held:
            if one.domain not in known:
                self._say("DomainSilent", self._held_text(one), is_warning=True)
        still = {one.domain for one in after.held}
        for one in before.held:
            if one.domain not in still:
                text = f"the {one.domain[0]} {one.domain[1]} is held no longer"
                self._say("DomainReleased", text, is_warning=False)

    def _held_text(self, held: HeldDomain) -> str:
        kind, name = held.domain
        until = held.until_seconds
        end = "until more other sites report" if until is None else f"until {self.instant(until)}"
        return f"the {kind} {name} fell silent as a whole; nothing is evicted from it {end}"

    def _say(self, reason: str, message: str, *, is_warning: bool) -> None:
        _log.log(logging.WARNING if is_warning else logging.INFO, "%s", message)
        namespace, name = self.subject
        about = NamedObject(
            api_version="v1",
            kind="ConfigMap",
            metadata=Metadata(namespace=namespace, name=name),
        )
        self.events.record(about, reason=reason, message=message, is_warning=is_warning)


def _is_other(before: Freeze, after: Freeze) -> bool:
    """Whether a freeze that goes on has another reason that people should know."""
    is_grave = "operator" in (before.reason, after.reason) or after.reason == "fleet"
    return before.reason != after.reason and is_grave
