"""Watch streams over a collection, without a server."""

from scheduler.apiserver.base.heavy_work import HeavyWork
from scheduler.apiserver.kinds.core.core_kinds import core_resources
from scheduler.apiserver.read.lists import ObjectRepresentation
from scheduler.apiserver.read.selectors import SelectionPredicate
from scheduler.apiserver.read.watch import BOOKMARK_PERIOD_SECONDS, WatchRequest, WatchStream
from scheduler.apiserver.storage.collection import ObjectCollection
from scheduler.apiserver.storage.stored_object import StoredObject
from tests.support.fake_clock import FakeClock


def commit(collection: ObjectCollection, revision: int) -> int:
    data = b'{"metadata":{"resourceVersion":"%d"}}' % revision
    collection.commit("ns/a", StoredObject("ns/a", revision, data), is_deletion=False)
    return revision


async def test_a_bookmark_does_not_skip_events_that_came_while_the_client_was_slow() -> None:
    clock, collection, newest = FakeClock(), ObjectCollection(0), 0
    resource = next(one for one in core_resources() if one.group_resource.plural == "configmaps")
    request = WatchRequest(
        resource=resource,
        namespace="",
        predicate=SelectionPredicate(),
        representation=ObjectRepresentation(),
        allows_bookmarks=True,
        sends_initial_events=None,
        start_revision=0,
        timeout_seconds=10 * BOOKMARK_PERIOD_SECONDS,
    )
    stream = WatchStream(
        request=request,
        collection=collection,
        clock=clock,
        current_revision=lambda: newest,
        heavy_work=HeavyWork(),
    ).stream_lines()
    newest = commit(collection, 1)
    assert b'"ADDED"' in await anext(stream)
    newest = commit(collection, 2)  # while the client still reads the first event
    await clock.advance(BOOKMARK_PERIOD_SECONDS)
    lines = [await anext(stream), await anext(stream)]
    assert [b'"MODIFIED"' in line for line in lines] == [False, True]
    assert b'"resourceVersion":"1"' in lines[0]  # the bookmark
