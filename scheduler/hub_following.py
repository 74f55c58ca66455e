"""What follows the hub: an informer for each kind of ours, and for names of other kinds."""

import random
from collections.abc import Callable

from scheduler.control.leader_election import Leadership
from scheduler.control.ports.hub import KAPOK_RESOURCES, WORKLOADS, ApiResource, WatchEvent
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.placement_slices import HubWithSlices, PlacementSlices
from scheduler.hub.client import HubClient
from scheduler.hub.informer import Informer, MetadataHub, key_of
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults


class HubFollowing:
    """Keeps what is known of the hub up to date.

    Args:
        client: the hub.
        slices: the parts of large placements.
        objects: what is known of the hub.
        leadership: notices a hub that was restored.
        clock: the time.
        make_jitter: makes the random numbers of pauses.
        faults: handles the faults of single objects.
    """

    def __init__(
        self,
        *,
        client: HubClient,
        slices: PlacementSlices,
        objects: HubObjects,
        leadership: Leadership,
        clock: Clock,
        make_jitter: Callable[[], random.Random],
        faults: Faults,
    ) -> None:
        self._client, self._slices, self._objects = client, slices, objects
        self._leadership, self._clock, self._faults = leadership, clock, faults
        self._make_jitter = make_jitter
        self.informers = {one: self._informer(one) for one in KAPOK_RESOURCES}

    async def wait_until_listed(self) -> None:
        """Waits until each kind was listed once."""
        for informer in self.informers.values():
            await informer.wait_until_listed()

    def _informer(self, resource: ApiResource) -> Informer:
        client = self._client
        return Informer(
            hub=HubWithSlices(client, self._slices) if resource is WORKLOADS else client,
            resource=resource,
            listener=self._objects.apply_event,
            clock=self._clock,
            jitter=self._make_jitter(),
            faults=self._faults,
            check_history=self._leadership.check_history,
            on_restore=self._leadership.history.note_restore,
        )

    async def follow_metadata(
        self, resource: ApiResource, on_changed: Callable[[str, str], None]
    ) -> None:
        """Calls a function with the name of each object of a kind that changes, until cancelled."""

        def listener(_resource: ApiResource, change: WatchEvent) -> None:
            on_changed(*key_of(change.object))

        informer = Informer(
            hub=MetadataHub(self._client),
            resource=resource,
            listener=listener,
            clock=self._clock,
            jitter=self._make_jitter(),
            faults=self._faults,
        )
        await informer.run()
