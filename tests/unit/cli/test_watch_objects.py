"""A watch that meets 410 lists again: only what has changed is shown, and what is gone is named."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

import pytest

from scheduler.cli.support.object_lists import ListedObjects, ObjectQuery, watch_objects
from scheduler.control.ports.hub import SITES, Busy, Gone, Object, Refused, WatchEvent
from tests.support.fake_clock import FakeClock


def site(name: str, version: int) -> Object:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def table(*sites: Object) -> Object:
    rows = [{"cells": [one["metadata"]["name"]], "object": one} for one in sites]
    return {"kind": "Table", "metadata": {"resourceVersion": "50"}, "rows": rows}


class Hub:
    """A hub that answers each watch as it is told, and lists what it holds."""

    def __init__(self, *watches: list[Any]) -> None:
        self.watches, self.holds = list(watches), table()
        self.asked: list[str] = []

    async def read_as(self, _path: str, _query: Mapping[str, str], _accept: str) -> Object:
        return self.holds

    async def watch_as(
        self, _path: str, query: Mapping[str, str], _accept: str
    ) -> AsyncIterator[WatchEvent]:
        self.asked.append(query["resourceVersion"])
        for one in self.watches.pop(0):
            if isinstance(one, Exception):
                raise one
            yield WatchEvent(type=one[0], object=table(one[1]))


async def changes(hub: Hub, *names: str) -> tuple[list[str], list[str]]:
    """What is shown until the hub refuses, and the notices."""
    listed = ListedObjects([("Name", 0)], [(("m1",), site("m1", 1)), (("m2",), site("m2", 2))], "9")
    query = ObjectQuery(resource=SITES, names=names)
    shown, notices, clock = list[str](), list[str](), FakeClock()
    watch = watch_objects(hub, query, listed, clock=clock, notice=notices.append)  # type: ignore[arg-type]

    async def read() -> None:
        async for _, body in watch:
            shown.append(f"{body['metadata']['name']}@{body['metadata']['resourceVersion']}")

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_refused(read()))
        while not reading.done():
            await clock.advance(16)
    return shown, notices


async def _refused(work: Coroutine[Any, Any, None]) -> None:
    with pytest.raises(Refused):
        await work


async def test_after_410_only_what_differs_is_shown() -> None:
    hub = Hub([("MODIFIED", site("m1", 10)), Gone("too old")], [Refused("no more")])
    hub.holds = table(site("m1", 10), site("m3", 30))
    shown, notices = await changes(hub)
    assert shown == ["m1@10", "m3@30"]
    assert notices == ["Site m2 was deleted while the hub was away"]
    assert hub.asked == ["9", "50"]


async def test_a_hub_that_is_away_is_named_once_and_asked_again_from_where_it_was() -> None:
    bookmark = ("BOOKMARK", site("", 20))
    hub = Hub(
        [bookmark, Busy("away")], [Busy("away")], [("DELETED", site("m2", 21))], [Refused("")]
    )
    shown, notices = await changes(hub)
    assert shown == ["m2@21"]
    assert len(notices) == 1
    assert hub.asked == ["9", "20", "20", "21"]


async def test_only_the_names_that_are_asked_for_are_shown() -> None:
    hub = Hub([("MODIFIED", site("m1", 10)), ("MODIFIED", site("m2", 11)), Refused("")])
    shown, _ = await changes(hub, "m1")
    assert shown == ["m1@10"]
