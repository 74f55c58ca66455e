"""What a batch assigns is followed where every rule and the room hold; else nothing changes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.model.decision import decision_bytes
from scheduler.model.demand.assignment import AssignedReplicas, BatchAssignment
from scheduler.model.demand.terms import DEFAULT_TERMS, ScarcityPrice, Terms
from scheduler.placement.choose import choose, prepare_cycle
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.required_rules import find_unmet_rules
from tests.property.placement.test_promises import asks, known, sites
from tests.support.counts import examples
from tests.support.sites import NOW, Raw, demand

VERSION = "sha256:" + "0" * 64
names = st.sampled_from(["m0", "m1", "m2", "m3", "gone"])
PRICED = Terms(
    scarcity=(ScarcityPrice(site="m0", resource="cpu", cny_per_unit_hour=0.01),),
    scarcity_version=VERSION,
)


@st.composite
def assignments(draw: st.DrawFn) -> BatchAssignment:
    listed = draw(st.dictionaries(names, st.integers(1, 6), min_size=1, max_size=3))
    entries = tuple(AssignedReplicas(site=site, replicas=count) for site, count in listed.items())
    return BatchAssignment(version=VERSION, sites=entries)


@given(
    raw=sites(),
    asked=asks(),
    assigned=assignments(),
    terms=st.sampled_from([DEFAULT_TERMS, PRICED]),
    fits=st.sampled_from(["number", "any"]),
)
@settings(max_examples=examples(100), deadline=None)
def test_an_assignment_breaks_no_rule_and_overcommits_nothing(
    raw: list[Raw], asked: Raw, assigned: BatchAssignment, terms: Terms, fits: str
) -> None:
    if fits == "number":  # most entries miss the number that is missing
        asked["spec"]["demand"]["replicas"] = sum(
            [one.replicas for one in assigned.sites]
            + [one["replicas"] for one in asked["status"]["placement"]["groups"]]
        )
        asked["spec"]["placement"]["strategy"] = "CostOptimal"
    wanted = demand(asked)
    fleet = Fleet(known(raw))
    usual = choose(wanted, fleet, now=NOW, terms=terms)
    followed = choose(wanted, fleet, now=NOW, terms=terms, assigned=assigned)
    if followed.batch is None:
        assert decision_bytes(followed) == decision_bytes(usual)
        return
    assert followed.batch.assignment == VERSION
    assert followed.phase == usual.phase == "Placed"
    assert any(note.startswith("assigned by batch sha256:000000000000") for note in followed.notes)
    context = decision_context(NOW, terms)
    cycle = prepare_cycle(wanted, fleet, context)
    kept = {fleet.name_at(slot): count for slot, count in cycle.retained.kept.items()}
    shares = {one.site: one.replicas for one in followed.assignment}
    added = {site: count - kept.get(site, 0) for site, count in shares.items()}
    assert {site: count for site, count in added.items() if count} == {
        one.site: one.replicas for one in assigned.sites
    }
    for site, count in added.items():
        slot = fleet.slot_of[site]
        if count:
            assert slot in cycle.filter_result.admitted_slots
            assert cycle.capacity.replicas_at(np.array([slot]))[0] >= count
    assert find_unmet_rules(wanted, fleet, shares, context) == ()
    above = followed.batch.cny_above_cheapest_per_hour
    if above is not None:
        assert above >= 0
    assert followed.optimal == (followed.gap == 0.0)
