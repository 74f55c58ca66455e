"""When the next report is due: at once after pods were bound, else after the interval.

The hub counts pods that it ordered as in flight until a report shows them on nodes; until then it
assumes the worst node for each, so a burst of small pods waits for reports. So the agent looks
again soon after it got an index or applied an order, and reports at once what has changed.

A broken cluster must cause no storm of reports: pods that come and go, or that never get a node.
Only what can happen so many times counts as a change: an order of one generation has more pods
bound than ever, or none any more. A look that finds no change doubles the pause to the next. No
look comes sooner than 0.5 s after the one before, or than four times what that took.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agents.protocol.report import OrderBoundPods

LEAST_SECONDS: Final = 0.5
_SECONDS_PER_LOOK: Final = 4.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen of an order since its generation was applied."""

    generation: int
    most: int
    has_ended: bool

    def after(self, order: OrderBoundPods) -> "_Seen":
        if order.generation != self.generation:
            return _Seen(order.generation, order.bound, has_ended=order.bound == 0)
        has_ended = self.has_ended or (order.bound == 0 and self.most > 0)
        return _Seen(self.generation, max(self.most, order.bound), has_ended)


@dataclass(slots=True, kw_only=True)
class ReportPace:
    """The pause to the next look at the cluster, and whether a look has found a change.

    Attributes:
        interval_seconds: between reports when nothing changes.
        pause_seconds: to the next look.
    """

    interval_seconds: float
    pause_seconds: float = field(init=False)
    _least_seconds: float = field(default=LEAST_SECONDS, init=False)
    _seen: dict[str, _Seen] = field(default_factory=dict, init=False)
    _applied: Mapping[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.pause_seconds = self.interval_seconds

    def expect_change(self) -> None:
        """Has the next looks come soon: there is a new index."""
        self.pause_seconds = min(self._least_seconds, self.interval_seconds)

    def note_applied(self, applied: Mapping[str, int]) -> bool:
        """Notes the applied generations by order id; returns whether they have changed.

        An order that is only tried again and again changes none of them.
        """
        if applied == self._applied:
            return False
        self._applied = applied
        self.expect_change()
        return True

    def note_look(self, orders: Iterable[OrderBoundPods] | None, took_seconds: float) -> bool:
        """Notes what a look at the cluster has found; returns whether to report it at once.

        Args:
            orders: the orders with their bound pods; None: the cluster did not answer.
            took_seconds: how long the look took.
        """
        has_changed = orders is not None and self._note_orders(orders)
        self._least_seconds = max(LEAST_SECONDS, took_seconds * _SECONDS_PER_LOOK)
        pause = 0.0 if has_changed else self.pause_seconds * 2
        self.pause_seconds = min(max(pause, self._least_seconds), self.interval_seconds)
        return has_changed

    def _note_orders(self, orders: Iterable[OrderBoundPods]) -> bool:
        seen, has_changed = {}, False
        for order in orders:
            known = self._seen.get(order.id, _Seen(order.generation, 0, has_ended=False))
            seen[order.id] = known.after(order)
            has_changed = has_changed or seen[order.id] != known
        has_changed = has_changed or not self._seen.keys() <= seen.keys()
        self._seen = seen
        return has_changed
