"""The door's budget of requests, and the history that watchers read: bounded, without a socket."""

import pytest

from scheduler.apiserver.auth.middleware import Budget, host_name
from scheduler.apiserver.base.errors import ApiError
from scheduler.apiserver.storage.collection import HISTORY_EVENTS, Collection, Stored


def test_a_budget_allows_a_burst_and_then_its_rate() -> None:
    budget = Budget(10, now=0.0)
    assert sum(budget.take(0.0) for _ in range(100)) == 20
    assert sum(budget.take(1.0) for _ in range(100)) == 10


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
    assert host_name(header) == name


def _stored(revision: int, size: int = 10) -> Stored:
    return Stored("ns/a", revision, b"x" * size)


def test_a_watcher_that_is_too_slow_is_told_to_list_anew() -> None:
    collection = Collection("/pods", 0)
    for revision in range(1, HISTORY_EVENTS + 101):
        collection.commit("ns/a", _stored(revision), deleted=False)
    assert len(collection.since(HISTORY_EVENTS)) == 100
    with pytest.raises(ApiError) as refused:
        collection.since(50)
    assert refused.value.code == 410


def test_the_history_is_bounded_by_bytes_too() -> None:
    collection = Collection("/pods", 0)
    for revision in range(1, 60):
        collection.commit("ns/a", _stored(revision, 1024 * 1024), deleted=False)
    assert len(collection.since(collection.oldest)) <= 33


def test_a_snapshot_shows_the_past() -> None:
    collection = Collection("/pods", 0)
    collection.commit("ns/a", Stored("ns/a", 1, b"1"), deleted=False)
    collection.commit("ns/b", Stored("ns/b", 2, b"2"), deleted=False)
    collection.commit("ns/a", Stored("ns/a", 3, b"3"), deleted=True)
    collection.commit("ns/c", Stored("ns/c", 4, b"4"), deleted=False)
    then = [stored.revision for stored in collection.at(2).after("", "ns/")]
    now = [stored.revision for stored in collection.at(4).after("", "ns/")]
    assert (then, now) == ([1, 2], [2, 4])


def test_a_late_commit_does_not_hide_a_newer_write() -> None:
    collection = Collection("/pods", 0)
    collection.head["ns/a"] = (3, _stored(3))
    collection.commit("ns/a", _stored(2), deleted=False)
    latest = collection.latest("ns/a")
    assert latest is not None
    assert latest.revision == 3
