"""Webster's method against its rule: replica by replica, to the largest claim."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.placement.divide import apportionment as rounding
from scheduler.placement.divide.apportionment import apportion, scale_down_by_weight
from tests.support.counts import examples


def replica_by_replica(
    total: int, weights: list[int], caps: list[int], start: list[int], tie: list[int]
) -> list[int] | None:
    """The next replica to the largest weight / (2 replicas + 1), then fewer, then the hash."""
    replicas = list(start)
    if sum(replicas) > total:
        return None
    while sum(replicas) < total:
        able = [n for n, cap in enumerate(caps) if replicas[n] < cap and weights[n] > 0]
        if not able:
            return None
        best = max(able, key=lambda n: (weights[n] / (2 * replicas[n] + 1), -replicas[n], -tie[n]))
        replicas[best] += 1
    return replicas


sizes = st.shared(st.integers(1, 6), key="size")


def lists(low: int, high: int) -> st.SearchStrategy[list[int]]:
    return sizes.flatmap(lambda n: st.lists(st.integers(low, high), min_size=n, max_size=n))


@given(
    total=st.integers(0, 60),
    weights=lists(0, 6),
    caps=lists(0, 30),
    start=lists(0, 4),
    tie=sizes.flatmap(lambda n: st.permutations(range(n))),
)
@settings(max_examples=examples(300), deadline=None)
def test_replicas_are_apportioned_as_by_the_method_with_its_ties(
    total: int, weights: list[int], caps: list[int], start: list[int], tie: list[int]
) -> None:
    found = apportion(total, weights, caps=caps, start=start, tie_breakers=tie)
    expected = replica_by_replica(total, weights, caps, start, tie)
    assert (None if found is None else found.tolist()) == expected


def test_of_equal_claims_the_one_with_fewer_replicas_comes_first() -> None:
    # the first has a replica and the second has none: 9 / (2 * 1 + 1) is 3
    found = apportion(2, [3, 1], start=[1, 0], tie_breakers=[0, 1])
    assert found is not None
    assert found.tolist() == [1, 1]


@given(total=st.integers(0, 30), weights=lists(0, 6), held=lists(0, 9))
@settings(max_examples=examples(100), deadline=None)
def test_a_replica_is_removed_from_the_site_most_above_its_share(
    total: int, weights: list[int], held: list[int]
) -> None:
    left = scale_down_by_weight(total, weights, held).tolist()
    assert sum(left) == min(total, sum(held))
    for loser, (after, before) in enumerate(zip(left, held, strict=True)):
        assert 0 <= after <= before
        for keeper, stays in enumerate(left):
            if after < before and stays:  # the replica that was taken last had no better claim
                assert weights[loser] * (2 * stays - 1) <= weights[keeper] * (2 * after + 1)


@given(
    total=st.integers(1, 40),
    less=st.integers(1, 12),
    weights=lists(1, 4),
    tie=sizes.flatmap(lambda n: st.permutations(range(n))),
)
@settings(max_examples=examples(150), deadline=None)
def test_the_replica_apportioned_last_is_removed_first(
    total: int, less: int, weights: list[int], tie: list[int]
) -> None:
    few = max(0, total - less)
    more, fewer_replicas = (
        apportion(total, weights, tie_breakers=tie),
        apportion(few, weights, tie_breakers=tie),
    )
    assert more is not None
    assert fewer_replicas is not None
    assert (
        scale_down_by_weight(few, weights, more, tie_breakers=tie).tolist()
        == fewer_replicas.tolist()
    )


@given(
    total=st.integers(0, 40),
    weights=lists(0, 4),
    tie=sizes.flatmap(lambda n: st.permutations(range(n))),
)
@settings(max_examples=examples(150), deadline=None)
def test_replicas_are_the_same_however_many_are_apportioned_at_once(
    total: int, weights: list[int], tie: list[int]
) -> None:
    """Replicas that the search for a divisor leaves over follow one by one, by the same rule."""
    start = [0] * len(weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounding, "_MAX_BISECTIONS", 0)
        found = apportion(total, weights, tie_breakers=tie)
    expected = replica_by_replica(total, weights, [total] * len(weights), start, tie)
    assert (None if found is None else found.tolist()) == expected
