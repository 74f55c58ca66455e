"""The pauses of an informer whose hub cuts, expires or refuses watches."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from typing import cast

import pytest

from scheduler.control.ports.hub import (
    ApiResource,
    Gone,
    HubError,
    Listing,
    Object,
    WatchEvent,
)
from scheduler.hub.informer import FollowedHub, Informer
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults

PODS = ApiResource("", "v1", "pods", "Pod", namespaced=True)


def pod(version: int) -> Object:
    return {"metadata": {"name": "p", "namespace": "ns", "resourceVersion": str(version)}}


class CuttingHub:
    """Serves one collection; every watch yields some changes and then fails."""

    def __init__(self, changes: int, failure: HubError) -> None:
        self.changes, self.failure = changes, failure
        self.begun: list[float] = []
        self.clock = FakeClock()
        self._versions = iter(range(1, 1_000_000))

    async def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        del resource
        yield Listing(items=[], resource_version="1")

    async def list_metadata(self, resource: ApiResource) -> Listing:
        del resource
        return Listing(items=[], resource_version="1")

    async def collection_version(self, resource: ApiResource) -> str:
        return (await self.list_metadata(resource)).resource_version

    async def watch(self, resource: ApiResource, version: str) -> AsyncIterator[WatchEvent]:
        del resource, version
        self.begun.append(self.clock.monotonic())
        for number in self._some():
            yield WatchEvent("MODIFIED", pod(number))
        raise self.failure

    def _some(self) -> Iterator[int]:
        return (next(self._versions) for _ in range(self.changes))


def informer_of(hub: CuttingHub) -> Informer:
    return Informer(
        cast("FollowedHub", hub),  # of the port what an informer uses
        PODS,
        lambda _resource, _change: None,
        clock=hub.clock,
        jitter=random.Random(1),  # noqa: S311 - spreads retries
        faults=make_faults(hub.clock),
    )


async def watches_in(seconds: float, hub: CuttingHub) -> int:
    """The number of watches that start in some time."""
    informer = informer_of(hub)
    await informer.synchronise()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(informer.run())
        await hub.clock.advance(seconds)
        task.cancel()
    return len(hub.begun)


@pytest.mark.parametrize("failure", [HubError("the connection was cut"), Gone("too old")])
async def test_a_watch_that_received_events_is_restarted_soon_however_often_it_is_cut(
    failure: HubError,
) -> None:
    assert await watches_in(60, CuttingHub(changes=4, failure=failure)) > 150


@pytest.mark.parametrize("failure", [HubError("the connection was cut"), Gone("too old")])
async def test_a_watch_without_events_is_restarted_less_and_less_often(failure: HubError) -> None:
    assert 5 <= await watches_in(60, CuttingHub(changes=0, failure=failure)) <= 15


@pytest.mark.parametrize("is_listed_already", [False, True])
async def test_a_leader_that_has_caught_up_does_not_wait_for_the_end_of_a_long_pause(
    is_listed_already: bool,  # noqa: FBT001 - a parameter
) -> None:
    hub = CuttingHub(changes=0, failure=HubError("connection refused"))
    informer = informer_of(hub)
    await informer.synchronise()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(informer.run())
        await hub.clock.advance(300)
        while hub.clock.monotonic() - hub.begun[-1] > 1.0:  # a pause of an unknown length begins
            await hub.clock.advance(0.5)
        before = len(hub.begun)
        await informer.catch_up(0.0 if is_listed_already else hub.clock.monotonic())
        await hub.clock.settle()
        assert len(hub.begun) - before == (0 if is_listed_already else 1)
        task.cancel()


class OneChange(CuttingHub):
    """Yields one change, then nothing."""

    async def watch(self, resource: ApiResource, version: str) -> AsyncIterator[WatchEvent]:
        del resource, version
        self.begun.append(self.clock.monotonic())
        if len(self.begun) == 1:
            yield WatchEvent("ADDED", {"no": "metadata"})
            for number in (1, 2):
                meta = {"name": f"p{number}", "resourceVersion": str(number)}
                yield WatchEvent("ADDED", {"metadata": meta})
        await self.clock.sleep(1e6)


async def test_a_change_that_fails_is_passed_on_again_and_holds_up_no_other() -> None:
    hub, heard, counted = OneChange(0, HubError("")), list[str](), list[str]()
    left = [1, 2, 3]

    def listen(_resource: ApiResource, change: WatchEvent) -> None:
        if change.object["metadata"]["resourceVersion"] == "1" and left:
            left.pop()
            raise AttributeError
        heard.append(change.object["metadata"]["resourceVersion"])

    informer = Informer(
        cast("FollowedHub", hub),
        PODS,
        listen,
        clock=hub.clock,
        jitter=random.Random(1),  # noqa: S311 - spreads retries
        faults=make_faults(hub.clock, counted),
    )
    await informer.synchronise()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(informer.run())
        await hub.clock.settle()
        assert heard == ["2"]
        await hub.clock.advance(30)
        assert heard == ["2", "1"]
        assert counted == ["object"] * 4
        task.cancel()


class RestoredHub(CuttingHub):
    """Brings what is newer than the version of a watch, as kube-apiserver does."""

    version, name = 7, "before"

    async def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        yield await self.list_metadata(resource)

    async def list_metadata(self, resource: ApiResource) -> Listing:
        del resource
        meta = {"name": self.name, "resourceVersion": str(self.version)}
        return Listing(items=[{"metadata": meta}], resource_version=str(self.version))

    async def get(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object:
        del name, namespace
        return (await self.list_metadata(resource)).items[0]

    async def watch(self, resource: ApiResource, version: str) -> AsyncIterator[WatchEvent]:
        del resource
        self.begun.append(self.clock.monotonic())
        if int(version) < self.version:
            meta = {"name": self.name, "resourceVersion": str(self.version)}
            yield WatchEvent("ADDED", {"metadata": meta})
        await self.clock.sleep(1e6)


async def test_after_a_restore_of_the_hub_no_watch_waits_for_versions_of_the_time_before() -> None:
    hub, heard = RestoredHub(0, HubError("")), list[tuple[str, str]]()
    informer = Informer(
        cast("FollowedHub", hub),
        PODS,
        lambda _resource, change: heard.append((change.type, change.object["metadata"]["name"])),
        clock=hub.clock,
        jitter=random.Random(1),  # noqa: S311 - spreads retries
        faults=make_faults(hub.clock),
    )
    await informer.synchronise()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(informer.run())
        await hub.clock.settle()
        hub.version, hub.name = 3, "restored"
        await informer.catch_up(hub.clock.monotonic() + 1)
        await hub.clock.settle()
        assert heard == [("ADDED", "before"), ("ADDED", "restored"), ("DELETED", "before")]
        assert len(hub.begun) == 2
        hub.version = 9
        await informer.catch_up(hub.clock.monotonic() + 1)
        await hub.clock.settle()
        assert len(hub.begun) == 2
        task.cancel()


class PagedHub(CuttingHub):
    """Lists one object a page; the version is gone after so many pages of the next list."""

    names: tuple[str, ...] = ()
    pages_until_gone = 99

    async def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        del resource
        left, self.pages_until_gone = self.pages_until_gone, 99
        for name in self.names:
            if not left:
                raise Gone("too old")
            left -= 1
            meta = {"name": name, "resourceVersion": "1"}
            yield Listing(items=[{"metadata": meta}], resource_version="7")


async def test_a_list_that_is_cut_between_two_pages_loses_no_object_and_no_deletion() -> None:
    hub, heard = PagedHub(0, HubError("")), list[tuple[str, str]]()
    informer = Informer(
        cast("FollowedHub", hub),
        PODS,
        lambda _, change: heard.append((change.type, change.object["metadata"]["name"])),
        clock=hub.clock,
        jitter=random.Random(1),  # noqa: S311 - spreads retries
        faults=make_faults(hub.clock),
    )
    hub.names = ("a", "b")
    await informer.synchronise()
    hub.names, hub.pages_until_gone = ("b", "c", "d"), 2
    await informer.synchronise()
    assert heard[:3] == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]
    assert heard[3:] == [("ADDED", "d"), ("DELETED", "a")]


class CheckedHistory:
    """Stands for the leader's look at the Lease."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.looks, self.restores = clock, 0, 0
        self.failures = 0

    async def check(self) -> None:
        self.looks += 1
        if self.failures:
            self.failures -= 1
            raise HubError("the Lease cannot be read")

    def note_restore(self) -> None:
        self.restores += 1


