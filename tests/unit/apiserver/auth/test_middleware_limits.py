"""The limits of the request rate and of the history for watches, tested without a socket."""

import pytest

from scheduler.apiserver.auth.limits import RateLimiter
from scheduler.apiserver.auth.middleware import parse_host_name
from scheduler.apiserver.base.errors import ApiError
from scheduler.apiserver.storage.collection import (
    MAX_HISTORY_EVENTS,
    ObjectCollection,
)
from scheduler.apiserver.storage.stored_object import StoredObject


def test_a_budget_allows_a_burst_and_then_its_rate() -> None:
    budget = RateLimiter(10, now=0.0)
    assert sum(budget.try_accept(0.0) for _ in range(100)) == 20
    assert sum(budget.try_accept(1.0) for _ in range(100)) == 10


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("127.0.0.1:6443", "127.0.0.1"),
        ("localhost", "localhost"),
        ("[::1]:6443", "::1"),
        ("", ""),
    ],
)
def test_the_host_is_read_without_its_port(header: str, name: str) -> None:
    assert parse_host_name(header) == name


def _stored(revision: int, size: int = 10) -> StoredObject:
    return StoredObject("ns/a", revision, b"x" * size)


def test_a_watcher_that_is_too_slow_is_told_to_list_anew() -> None:
    collection = ObjectCollection(0)
    for revision in range(1, MAX_HISTORY_EVENTS + 101):
        collection.commit("ns/a", _stored(revision), is_deletion=False)
    assert len(collection.events_since(MAX_HISTORY_EVENTS)) == 100
    with pytest.raises(ApiError) as refused:
        collection.events_since(50)
    assert refused.value.code == 410


def test_the_history_is_bounded_by_bytes_too() -> None:
    collection = ObjectCollection(0)
    for revision in range(1, 60):
        collection.commit("ns/a", _stored(revision, 1024 * 1024), is_deletion=False)
    assert len(collection.events_since(collection.oldest_revision)) <= 33


def test_a_snapshot_shows_the_past() -> None:
    collection = ObjectCollection(0)
    collection.commit("ns/a", StoredObject("ns/a", 1, b"1"), is_deletion=False)
    collection.commit("ns/b", StoredObject("ns/b", 2, b"2"), is_deletion=False)
    collection.commit("ns/a", StoredObject("ns/a", 3, b"3"), is_deletion=True)
    collection.commit("ns/c", StoredObject("ns/c", 4, b"4"), is_deletion=False)
    then = [stored.revision for stored in collection.snapshot_at(2).iter_after("", "ns/")]
    now = [stored.revision for stored in collection.snapshot_at(4).iter_after("", "ns/")]
    assert (then, now) == ([1, 2], [2, 4])


def test_a_late_commit_does_not_hide_a_newer_write() -> None:
    collection = ObjectCollection(0)
    collection.pending_writes["ns/a"] = (3, _stored(3))
    collection.commit("ns/a", _stored(2), is_deletion=False)
    latest = collection.latest("ns/a")
    assert latest is not None
    assert latest.revision == 3
