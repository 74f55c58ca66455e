"""With `identity: Ranges`, no ordinal ever runs at two sites, and at rest all of them run.

The status is the only state between two events, as in `test_migration.py`: every status goes
through the JSON that the hub would keep.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scheduler.control.orders.build import orders_of
from scheduler.control.ports.agents import OrderState
from scheduler.control.status.migration import SiteShare, SiteView
from scheduler.control.status.ordinals import ordered_ordinals
from scheduler.control.status.workload import (
    shares_of,
    with_decision,
    with_health,
    with_started_ordinals,
)
from scheduler.model.canonical import to_plain_json
from scheduler.model.decode import decode_as
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.kinds import Workload
from scheduler.model.kinds.workload import DecisionReference, WorkloadStatus
from scheduler.placement.choose import choose
from tests.support.counts import examples
from tests.support.fake_clock import START
from tests.support.sites import NOW, demand_or_refusal, fleet_of, nodes, site, workload

SITES = ("m1", "m2", "m3", "m4")
REFERENCE = DecisionReference(id="1-1", hash="sha256:0", line="-")


def ranged(replicas: int, status: Any = None) -> dict[str, Any]:  # noqa: ANN401 - JSON
    raw = workload(1, name="db")
    raw["spec"].pop("demand", None)
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}
    raw["spec"] |= {
        "replicas": replicas,
        "placement": {"identity": "Ranges"},
        "manifests": [
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": {"name": "db"},
                "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
            }
        ],
    }
    raw["status"] = status or {}
    return raw


@dataclass(slots=True)
class SetAtSites:
    """One numbered set: the hub's status of it, and the ordinals that really run, by site."""

    wanted: int = 0
    free: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SITES, 3))
    status: WorkloadStatus = field(default_factory=WorkloadStatus)
    orders: dict[str, tuple[int, frozenset[int]]] = field(default_factory=dict)
    runs: dict[str, frozenset[int]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)

    @property
    def shares(self) -> dict[str, SiteShare]:
        """The shares, by the status."""
        return dict(shares_of(self.status))

    def decide(self) -> None:
        """Decides by what runs and what is free, and keeps the status."""
        raw = ranged(self.wanted, to_plain_json(self.status))
        demand = demand_or_refusal(raw)
        assert isinstance(demand, Demand), demand
        held = {name: share.replicas for name, share in self.shares.items()}
        fleet = fleet_of(
            *(site(name, nodes(self.free[name] - held.get(name, 0), cpu="1")) for name in SITES
              if self.free[name])
        )  # fmt: skip
        decision = choose(demand, fleet, now=NOW)
        self.write(
            with_decision(
                self.status,
                decision,
                REFERENCE,
                is_new_content=False,
                known_sites=SITES,
                now=START,
                views=self.views(),
                identity="Ranges",
            )
        )

    def views(self) -> dict[str, SiteView]:
        """What each site reports."""
        return {name: self._view(name) for name in SITES}

    def _view(self, name: str) -> SiteView:
        if name not in self.orders:
            return SiteView(None, is_silent=name in self.silent)
        generation, asked = self.orders[name]
        runs = self.runs.get(name, frozenset())
        state = OrderState(
            id="x",
            generation=generation,
            applied_generation=generation,
            phase="Ready" if asked <= runs else "Applied",
            ready=len(runs),
            bound=len(runs),
        )
        return SiteView(state, is_silent=name in self.silent)

    def update(self) -> None:
        """Takes in what sites report."""
        status = with_health(self.status, self.views(), START, wanted=self.wanted)
        left = [name for name in SITES if name not in self.shares and self.runs.get(name)]
        self.write(with_started_ordinals(status, self.views(), START, are_left_sites_gone=not left))

    def write(self, status: WorkloadStatus) -> None:
        """Keeps a status as the hub does, and reads it again as a new process would."""
        raw = {"metadata": {"name": "db", "namespace": "ns"}, "status": to_plain_json(status)}
        self.status = decode_as(raw, Workload).status

    def apply(self, name: str) -> None:
        """A site fetches its newest order; what it does not ask for any more still runs."""
        share = self.shares.get(name)
        if share is None:
            self.orders.pop(name, None)
            return
        asked = ordered_ordinals(share)
        numbers = range(asked.first, asked.end) if asked else range(0)
        self.orders[name] = (share.generation, frozenset(numbers))

    def run(self, name: str, *, ends: bool) -> None:
        """The site's cluster ends pods that are not asked for, or starts those that are."""
        asked = self.orders[name][1] if name in self.orders else frozenset()
        runs = self.runs.get(name, frozenset())
        self.runs[name] = runs & asked if ends else runs | asked

    def check(self) -> None:
        """No ordinal runs at two sites, nor does an order ask for one that runs elsewhere."""
        found = [number for runs in self.runs.values() for number in runs]
        assert len(found) == len(set(found)), self.runs

    def settle(self) -> None:
        """Everything happens until nothing changes."""
        self.silent.clear()
        for _ in range(4):
            self.decide()
            for name in SITES:
                self.apply(name)
                self.run(name, ends=True)
                self.run(name, ends=False)
                self.check()
            self.update()


