"""What a leader does before its term begins: the ledger is its own, and what it knows is new."""

import logging
from collections.abc import Callable, Mapping

from scheduler.control.fence import FencedHub
from scheduler.control.generation_floor import GenerationLift, lift_generations
from scheduler.control.hub_history import RESTORED
from scheduler.control.leader_election import Leadership, LeadershipLost
from scheduler.control.ports.hub import ApiResource, HubError
from scheduler.control.state.objects import HubObjects
from scheduler.hub.informer import Informer
from scheduler.ledger.ledger import Ledger
from scheduler.model.formatters import format_list
from scheduler.runtime.backoff import JitteredBackoff
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

_MAX_NAMED = 10


class TermStart:
    """Begins terms.

    Args:
        ledger: what is recorded.
        leadership: the lease, which is held.
        objects: what is known of the hub.
        hub: where generations are raised.
        informers: they compare all objects with the hub.
        clock: the time.
        make_backoff: makes the pauses between tries.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        leadership: Leadership,
        objects: HubObjects,
        hub: FencedHub,
        informers: Mapping[ApiResource, Informer],
        clock: Clock,
        make_backoff: Callable[[], JitteredBackoff],
    ) -> None:
        self._ledger, self._leadership, self._objects = ledger, leadership, objects
        self._hub, self._informers, self._clock = hub, informers, clock
        self._make_backoff = make_backoff

    async def bring_up_to_date(self, acquired_seconds: float) -> None:
        """Raises the generations of a restored hub, and compares all objects with the hub.

        Args:
            acquired_seconds: when the lease was taken, on the monotonic clock.

        Raises:
            LeadershipLost: the hub was restored since the Lease was taken.
        """
        if self._leadership.must_lift_generations:
            await self._lift_generations()
        await self._catch_up(acquired_seconds)

    async def begin_in_ledger(self) -> None:
        """Keeps former leaders out of the ledger, and raises the epoch above all in it."""
        ledger, epoch = self._ledger, self._leadership.epoch
        lowest = await ledger.begin_term(epoch)
        if lowest > epoch:
            _log.warning("the ledger is at epoch %s, and the Lease was at %s", lowest, epoch)
            await ledger.begin_term(await self._leadership.raise_epoch_above(lowest))

    async def watch_deposition(self) -> None:
        """Ends the term when a later leader has the ledger.

        Raises:
            LeadershipLost: it has.
        """
        await self._ledger.deposed.wait()
        raise LeadershipLost("ledger: a later leader has it")

    async def _catch_up(self, since_seconds: float) -> None:
        """Compares all objects with the hub; tries again while the hub fails.

        Raises:
            LeadershipLost: the hub was restored since the Lease was taken.
        """
        backoff, history = self._make_backoff(), self._leadership.history
        pending, is_restored = list(self._informers.values()), history.must_list
        if is_restored:
            self._objects.expect_restored()
        while pending:
            try:
                if await pending[0].catch_up(since_seconds, is_restored=is_restored):
                    history.note_restore()
                    raise LeadershipLost(RESTORED)
                pending.pop(0)
            except HubError as error:
                await self._clock.sleep(backoff.next_seconds(error.retry_after_seconds))
        history.must_list = history.is_restored

    async def _lift_generations(self) -> None:
        """Raises the generations of a restored hub; tries again while the hub fails."""
        backoff, lift = self._make_backoff(), GenerationLift()
        while self._leadership.must_lift_generations:
            try:
                lift = await lift_generations(self._hub, epoch=self._leadership.epoch)
                await self._leadership.note_generations_lifted()
            except HubError as error:
                await self._clock.sleep(backoff.next_seconds(error.retry_after_seconds))
        _log.warning(
            "the generations of the orders of %s workloads were raised, because the hub was"
            " restored; not those of: %s",
            lift.workloads,
            format_list(sorted(lift.refused), _MAX_NAMED) or "none",
        )
