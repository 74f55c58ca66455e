"""Informers: list a collection, watch it for changes, and list it again after 410 Gone.

The Python client has no async informer, and its watch repeats the same resourceVersion after 410
until it raises. An informer resumes a lost stream at the last resource version. After an expired
one it lists again and reports objects that have disappeared as DELETED, so that the listener
misses no deletion. A change that the listener fails on is set aside and passed to it again later,
in its newest form; all other objects go on. Whatever the hub answers, or if it does not answer, an
informer tries again with back-off for ever; `HubHealth` says what is wrong.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from scheduler.control.ports.hub import (
    ApiResource,
    Busy,
    Gone,
    HubError,
    Listing,
    NotFound,
    Object,
    WatchEvent,
)
from scheduler.hub.client import HubClient
from scheduler.runtime.backoff import JitteredBackoff
from scheduler.runtime.clock import Clock, yield_loop
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name of an object; the namespace is "" for cluster-scoped objects."""

ChangeListener = Callable[[ApiResource, WatchEvent], None]
HistoryCheck = Callable[[], Awaitable[None]]
OnRestore = Callable[[], None]

_MIN_PAUSE_SECONDS = 0.2
_FIRST_PAUSE_SECONDS = 0.4
_MAX_PAUSE_SECONDS = 15.0
_RETRY_INTERVAL_SECONDS = 1.0
_MAX_SINGLE_READS = 100
_PASSED_ON_AT_ONCE = 20  # so that a large list does not hold up the event loop


