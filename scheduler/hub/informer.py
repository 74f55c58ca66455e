"""A local copy of collections that follows the hub: list, then watch, and list again after 410.

The Python client has no async informer, and its watch repeats the same resourceVersion on 410
until it raises. Here a lost stream resumes where it was, an expired one lists anew, and what
vanished between the two is told as DELETED, so that a listener never misses a change.
"""

import logging
import random
from collections.abc import Callable

from scheduler.control.ports.hub import ApiResource, Busy, Gone, Hub, HubError, Object, WatchEvent
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

Key = tuple[str, str]
"""(namespace or "", name)"""

ChangeListener = Callable[[ApiResource, WatchEvent], None]

_MIN_PAUSE_SECONDS = 0.2
_MAX_PAUSE_SECONDS = 15.0


def key_of(body: Object) -> Key:
    """Namespace and name of an object."""
    meta = body["metadata"]
    return (meta.get("namespace", ""), meta["name"])


class Informer:
    """Follows one collection and tells a listener of every change, in order."""

    def __init__(
        self,
        hub: Hub,
        resource: ApiResource,
        listener: ChangeListener,
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
        self._resource_version = ""
        self._has_received = False

    async def synchronise(self) -> None:
        """Lists once; the listener has heard of every object when this returns."""
        listing = await self._hub.list(self._resource)
        fresh = {key_of(one): self._with_type_meta(one) for one in listing.items}
        for key in self._objects.keys() - fresh.keys():
            self._notify(WatchEvent("DELETED", self._objects[key]))
        for key, body in fresh.items():
            before = self._objects.get(key)
            if before is None or _version_of(before) != _version_of(body):
                self._notify(WatchEvent("MODIFIED" if before else "ADDED", body))
        self._resource_version = listing.resource_version

    async def run(self) -> None:
        """Watches for ever. `synchronise` must have been called once.

        Pauses grow as long as nothing is heard: a watch that brought something before it was cut
        begins anew soon, however often that happens.
        """
        pause_seconds = _MIN_PAUSE_SECONDS
        while True:
            self._has_received = False
            try:
                if not self._resource_version:
                    await self.synchronise()
                await self._watch_once()
                pause_seconds = _MIN_PAUSE_SECONDS
                continue
            except Gone:
                self._resource_version = ""
                told = "the server has forgotten where it was"
            except (Busy, HubError) as error:
                told = str(error)
            if self._has_received:
                pause_seconds = _MIN_PAUSE_SECONDS
            _log.warning(
                "%s: watch lost, again in %.1f s: %s", self._resource.plural, pause_seconds, told
            )
            await self._clock.sleep(pause_seconds * (0.5 + self._jitter.random()))
            pause_seconds = min(pause_seconds * 2, _MAX_PAUSE_SECONDS)

    async def _watch_once(self) -> None:
        started_at = self._clock.monotonic()
        async for change in self._hub.watch(self._resource, self._resource_version):
            self._has_received = True
            body = self._with_type_meta(change.object)
            self._resource_version = body["metadata"]["resourceVersion"]
            if change.type != "BOOKMARK":
                self._notify(WatchEvent(change.type, body))
        if self._clock.monotonic() - started_at < _MIN_PAUSE_SECONDS:
            raise Busy("the server ended the watch at once")

    def _with_type_meta(self, body: Object) -> Object:
        """List items come without kind and apiVersion; decoding wants them."""
        if body.get("kind"):
            return body
        return {"apiVersion": self._resource.api_version, "kind": self._resource.kind, **body}

    def _notify(self, change: WatchEvent) -> None:
        key = key_of(change.object)
        if change.type == "DELETED":
            self._objects.pop(key, None)
        else:
            self._objects[key] = {"metadata": {**_identity_metadata_of(change.object)}}
        self._listener(self._resource, change)


def _identity_metadata_of(body: Object) -> Object:
    meta = body["metadata"]
    return {
        key: meta[key] for key in ("namespace", "name", "uid", "resourceVersion") if key in meta
    }


def _version_of(body: Object) -> tuple[str, str]:
    return (body["metadata"].get("uid", ""), body["metadata"].get("resourceVersion", ""))
