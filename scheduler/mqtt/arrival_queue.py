"""The queue of messages that wait to be verified: fair between senders, bounded in bytes.

A sender is a site with its own budget; all sites that are not admitted share one. `take` goes round
the senders whose budget allows a message and returns the newest message of one lane. Only a message
that was accepted removes others: the older ones of its lane. So a message whose signature fails
never displaces another. When a lane or the queue is full, `offer` refuses the message, and the
caller may verify it and `replace` the older ones.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from scheduler.mqtt.arrivals import Arrival, Lane
from scheduler.mqtt.token_bucket import BudgetRates, SenderBudget
from scheduler.runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """Bounds of what waits.

    Attributes:
        lane_messages: messages in one lane.
        lanes: lanes of one sender.
        sender_bytes: bytes of one sender.
        total_bytes: bytes of all senders.
    """

    lane_messages: int
    lanes: int
    sender_bytes: int
    total_bytes: int


@dataclass(slots=True)
class _Sender:
    """What waits of one sender.

    Attributes:
        budget: what it may use.
        limits: bounds of what waits.
        lanes: the messages of each lane, oldest first; a lane without any is removed.
        size: bytes that wait.
        is_busy: whether one of its messages is being handled elsewhere.
        is_queued: whether its name is in the order of senders.
    """

    budget: SenderBudget
    limits: QueueLimits
    lanes: dict[Lane, deque[Arrival]] = field(default_factory=dict)
    size: int = 0
    is_busy: bool = False
    is_queued: bool = False

    def has_room(self, one: Arrival) -> bool:
        waiting = self.lanes.get(one.lane)
        if waiting is None:
            return len(self.lanes) < self.limits.lanes and self._fits(one)
        return len(waiting) < self.limits.lane_messages and self._fits(one)

    def _fits(self, one: Arrival) -> bool:
        return self.size + one.size <= self.limits.sender_bytes

    def append(self, one: Arrival) -> None:
        self.lanes.setdefault(one.lane, deque()).append(one)
        self.size += one.size

    def pop_newest(self) -> Arrival:
        """The newest message of the lane whose newest message arrived first.

        A full report is so taken before the delta that came after it, and a lane that is flooded
        comes after the others.
        """
        lane = min(self.lanes, key=lambda each: self.lanes[each][-1].number)
        return self._pop(lane, -1)

    def pop_older(self, lane: Lane, number: int) -> list[Arrival]:
        """Removes the messages of a lane that arrived before that number."""
        found = []
        while lane in self.lanes and self.lanes[lane][0].number < number:
            found.append(self._pop(lane, 0))
        return found

    def pop_oldest(self) -> Arrival:
        lane = min(self.lanes, key=lambda each: self.lanes[each][0].number)
        return self._pop(lane, 0)

    def _pop(self, lane: Lane, index: int) -> Arrival:
        waiting = self.lanes[lane]
        one = waiting.pop() if index else waiting.popleft()
        if not waiting:
            del self.lanes[lane]
        self.size -= one.size
        return one


@dataclass(slots=True, kw_only=True)
class ArrivalQueue:
    """Messages that wait, by sender.

    Attributes:
        clock: for the budgets.
        rates: the budget of a sender; of `shared_sender` it is `shared_rates`.
        limits: bounds of a sender; of `shared_sender` they are `shared_limits`.
        shared_sender: the name of the one sender that many use.
    """

    clock: Clock
    rates: BudgetRates
    limits: QueueLimits
    shared_rates: BudgetRates
    shared_limits: QueueLimits
    shared_sender: str
    size: int = field(default=0, init=False)
    _senders: dict[str, _Sender] = field(default_factory=dict, init=False)
    _order: deque[str] = field(default_factory=deque, init=False)

    def offer(self, sender: str, one: Arrival) -> bool:
        """Appends a message; False if there is no room, and then nothing has changed."""
        state = self._sender(sender)
        if self.size + one.size > self.limits.total_bytes or not state.has_room(one):
            return False
        self._append(sender, state, one)
        return True

    def replace(self, sender: str, one: Arrival) -> list[Arrival]:
        """Appends a verified message in place of all that its lane holds.

        If there is still no room, the oldest message of the sender with most bytes is removed; its
        own, if the sender's bound is reached.

        Returns:
            What was removed.
        """
        state = self._sender(sender)
        removed = self._remove_older(state, one)
        while state.lanes and not state.has_room(one):
            removed.append(self._remove_oldest(state))
        while self.size and self.size + one.size > self.limits.total_bytes:
            largest = max(self._senders.values(), key=lambda each: each.size)
            removed.append(self._remove_oldest(largest))
        self._append(sender, state, one)
        return removed

    def take(
        self, *, allows: Callable[[Arrival], bool] | None = None
    ) -> tuple[str, Arrival] | None:
        """Removes and returns the next message with its sender; None if none is allowed now.

        Args:
            allows: a sender whose next message it does not allow is passed over.
        """
        for _ in range(len(self._order)):
            sender = self._order.popleft()
            state = self._senders.get(sender)
            if state is None or not state.lanes:
                if state is not None:
                    state.is_queued = False
                continue
            self._order.append(sender)
            if state.is_busy or state.budget.wait_seconds() > 0:
                continue
            one = state.pop_newest()
            if allows is None or allows(one):
                self.size -= one.size
                return sender, one
            state.append(one)
        return None

    def accept(self, sender: str, one: Arrival, *, work_seconds: float) -> list[Arrival]:
        """Charges the sender for an accepted message.

        Returns:
            The older messages of its lane, which are removed.
        """
        self.charge(sender, one, work_seconds=work_seconds)
        return self._remove_older(self._sender(sender), one)

    def charge(self, sender: str, one: Arrival, *, work_seconds: float) -> None:
        """Charges the sender for a message that it has signed, used or not."""
        budget = self._sender(sender).budget
        budget.charge(size=len(one.payload), work_seconds=work_seconds)

    def set_busy(self, sender: str, *, is_busy: bool) -> None:
        """Passes over a sender while one of its messages is handled elsewhere."""
        self._sender(sender).is_busy = is_busy

    def wait_seconds(self) -> float | None:
        """How long until the budget of some sender allows a message; None: nothing waits."""
        waits = [
            each.budget.wait_seconds()
            for each in map(self._senders.get, self._order)
            if each is not None and each.lanes and not each.is_busy
        ]
        return min(waits, default=None)

    def forget(self, sender: str) -> None:
        """Removes a sender and what waits of it; its budget is full when it comes back."""
        state = self._senders.pop(sender, None)
        if state is not None:
            self.size -= state.size
            self._order = deque(each for each in self._order if each != sender)

    def __iter__(self) -> Iterator[Arrival]:
        """All messages that wait."""
        for state in self._senders.values():
            for waiting in state.lanes.values():
                yield from waiting

    def _sender(self, name: str) -> _Sender:
        state = self._senders.get(name)
        if state is None:
            is_shared = name == self.shared_sender
            rates = self.shared_rates if is_shared else self.rates
            limits = self.shared_limits if is_shared else self.limits
            state = self._senders[name] = _Sender(SenderBudget(rates, self.clock), limits)
        return state

    def _append(self, sender: str, state: _Sender, one: Arrival) -> None:
        state.append(one)
        self.size += one.size
        if not state.is_queued:
            state.is_queued = True
            self._order.append(sender)

    def _remove_older(self, state: _Sender, one: Arrival) -> list[Arrival]:
        removed = state.pop_older(one.lane, one.number)
        self.size -= sum(each.size for each in removed)
        return removed

    def _remove_oldest(self, state: _Sender) -> Arrival:
        one = state.pop_oldest()
        self.size -= one.size
        return one