class FollowedHub(Protocol):
    """What an informer uses of a hub; as in `scheduler.control.ports.hub.Hub`."""

    async def get(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object:
        """Reads one object."""
        ...

    def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        """Yields the collection in parts."""
        ...

    async def list_metadata(self, resource: ApiResource) -> Listing:
        """Lists the metadata alone."""
        ...

    async def collection_version(self, resource: ApiResource) -> str:
        """The version at which a list would be now."""
        ...

    def watch(self, resource: ApiResource, resource_version: str) -> AsyncIterator[WatchEvent]:
        """Yields changes until the server ends the stream."""
        ...


class MetadataHub:
    """The hub as an informer sees it that follows metadata alone; implements `FollowedHub`.

    Which Secret or ConfigMap has changed is in its metadata; what it holds is read only of those
    that an order needs.
    """

    def __init__(self, client: HubClient) -> None:
        self._client = client

    async def get(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object:
        """Reads one object."""
        return await self._client.get(resource, name, namespace)

    async def list_metadata(self, resource: ApiResource) -> Listing:
        """Lists the metadata of a whole collection."""
        return await self._client.list_metadata(resource)

    async def collection_version(self, resource: ApiResource) -> str:
        """The version at which a list would be now."""
        return await self._client.collection_version(resource)

    async def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        """Yields the metadata of a whole collection, in one part."""
        yield await self._client.list_metadata(resource)

    async def watch(
        self, resource: ApiResource, resource_version: str
    ) -> AsyncIterator[WatchEvent]:
        """Yields changes of metadata until the server ends the stream."""
        async for change in self._client.watch_metadata(resource, resource_version):
            yield change


def key_of(body: Object) -> Key:
    """The key of an object."""
    meta = body["metadata"]
    return (meta.get("namespace", ""), meta["name"])


async def _trust_lists() -> None:
    """What a list lacks is deleted."""


def _go_on() -> None:
    """Versions that went back are left to `catch_up`."""


class Informer:
    """Follows one collection and passes each change to a listener, in order.

    Before it passes on a deletion that only a list shows it awaits `check_history`: the hub may
    have been restored to an earlier state, and a leader must not act on that as on deletions.

    Before it resumes a watch it looks whether versions went back; `on_restore` is called then, and
    the listener gets the restored objects by `catch_up`.
    """

    def __init__(
        self,
        hub: FollowedHub,
        resource: ApiResource,
        listener: ChangeListener,
        *,
        clock: Clock,
        jitter: random.Random,
        faults: Faults,
        check_history: HistoryCheck = _trust_lists,
        on_restore: OnRestore = _go_on,
    ) -> None:
        self._hub = hub
        self._check_history, self._on_restore = check_history, on_restore
        self._has_watched = False
        self._resource = resource
        self._listener = listener
        self._clock = clock
        self._backoff = JitteredBackoff(
            first_seconds=_FIRST_PAUSE_SECONDS,
            max_seconds=_MAX_PAUSE_SECONDS,
            min_seconds=_MIN_PAUSE_SECONDS,
            jitter=jitter,
        )
        self._faults = faults
        self._failed: dict[Key, WatchEvent] = {}
        self._objects: dict[Key, Object] = {}
        self._resource_version = ""
        self._has_received = False
        self._has_listed = asyncio.Event()
        self._listed_seconds = float("-inf")
        self._has_answered = asyncio.Event()
        self._is_rewound = asyncio.Event()

    async def wait_until_listed(self) -> None:
        """Waits until the collection has been listed for the first time."""
        await self._has_listed.wait()

    async def catch_up(self, since_seconds: float, *, is_restored: bool = False) -> bool:
        """Brings the listener what the hub holds now, though a watch may be late or cut.

        A watch does not say that it is complete: a leader that begins compares the versions of all
        objects, which takes their metadata alone, and reads what differs. What changes after that
        is for the watch, which is not left in the long pauses of an outage that is over.

        Args:
            since_seconds: nothing is done if the collection was listed after this monotonic time.
            is_restored: the hub was restored to an earlier state. Versions say nothing then: every
                object is passed on as it is now, and the watch begins again.

        Returns:
            Whether the versions of the hub went back, which nothing but a restore does.
        """
        if is_restored:
            await self._list_again()
            return False
        if self._listed_seconds >= since_seconds:
            return False
        listing = await self._hub.list_metadata(self._resource)
        found = {key_of(one): _version_of(one) for one in listing.items}
        if _is_before(listing.resource_version, self._resource_version):
            _log.warning("%s: the hub's versions went back; listing again", self._resource.plural)
            await self._list_again()
            return True
        differing = [
            key for key in self._objects.keys() | found.keys() if self._differs(key, found)
        ]
        if self._objects.keys() - found.keys():
            await self._check_history()
        if len(differing) > _MAX_SINGLE_READS:
            await self.synchronise()
        else:
            for key in differing:
                await self._read_again(key)
        self._backoff.reset()
        self._has_answered.set()
        return False

    async def _list_again(self) -> None:
        """Passes on every object of a restored hub, and begins the watch again."""
        for known in self._objects.values():
            known["metadata"].pop("resourceVersion", None)
        await self.synchronise()
        self._is_rewound.set()
        self._has_answered.set()

    def _differs(self, key: Key, found: dict[Key, tuple[str, str]]) -> bool:
        known = self._objects.get(key)
        return known is None or found.get(key) != _version_of(known)

    async def _read_again(self, key: Key) -> None:
        namespace, name = key
        try:
            body = await self._hub.get(self._resource, name, namespace or None)
        except NotFound:
            if key in self._objects:
                self._notify(WatchEvent("DELETED", self._objects[key]))
            return
        known = self._objects.get(key)
        if known is None or _version_of(known) != _version_of(body):
            change = "MODIFIED" if known else "ADDED"
            self._notify(WatchEvent(change, self._with_type_meta(body)))

    async def synchronise(self) -> None:
        """Lists the collection; the listener has received every object when this returns.

        A list that takes longer than the hub keeps its version begins again.
        """
        while True:
            began_seconds = self._clock.monotonic()
            try:
                found, resource_version = await self._read_pages()
                break
            except Gone:  # the list took longer than the hub keeps its version
                continue
        gone = {key: one for key, one in self._objects.items() if key not in found}
        if gone:
            await self._check_history()
        for key, one in gone.items():
            if self._objects.get(key) is one:  # no watch has brought it again meanwhile
                self._notify(WatchEvent("DELETED", one))
        self._resource_version = resource_version
        self._listed_seconds = began_seconds
        self._has_listed.set()

    async def _read_pages(self) -> tuple[set[Key], str]:
        """Passes on what is new or changed, page by page; returns all keys and the version."""
        found, resource_version = set[Key](), ""
        async for page in self._hub.list_pages(self._resource):
            for number, one in enumerate(page.items):
                with self._faults.barrier("object"):
                    key = key_of(one)
                    found.add(key)
                    before = self._objects.get(key)
                    if before is None or _version_of(before) != _version_of(one):
                        change = "MODIFIED" if before else "ADDED"
                        self._notify(WatchEvent(change, self._with_type_meta(one)))
                if number % _PASSED_ON_AT_ONCE == 0:
                    await yield_loop()
            resource_version = page.resource_version
        return found, resource_version

    async def run(self) -> None:
        """Watches until cancelled; lists first if `synchronise` has not been called."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name=f"follow {self._resource.plural}")
            group.create_task(self._retry_failed(), name=f"retry {self._resource.plural}")

    async def _follow(self) -> None:
        """Watches until cancelled.

        The pause between attempts grows while watches fail without an event. A watch that has
        received an event starts again after a short pause, however often it is cut; so does one
        whose collection the hub has served to `catch_up`.
        """
        while True:
            self._has_received = False
            try:
                if not self._resource_version:
                    await self.synchronise()
                elif self._has_watched and await self._has_gone_back():
                    self._on_restore()
                self._has_watched = True
                await self._watch_until_rewound()
                self._backoff.reset()
                continue
            except Gone as error:
                self._resource_version = ""
                reason: HubError = error
            except HubError as error:
                reason = error
            if self._has_received:
                self._backoff.reset()
            pause_seconds = self._backoff.next_seconds(reason.retry_after_seconds)
            _log.debug(
                "%s: watch failed, retrying in %.1f s: %s",
                self._resource.plural,
                pause_seconds,
                reason,
            )
            await self._pause(pause_seconds)

    async def _has_gone_back(self) -> bool:
        """Whether the hub is at a version below ours; a watch from ours would bring nothing."""
        version = await self._hub.collection_version(self._resource)
        return _is_before(version, self._resource_version)

    async def _pause(self, seconds: float) -> None:
        """Waits, but no longer than until the hub has served `catch_up`."""
        self._has_answered.clear()
        async with asyncio.TaskGroup() as group:
            sleeper = group.create_task(self._clock.sleep(seconds))
            event = group.create_task(self._has_answered.wait())
            await asyncio.wait({sleeper, event}, return_when=asyncio.FIRST_COMPLETED)
            sleeper.cancel()
            event.cancel()

    async def _watch_until_rewound(self) -> None:
        """Watches until the stream ends, or until `catch_up` finds that it brings nothing."""
        self._is_rewound.clear()
        failure: HubError | None = None

        async def watch() -> None:
            nonlocal failure
            try:
                await self._watch_once()
            except HubError as error:
                failure = error

        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(watch(), name=f"watch {self._resource.plural}")
            rewound = group.create_task(self._is_rewound.wait())
            await asyncio.wait({watcher, rewound}, return_when=asyncio.FIRST_COMPLETED)
            watcher.cancel()
            rewound.cancel()
        if failure is not None:
            raise failure

    async def _watch_once(self) -> None:
        started_at = self._clock.monotonic()
        async for change in self._hub.watch(self._resource, self._resource_version):
            self._has_received = True
            with self._faults.barrier("object"):
                body = self._with_type_meta(change.object)
                self._resource_version = body["metadata"]["resourceVersion"]
                if change.type != "BOOKMARK":
                    self._notify(WatchEvent(change.type, body))
        if self._clock.monotonic() - started_at < _MIN_PAUSE_SECONDS:
            raise Busy("the server ended the watch immediately")

    def _with_type_meta(self, body: Object) -> Object:
        """The object with kind and apiVersion, which items of a list lack and decoding needs."""
        if body.get("kind"):
            return body
        return {"apiVersion": self._resource.api_version, "kind": self._resource.kind, **body}

    def _notify(self, change: WatchEvent) -> None:
        key = key_of(change.object)
        if change.type == "DELETED":
            self._objects.pop(key, None)
        else:
            # The listener keeps the objects; comparing lists needs identity and version only.
            self._objects[key] = {"metadata": {**_identity_metadata_of(change.object)}}
        self._failed[key] = change
        self._pass_on(key)

    async def _retry_failed(self) -> None:
        """Passes on again what the listener failed on, once its pause is over."""
        while True:
            await self._clock.sleep(_RETRY_INTERVAL_SECONDS)
            for key in list(self._failed):
                self._pass_on(key)

    def _pass_on(self, key: Key) -> None:
        """Passes the newest change of an object to the listener, unless the object is set aside."""
        offender = (self._resource.plural, *key)
        if self._faults.admits("object", offender):
            with self._faults.barrier("object", offender):
                self._listener(self._resource, self._failed[key])
                del self._failed[key]


def _identity_metadata_of(body: Object) -> Object:
    meta = body["metadata"]
    return {
        key: meta[key] for key in ("namespace", "name", "uid", "resourceVersion") if key in meta
    }


def _is_before(one: str, other: str) -> bool:
    """Whether a version is below another; versions of Kubernetes are decimal numbers."""
    return one.isdecimal() and other.isdecimal() and int(one) < int(other)


def _version_of(body: Object) -> tuple[str, str]:
    return (body["metadata"].get("uid", ""), body["metadata"].get("resourceVersion", ""))
