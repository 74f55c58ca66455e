"""A delta and its base make the complete index that the hub has signed, or nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.protocol.errors import WireError
from agents.protocol.index import DESIRED_INDEX, DesiredIndex, IndexEntry, digest_of
from agents.protocol.index_delta import (
    INDEX_DELTA,
    IndexDelta,
    apply_delta,
    base_of,
    compute_delta,
    encode_large_delta,
    encode_large_index,
    entry_text,
)
from tests.support.wire_examples import messages

NAMES = st.sampled_from([f"hub/n/{name}/1" for name in ("a", "b", "c", "é", "𝄞", 'quote"', "\x07")])


def entry(name: str, generation: int = 1) -> IndexEntry:
    digest = digest_of(f"{name} {generation}".encode())
    return IndexEntry(id=name, generation=generation, digest=digest)


def index(sequence: int, *entries: IndexEntry, **more: bool) -> DesiredIndex:
    ordered = tuple(sorted(entries, key=lambda one: one.id))
    return DesiredIndex(
        site="s", site_uid="u", epoch=1, sequence=sequence, orders=ordered, is_base=more.get("base")
    )


@given(messages(DesiredIndex))
def test_a_large_index_is_written_as_the_codec_writes_it(one: DesiredIndex) -> None:
    assert encode_large_index(one) == DESIRED_INDEX.encode(one)
    assert encode_large_index(one, map(entry_text, one.orders)) == DESIRED_INDEX.encode(one)


@given(messages(IndexDelta))
def test_a_large_delta_is_written_as_the_codec_writes_it(one: IndexDelta) -> None:
    assert encode_large_delta(one) == INDEX_DELTA.encode(one)


PLANS = st.dictionaries(NAMES, st.integers(1, 3))


@given(PLANS, PLANS)
def test_a_delta_of_any_two_plans_makes_the_second_of_the_first(
    before: dict[str, int], after: dict[str, int]
) -> None:
    first = index(1, *(entry(*one) for one in before.items()), base=True)
    second = index(2, *(entry(*one) for one in after.items()))
    base = base_of(first, DESIRED_INDEX.encode(first))
    delta = compute_delta(base, second, digest_of(DESIRED_INDEX.encode(second)))
    decoded = INDEX_DELTA.decode(INDEX_DELTA.encode(delta))
    made, payload = apply_delta(base, decoded)
    assert (made, payload) == (second, DESIRED_INDEX.encode(second))
    unchanged = {name for name in before if before[name] == after.get(name)}
    assert unchanged.isdisjoint({one.id for one in delta.orders} | set(delta.removed))


A, B, C = (entry(f"hub/n/{name}/1") for name in "abc")
BASE_INDEX = index(1, A, B, base=True)
BASE = base_of(BASE_INDEX, DESIRED_INDEX.encode(BASE_INDEX))
NEXT = index(2, A, C)
DELTA = compute_delta(BASE, NEXT, digest_of(DESIRED_INDEX.encode(NEXT)))

REFUSED: dict[str, tuple[IndexDelta, str]] = {
    "of another base": (replace(DELTA, base=digest_of(b"")), "unknown-base"),
    "with another digest": (replace(DELTA, digest=digest_of(b"")), "digest"),
    "with another sequence": (replace(DELTA, sequence=3), "digest"),
    "of another site": (replace(DELTA, site="t"), "wrong-site"),
    "of a site of the same name": (replace(DELTA, site_uid="v"), "wrong-site"),
    "that removes what the base lacks": (replace(DELTA, removed=("x", B.id)), "unknown-order"),
    "that removes twice": (replace(DELTA, removed=(B.id, B.id)), "malformed"),
    "that lists twice": (replace(DELTA, orders=(C, C)), "malformed"),
    "that lists and removes": (replace(DELTA, orders=(B, C)), "malformed"),
    "that forgets a removal": (replace(DELTA, removed=()), "digest"),
    "that forgets an order": (replace(DELTA, orders=()), "digest"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_any_other_delta_is_refused_by_its_reason(name: str) -> None:
    delta, reason = REFUSED[name]
    with pytest.raises(WireError) as refusal:
        apply_delta(BASE, delta)
    assert refusal.value.reason == reason
    assert apply_delta(BASE, DELTA)[0] == NEXT


def test_what_a_delta_may_make_of_a_base_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.protocol.index_delta.MAX_ORDERS", 1)
    with pytest.raises(WireError) as refusal:
        apply_delta(BASE, DELTA)
    assert refusal.value.reason == "too-large"
