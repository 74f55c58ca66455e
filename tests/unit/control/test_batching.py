"""The fleet that batches are solved on follows the real one, and no batch leaves a trace in it."""

import pytest

from scheduler.control.batching import Image, Stopped
from scheduler.model.terms import DEFAULT_TERMS
from tests.support.sites import NOW, demand, fleet_of, nodes, site, workload

SPEC = {"prices": {"coreCnyPerHour": 0.05}}


def test_a_batch_leaves_no_trace_and_sees_what_changed() -> None:
    asked = [demand(workload(3, name=f"w{number}")) for number in range(4)]
    both = list(fleet_of(*(site(f"m{n}", nodes(4), spec=SPEC) for n in (1, 2))).all_facts())
    image = Image()
    first = image.solve(both, asked, NOW, DEFAULT_TERMS)
    again = image.solve(both, asked, NOW, DEFAULT_TERMS)
    assert first == again
    assert [one.phase for one in first.decisions].count("Placed") == 2
    assert {one.site for one in first.terms.scarcity} == {"m1", "m2"}
    alone = image.solve(both[:1], asked, NOW, DEFAULT_TERMS)
    assert {one.site for one in alone.terms.scarcity} == {"m1"}
    roomy = list(fleet_of(site("m1", nodes(40), spec=SPEC)).all_facts())
    assert image.solve(roomy, asked, NOW, DEFAULT_TERMS).terms.scarcity == ()
    assert image.solve([], asked, NOW, DEFAULT_TERMS).achieved == 0


def test_a_batch_that_is_called_off_ends() -> None:
    image = Image(is_called_off=True)
    with pytest.raises(Stopped):
        image.solve([], [], NOW, DEFAULT_TERMS)
