"""What loops over all workloads read of a placement is what its shares say."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.control.status.migration import has_leaving, replicas_staying, shares_in
from scheduler.model.kinds.workload import PlacementGroup

SITES = ("m1", "m2", "m3")
GROUPS = st.lists(
    st.builds(
        PlacementGroup,
        sites=st.lists(st.sampled_from(SITES), max_size=3, unique=True).map(tuple),
        replicas=st.integers(0, 4),
        generation=st.integers(0, 3),
        phase=st.sampled_from(("Placing", "Running", "Withdrawing", None)),
    ),
    max_size=5,
)


@given(GROUPS)
def test_without_the_shares_the_same_is_read(groups: list[PlacementGroup]) -> None:
    shares = shares_in(groups)
    for site in SITES:
        share = shares.get(site)
        assert replicas_staying(groups, site) == (share.replicas if share else 0)
    leaving = [one for one in groups if one.sites]
    assert has_leaving(leaving) == any(one.leaving for one in shares.values())