def checked_informer(
    hub: RestoredHub, history: CheckedHistory, heard: list[tuple[str, str]]
) -> Informer:
    return Informer(
        cast("FollowedHub", hub),
        PODS,
        lambda _resource, change: heard.append((change.type, change.object["metadata"]["name"])),
        clock=hub.clock,
        jitter=random.Random(1),  # noqa: S311 - spreads retries
        faults=make_faults(hub.clock),
        check_history=history.check,
        on_restore=history.note_restore,
    )


async def test_no_deletion_that_a_list_alone_shows_is_passed_on_before_the_history_is_known() -> (
    None
):
    hub, heard = RestoredHub(0, HubError("")), list[tuple[str, str]]()
    history = CheckedHistory(hub.clock)
    informer = checked_informer(hub, history, heard)
    await informer.synchronise()
    assert history.looks == 0
    hub.name, history.failures = "other", 1
    with pytest.raises(HubError, match="Lease"):
        await informer.synchronise()
    assert ("DELETED", "before") not in heard
    await informer.synchronise()
    assert heard[-1] == ("DELETED", "before")
    assert history.looks == 2


async def test_of_a_restored_hub_every_object_is_passed_on_though_its_version_is_the_same() -> None:
    hub, heard = RestoredHub(0, HubError("")), list[tuple[str, str]]()
    informer = checked_informer(hub, CheckedHistory(hub.clock), heard)
    await informer.synchronise()
    await informer.catch_up(hub.clock.monotonic() - 1)
    assert heard == [("ADDED", "before")]
    await informer.catch_up(hub.clock.monotonic() - 1, is_restored=True)
    assert heard == [("ADDED", "before"), ("MODIFIED", "before")]


async def test_a_watch_that_is_resumed_below_its_version_says_that_the_hub_was_restored() -> None:
    class EndingHub(RestoredHub):
        async def watch(self, resource: ApiResource, version: str) -> AsyncIterator[WatchEvent]:
            del resource, version
            self.begun.append(self.clock.monotonic())
            for _ in ():
                yield _
            raise HubError("cut")

    hub = EndingHub(0, HubError(""))
    history = CheckedHistory(hub.clock)
    informer = checked_informer(hub, history, [])
    await informer.synchronise()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(informer.run())
        await hub.clock.advance(10.0)
        assert len(hub.begun) > 1
        assert history.restores == 0
        hub.version = 3
        await hub.clock.advance(20.0)
        assert history.restores >= 1
        task.cancel()
