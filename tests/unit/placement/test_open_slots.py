"""Sites that get no new replicas of a workload are left out of what is divided."""

import numpy as np
import pytest

from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.placement.choose import division_request, prepare_cycle
from scheduler.placement.fleet.context import decision_context
from tests.support.sites import NOW, demand, fleet_of, nodes, site, workload

NAMES = [f"m{number}" for number in range(6)]


@pytest.mark.parametrize(
    "evicted",
    [["m0"], ["m5"], ["m2", "m3"], ["m0", "m5"], NAMES, ["m1", "gone"]],
    ids="-".join,
)
@pytest.mark.parametrize("cordoned", [(), ("m0",), ("m5",), ("m2", "m4"), NAMES], ids=str)
def test_the_open_slots_are_those_that_are_admitted_and_not_left(
    evicted: list[str], cordoned: tuple[str, ...]
) -> None:
    sites = [
        site(name, nodes(4), spec={"cordon": True} if name in cordoned else {}) for name in NAMES
    ]
    asked = demand(
        workload(len(evicted), placed=dict.fromkeys(evicted, 1)), evicted=tuple(sorted(evicted))
    )
    fleet = fleet_of(*sites)
    state = prepare_cycle(asked, fleet, decision_context(NOW, DEFAULT_TERMS))
    excluded = state.retained.excluded
    assert excluded.issuperset(fleet.slot_of[one] for one in evicted if one in fleet.slot_of)
    admitted = state.filter_result.admitted_slots
    left_out = np.array(sorted(excluded), np.int64)
    found = division_request(state).open_slots
    assert found.tolist() == np.setdiff1d(admitted, left_out).tolist()
    assert found.dtype == admitted.dtype
