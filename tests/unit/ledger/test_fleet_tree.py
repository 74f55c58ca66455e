"""A fleet state is stored once, and a change costs only what changed."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scheduler.ledger.blobs import Blob, unpack
from scheduler.ledger.errors import LedgerCorruptError
from scheduler.ledger.fleet import FleetTree, read_fleet

NAMES = st.sampled_from([f"site-{n}" for n in range(200)])


def loaded(blobs: Mapping[str, Blob], digest: str) -> object:
    if digest not in blobs:
        raise LedgerCorruptError(digest)
    value: object = json.loads(unpack(blobs[digest].packed))
    return value


@settings(deadline=None)
@given(
    steps=st.lists(st.tuples(NAMES, st.none() | st.integers(0, 3)), max_size=60),
    start=st.integers(0, 150),
)
@example(steps=[("site-64", 0), ("site-64", None)], start=64)  # splits a leaf, and joins it again
@example(steps=[], start=0)
def test_the_same_fleet_makes_the_same_tree_whatever_happened_before(
    steps: list[tuple[str, int | None]], start: int
) -> None:
    changed, blobs = FleetTree(), dict[str, Blob]()
    expected: dict[str, object] = {f"site-{n}": {"n": n} for n in range(start)}
    for name, facts in expected.items():
        changed.put(name, facts)
    for name, value in steps:
        if value is None:
            changed.remove(name)
            expected.pop(name, None)
        else:
            changed.put(name, {"v": value})
            expected[name] = {"v": value}
        state = changed.current_state()
        blobs |= {blob.digest: blob for blob in state.blobs}
        changed.mark_stored(state)
    state = changed.current_state()
    blobs |= {blob.digest: blob for blob in state.blobs}

    fresh = FleetTree()
    for name in sorted(expected, reverse=True):
        fresh.put(name, expected[name])
    assert fresh.current_state().digest == state.digest
    assert read_fleet(state.digest, lambda digest: loaded(blobs, digest)) == expected


def test_a_changed_site_of_ten_thousand_stores_itself_and_its_branch() -> None:
    tree = FleetTree()
    for number in range(10_000):
        tree.put(f"site-{number}", {"free": number})
    first = tree.current_state()
    tree.mark_stored(first)
    assert len(first.blobs) > 10_000

    tree.put("site-77", {"free": -1})
    second = tree.current_state()
    assert len(second.blobs) <= 6
    assert sum(len(blob.packed) for blob in second.blobs) < 8_000


def test_a_fleet_that_reports_the_same_stores_no_facts_again() -> None:
    tree = FleetTree()

    def report(second: int) -> dict[str, Blob]:
        for number in range(2_000):
            at = f"2026-11-24T12:00:{second:02}.{number:06}Z"
            row = {"count": 3, "cpu": str(number), "memory": "64Gi"}
            status = {"observedAt": at, "power": {"watts": second * number}, "free": [row] * 20}
            tree.put(f"site-{number}", {"name": f"site-{number}", "status": status})
        state = tree.current_state()
        tree.mark_stored(state)
        return {blob.digest: blob for blob in state.blobs}

    first, second = report(1), report(2)
    cost = [sum(len(blob.packed) for blob in blobs.values()) for blobs in (first, second)]
    assert cost[1] < cost[0] / 4
    facts = read_fleet(tree.current_state().digest, lambda digest: loaded(first | second, digest))
    assert facts["site-7"]["status"]["observedAt"] == "2026-11-24T12:00:02.000007Z"
    assert facts["site-7"]["status"]["power"] == {"watts": 14}
    assert facts["site-7"]["status"]["free"][0]["cpu"] == "7"


def test_an_unchanged_fleet_stores_nothing() -> None:
    tree = FleetTree()
    tree.put("gz-core", {"free": 1})
    state = tree.current_state()
    tree.mark_stored(state)
    tree.put("gz-core", {"free": 1})
    assert tree.current_state().blobs == ()
    assert tree.current_state().digest == state.digest


def test_blobs_are_handed_out_again_until_they_are_known_to_be_stored() -> None:
    tree = FleetTree()
    tree.put("gz-core", {"free": 1})
    lost = tree.current_state()  # its append failed
    assert set(tree.current_state().blobs) == set(lost.blobs)


def test_a_blob_that_is_no_node_is_named() -> None:
    with pytest.raises(LedgerCorruptError, match="not a fleet state"):
        read_fleet("sha256:1", lambda _digest: {"free": 1})
    root = {"steady": "sha256:2", "moving": "sha256:3"}
    with pytest.raises(LedgerCorruptError, match="not a node"):
        read_fleet("sha256:1", lambda digest: root if digest == "sha256:1" else {"free": 1})
