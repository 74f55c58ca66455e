"""The parts of a Job's completions add up to its total, whatever moves and scales."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.control.ports.agents import OrderState
from scheduler.control.status.completions import divide_completions, share_out
from scheduler.control.status.migration import SiteShare, SiteView

_SITES = ("a", "b", "c", "d")
_Division = dict[str, int]
_divisions = st.dictionaries(st.sampled_from(_SITES), st.integers(1, 9), min_size=1)


@given(st.integers(0, 1000), st.lists(st.integers(0, 50), max_size=6))
def test_parts_add_up_to_the_whole(total: int, weights: list[int]) -> None:
    parts = share_out(total, weights)
    assert sum(parts) == (total if sum(weights) else 0)
    assert all(part == 0 for part, weight in zip(parts, weights, strict=True) if not weight)


@given(
    st.integers(1, 200),
    st.lists(st.tuples(_divisions, st.sets(st.sampled_from(_SITES))), max_size=6),
)
def test_no_completion_is_lost_or_asked_twice(
    total: int, steps: list[tuple[_Division, set[str]]]
) -> None:
    shares: dict[str, SiteShare] = {}
    completed = 0
    for division, finished in steps:
        before, views = shares, {site: _view(is_finished=site in finished) for site in shares}
        new = {site: SiteShare(replicas, 1) for site, replicas in division.items()}
        shares, completed = divide_completions(new, before, views, total=total, completed=completed)
        parts = {site: share.completions or 0 for site, share in shares.items()}
        assert sum(parts.values()) + completed == total
        fresh = parts.keys() - before.keys()
        for site in parts.keys() & before.keys() if fresh else ():
            assert parts[site] == before[site].completions, "the part of a Job that exists is fixed"


def test_a_job_that_ran_undivided_before_keeps_what_it_runs() -> None:
    before = {"a": SiteShare(3, 1), "b": SiteShare(3, 1)}
    shares, completed = divide_completions(before, before, {}, total=8, completed=0)
    assert [share.completions for share in shares.values()] == [None, None]
    assert completed == 0


def test_another_total_is_divided_again() -> None:
    before = {"a": SiteShare(3, 1, completions=4), "b": SiteShare(1, 1, completions=4)}
    shares, _ = divide_completions(before, before, {}, total=12, completed=0)
    assert {site: share.completions for site, share in shares.items()} == {"a": 9, "b": 3}


def _view(*, is_finished: bool) -> SiteView:
    state = OrderState(
        id="x", generation=1, phase="Finished", finished="Succeeded" if is_finished else None
    )
    return SiteView(
        state=state if is_finished else OrderState(id="x", generation=1, phase="Ready"),
        is_silent=False,
    )
