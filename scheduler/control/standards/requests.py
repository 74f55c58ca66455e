"""The writes of standard objects: paced, behind everything else, and counted apart.

They share one budget. While work waits to be decided it is a small one: what is not written now is
written later, because the loop compares what the hub has with what it should have.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from scheduler.control.events.pending import WriteBudget
from scheduler.control.fence import NotLeading
from scheduler.control.ports.hub import ApiResource, Busy, Hub, HubError, Object
from scheduler.control.ports.telemetry import Telemetry
from scheduler.control.standards.names import FIELD_MANAGER
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

_PER_SECOND, _BURST = 50.0, 50.0
_PRESSED_PER_SECOND, _PRESSED_BURST = 2.0, 2.0
_SET_ASIDE_SECONDS = 300.0
_UNAUTHORIZED = 401

ObjectPlace = tuple[str, str, str]
"""The plural of the kind, the namespace and the name of an object."""


@dataclass(slots=True, kw_only=True)
class StandardRequests:
    """Writes within the budget; an object that the hub refuses is set aside for five minutes.

    Attributes:
        hub: where the objects are.
        clock: for the budget and for what is set aside.
        telemetry: counts the writes.
        is_pressed: whether work waits that is more urgent than these objects.
    """

    hub: Hub
    clock: Clock
    telemetry: Telemetry
    is_pressed: Callable[[], bool]
    _budget: WriteBudget = field(
        default_factory=lambda: WriteBudget(per_second=_PER_SECOND, burst=_BURST)
    )
    _pressed_budget: WriteBudget = field(
        default_factory=lambda: WriteBudget(per_second=_PRESSED_PER_SECOND, burst=_PRESSED_BURST)
    )
    _set_aside: dict[ObjectPlace, float] = field(default_factory=dict)
    _logged: dict[str, str] = field(default_factory=dict)

    async def apply(
        self, resource: ApiResource, body: Object, *, is_ours: bool, subresource: str | None = None
    ) -> bool:
        """Applies an object on the server's side.

        Args:
            resource: its kind.
            body: what it should be.
            is_ours: whether it is known as ours. If not, an object of this name that differs is
                that of another client and stays.
            subresource: the subresource to apply; None: the object itself.

        Returns:
            Whether the hub has it now; False: it is refused, or was lately.

        Raises:
            HubError: the hub does not serve the scheduler.
        """
        meta = body["metadata"]
        place = (resource.plural, meta["namespace"], meta["name"])
        if self._is_set_aside(place):
            return False
        await self._spend()
        try:
            await self.hub.apply(
                resource, body, field_manager=FIELD_MANAGER, force=is_ours, subresource=subresource
            )
        except HubError as error:
            self._handle_refusal(place, resource.kind, error)
            return False
        self.telemetry.count_standard_write(resource.kind, "written")
        return True

    async def delete(self, resource: ApiResource, namespace: str, name: str) -> bool:
        """Deletes an object; returns whether it is gone.

        Raises:
            HubError: the hub does not serve the scheduler.
        """
        place = (resource.plural, namespace, name)
        if self._is_set_aside(place):
            return False
        await self._spend()
        try:
            await self.hub.delete(resource, name, namespace)
        except HubError as error:
            self._handle_refusal(place, resource.kind, error)
            return False
        self.telemetry.count_standard_write(resource.kind, "deleted")
        return True

    def forget_refusals(self) -> None:
        """Tries again what was set aside: the hub's objects were listed, or its kinds changed."""
        self._set_aside.clear()

    def _is_set_aside(self, place: ObjectPlace) -> bool:
        until = self._set_aside.get(place)
        if until is None:
            return False
        if self.clock.monotonic() < until:
            return True
        del self._set_aside[place]
        return False

    def _handle_refusal(self, place: ObjectPlace, kind: str, error: HubError) -> None:
        """Sets the object aside, unless the error is about the hub or the lease; then raises it."""
        if isinstance(error, Busy | NotLeading) or error.status == _UNAUTHORIZED:
            raise error
        self._set_aside[place] = self.clock.monotonic() + _SET_ASIDE_SECONDS
        self.telemetry.count_standard_write(kind, "refused")
        if self._logged.get(kind) != error.reason:
            self._logged[kind] = error.reason
            _log.warning("%s %s/%s is not written: %s", kind, *place[1:], error)

    async def _spend(self) -> None:
        """Waits until one more write may be sent."""
        while True:
            budget = self._pressed_budget if self.is_pressed() else self._budget
            pause = budget.spend(self.clock.monotonic())
            if not pause:
                return
            await self.clock.sleep(pause)
