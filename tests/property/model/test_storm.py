"""What holds of storms whatever sites do."""

from dataclasses import replace
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from scheduler.model.mass_silence import Domain, SiteReading
from scheduler.model.storm import LinkReading, StormState, after_thaw
from tests.support.silences import LIMITS, LONG_AGO, judge, present, silent

NOW = 1000.0
DOMAINS: list[Domain] = [("province", "CN-GD"), ("province", "CN-GS"), ("provider", "a")]

times = st.floats(0.0, NOW, allow_nan=False)
domains = st.lists(st.sampled_from(DOMAINS), unique=True).map(tuple)


@st.composite
def sites(draw: st.DrawFn, *, most: int = 8) -> list[SiteReading]:
    """Some sites, each with its own last message."""
    found = []
    for number in range(draw(st.integers(0, most))):
        make = present if draw(st.booleans()) else silent
        found.append(make(f"s{number}", *draw(domains), heard_seconds=draw(times)))
    return found


links = st.builds(
    LinkReading,
    listening_since_seconds=st.just(0.0),
    connected_since_seconds=st.none() | times,
    stalled_seconds=st.just(-inf) | times,
)
befores = st.builds(
    StormState,
    full_since_seconds=st.none() | times,
    excused=st.frozensets(st.sampled_from([f"s{number}" for number in range(8)])),
)


@given(fleet=sites(), link=links, before=befores)
def test_nothing_is_evicted_in_a_freeze(
    fleet: list[SiteReading], link: LinkReading, before: StormState
) -> None:
    state = judge(fleet, NOW, before, link=link)
    assert (state.per_second == 0) == (state.freeze is not None)


@given(fleet=sites(), link=links, before=befores, data=st.data())
def test_one_more_silent_site_never_raises_the_rate(
    fleet: list[SiteReading], link: LinkReading, before: StormState, data: st.DataObject
) -> None:
    there = [one for one in fleet if one.health.is_present]
    if not there:
        return
    # An excused site that was present in between counts again, so none of these is excused.
    before = replace(before, excused=before.excused - {one.name for one in there})
    fallen = data.draw(st.sampled_from(there))
    last_seconds = data.draw(st.floats(0.0, fallen.health.received_seconds, allow_nan=False))
    gone = silent(fallen.name, *fallen.domains, heard_seconds=last_seconds)
    more = [gone if one.name == fallen.name else one for one in fleet]
    less_state, more_state = (judge(some, NOW, before, link=link) for some in (fleet, more))
    assert more_state.per_second <= less_state.per_second
    assert more_state.healthy_ratio <= less_state.healthy_ratio


@given(
    steps=st.lists(
        st.tuples(st.integers(1, 40), sites(most=6), st.booleans()), min_size=2, max_size=25
    )
)
def test_a_freeze_by_silence_lasts_until_a_calm(
    steps: list[tuple[int, list[SiteReading], bool]],
) -> None:
    state, now, needs_calm_since = StormState(), NOW, -inf
    for seconds, fleet, is_connected in steps:
        now += seconds
        moved = [
            (present if one.health.is_present else silent)(
                one.name, *one.domains, heard_seconds=one.health.received_seconds + now - NOW
            )
            for one in fleet
        ]
        link = replace(LONG_AGO, connected_since_seconds=0.0 if is_connected else None)
        was, state = state, judge(moved, now, state, link=link)
        if was.automatic and was.needs_calm and state.automatic is None:
            assert now - needs_calm_since >= LIMITS.settle_seconds
        if state.automatic and state.automatic.reason in ("quiet", "fleet"):
            is_cause = state.calm_since_seconds is None
            needs_calm_since = now if is_cause else needs_calm_since


@given(fleet=sites(), link=links)
def test_a_thaw_is_followed_by_no_freeze_for_the_same_silence(
    fleet: list[SiteReading], link: LinkReading
) -> None:
    state = judge(fleet, NOW, after_thaw(judge(fleet, NOW, link=link), fleet), link=link)
    assert state.freeze is None or state.freeze.reason != "fleet"
    assert all(not one.health.is_absent or one.name in state.excused for one in fleet)


@given(fleet=sites(), link=links, before=befores)
def test_the_order_of_the_sites_does_not_matter(
    fleet: list[SiteReading], link: LinkReading, before: StormState
) -> None:
    assert judge(fleet, NOW, before, link=link) == judge(fleet[::-1], NOW, before, link=link)
