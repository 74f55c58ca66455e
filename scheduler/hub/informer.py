"""A local copy of collections that follows the hub: list, then watch, and list again after 410.

The Python client has no async informer, and its watch repeats the same resourceVersion on 410
until it raises. Here a lost stream resumes where it was, an expired one lists anew, and what
vanished between the two is told as DELETED, so that a listener never misses a change.
"""

import logging
import random
from collections.abc import Callable

from scheduler.control.ports.hub import Busy, Change, Gone, Hub, HubError, Object, Resource
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

Key = tuple[str, str]
"""(namespace or "", name)"""

Listener = Callable[[Resource, Change], None]

_FIRST_PAUSE_SECONDS = 0.2
_LAST_PAUSE_SECONDS = 15.0


def key_of(body: Object) -> Key:
    """Namespace and name of an object."""
    meta = body["metadata"]
    return (meta.get("namespace", ""), meta["name"])


class Informer:
    """Follows one collection and tells a listener of every change, in order."""

    def __init__(
        self,
        hub: Hub,
        resource: Resource,
        listener: Listener,
        *,
        clock: Clock,
        jitter: random.Random,
    ) -> None:
        self._hub = hub
        self._resource = resource
        self._listener = listener
        self._clock = clock
        self._jitter = jitter
        self._objects: dict[Key, Object] = {}
        self._version = ""
        self._heard = False

    async def synchronise(self) -> None:
        """Lists once; the listener has heard of every object when this returns."""
        listing = await self._hub.list(self._resource)
        fresh = {key_of(one): self._whole(one) for one in listing.items}
        for key in self._objects.keys() - fresh.keys():
            self._tell(Change("DELETED", self._objects[key]))
        for key, body in fresh.items():
            before = self._objects.get(key)
            if before is None or _version(before) != _version(body):
                self._tell(Change("MODIFIED" if before else "ADDED", body))
        self._version = listing.resource_version

    async def run(self) -> None:
        """Watches for ever. `synchronise` must have been called once.

        Pauses grow as long as nothing is heard: a watch that brought something before it was cut
        begins anew soon, however often that happens.
        """
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            self._heard = False
            try:
                if not self._version:
                    await self.synchronise()
                await self._follow()
                pause_seconds = _FIRST_PAUSE_SECONDS
                continue
            except Gone:
                self._version = ""
                told = "the server has forgotten where it was"
            except (Busy, HubError) as error:
                told = str(error)
            if self._heard:
                pause_seconds = _FIRST_PAUSE_SECONDS
            _log.warning(
                "%s: watch lost, again in %.1f s: %s", self._resource.plural, pause_seconds, told
            )
            await self._clock.sleep(pause_seconds * (0.5 + self._jitter.random()))
            pause_seconds = min(pause_seconds * 2, _LAST_PAUSE_SECONDS)

    async def _follow(self) -> None:
        started_at = self._clock.monotonic()
        async for change in self._hub.watch(self._resource, self._version):
            self._heard = True
            body = self._whole(change.object)
            self._version = body["metadata"]["resourceVersion"]
            if change.type != "BOOKMARK":
                self._tell(Change(change.type, body))
        if self._clock.monotonic() - started_at < _FIRST_PAUSE_SECONDS:
            raise Busy("the server ended the watch at once")

    def _whole(self, body: Object) -> Object:
        """List items come without kind and apiVersion; decoding wants them."""
        if body.get("kind"):
            return body
        return {"apiVersion": self._resource.api_version, "kind": self._resource.kind, **body}

    def _tell(self, change: Change) -> None:
        key = key_of(change.object)
        if change.type == "DELETED":
            self._objects.pop(key, None)
        else:
            self._objects[key] = {"metadata": {**_named(change.object)}}
        self._listener(self._resource, change)


def _named(body: Object) -> Object:
    meta = body["metadata"]
    return {
        key: meta[key] for key in ("namespace", "name", "uid", "resourceVersion") if key in meta
    }


def _version(body: Object) -> tuple[str, str]:
    return (body["metadata"].get("uid", ""), body["metadata"].get("resourceVersion", ""))