events = st.one_of(
    st.tuples(st.just("scale"), st.integers(0, 9)),
    st.tuples(st.just("free"), st.tuples(st.sampled_from(SITES), st.integers(0, 4))),
    st.tuples(st.just("silent"), st.sampled_from(SITES)),
    st.tuples(st.just("decide"), st.none()),
    st.tuples(st.just("update"), st.none()),
    st.tuples(st.just("apply"), st.sampled_from(SITES)),
    st.tuples(st.just("end"), st.sampled_from(SITES)),
    st.tuples(st.just("start"), st.sampled_from(SITES)),
)


def happen(model: SetAtSites, what: str, value: Any) -> None:  # noqa: ANN401 - of each event
    if what in ("apply", "end", "start") and value in model.silent:
        return
    match what:
        case "scale":
            model.wanted = value
        case "free":
            model.free[value[0]] = value[1]
        case "silent":
            model.silent ^= {value}
        case "apply":
            model.apply(value)
        case "end" | "start":
            model.run(value, ends=what == "end")
        case _:
            getattr(model, what)()


LOST_MIDDLE = [("scale", 9), ("settle", None), ("free", ("m2", 0)), ("settle", None)]
SHRINK_AND_GROW = [
    ("scale", 8), ("settle", None), ("scale", 2), ("decide", None), ("apply", "m1"),
    ("scale", 8), ("decide", None), ("update", None), ("apply", "m2"), ("start", "m2"),
]  # fmt: skip


@given(st.lists(events, max_size=30))
@settings(max_examples=examples(60), deadline=None)
@example(LOST_MIDDLE)
@example(SHRINK_AND_GROW)
def test_no_ordinal_ever_runs_at_two_sites(happens: list[tuple[str, Any]]) -> None:
    model = SetAtSites()
    for what, value in [*happens, ("settle", None)]:
        happen(model, what, value)
        model.check()
    if model.status.phase == "Running":
        every = sorted(number for runs in model.runs.values() for number in runs)
        assert every == list(range(model.wanted))


@pytest.mark.parametrize("left", [3, 4])  # the second site loses all of its range, or a part
def test_an_ordinal_starts_only_when_its_former_site_has_ended_it(left: int) -> None:
    model = SetAtSites(wanted=6)
    model.settle()
    second = next(name for name, one in model.runs.items() if 5 in one)
    model.wanted = left
    model.decide()
    model.apply(second)
    model.free[second] = left - 3
    model.wanted = 6
    model.decide()
    third = next(name for name in SITES if name in model.shares and not model.runs.get(name))
    for _ in range(2):
        model.update()
        model.apply(third)
        model.run(third, ends=False)
        model.check()
    assert not model.runs[third]
    moving = [one for one in model.status.conditions if one.type == "Moving"]
    assert third in moving[0].message
    model.run(second, ends=True)
    model.update()
    model.apply(third)
    model.run(third, ends=False)
    assert model.runs[third] == set(range(left, 6))


@given(st.integers(1, 9), st.integers(0, 9))
@example(8, 3)
@example(3, 8)
@settings(max_examples=12, deadline=None)
def test_a_site_that_stays_keeps_what_it_runs_when_the_number_changes(
    before: int, after: int
) -> None:
    model = SetAtSites(wanted=before)
    model.settle()
    ran = dict(model.runs)
    model.wanted = after
    model.settle()
    every = sorted(number for runs in model.runs.values() for number in runs)
    assert every == list(range(after))
    for name, runs in ran.items():
        assert model.runs[name] >= {number for number in runs if number < after}


def test_orders_begin_with_the_first_ordinal_of_their_site() -> None:
    model = SetAtSites(wanted=7)
    model.settle()
    raw = ranged(7, to_plain_json(model.status))
    orders = orders_of(decode_as(raw, Workload), "id", model.shares, None, {})
    specs: dict[str, Any] = {name: one.manifests[0]["spec"] for name, one in orders.items()}
    found = sorted(
        number
        for spec in specs.values()
        for number in range(spec["ordinals"]["start"], spec["ordinals"]["start"] + spec["replicas"])
    )
    assert found == list(range(7))
    assert len(specs) > 1
