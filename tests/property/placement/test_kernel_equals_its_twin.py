"""Every entry point of the kernel gives what its NumPy twin gives; hypothesis shrinks a difference.

The kernel and the twin are two texts of the same arithmetic (decision 0018). The soak has the full
counts, with new cases each time; the gate has few, always the same.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks._city import NOW
from scheduler.model.decision import decision_bytes
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import RESERVED_FOR_PREFIX, Grant, InFlight, SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.policy import Spread
from scheduler.model.kinds.rights import SiteGrantSpec
from scheduler.model.kinds.site import (
    Headroom,
    Location,
    NodeClass,
    SitePrices,
    SiteSpec,
    SiteStatus,
)
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import HOSTNAME_LABEL, PodShape, TopologySpreadConstraint
from scheduler.placement.choose import choose, division_request, prepare_cycle
from scheduler.placement.cost.site_costs import _sum_terms
from scheduler.placement.divide import divide as divide_module
from scheduler.placement.divide.divide import cheapest_sites_by_kernel, iter_cheapest_sites
from scheduler.placement.divide.spread.levels import Level, satisfies
from scheduler.placement.divide.spread.nested import divide_nested
from scheduler.placement.divide.spread.search import search_cheapest_division
from scheduler.placement.filter.filter import _apply_grant_rule, _count_ranks, _merge_ranks
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.ragged import any_of_rows
from scheduler.placement.kernel import loader as compiled
from tests.support.tools import require_kernel

FEW = settings(max_examples=10, derandomize=True, deadline=None, database=None)
MANY = settings(
    max_examples=4000, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def in_gate_and_soak(check: Callable[..., None]) -> tuple[Any, Any]:
    """The same check with few examples, and with the full count."""

    def few() -> None:
        require_kernel()
        FEW(check)()

    def many() -> None:
        require_kernel()
        MANY(check)()

    return few, pytest.mark.soak(pytest.mark.timeout(3600)(many))


@st.composite
def node_classes(draw: st.DrawFn) -> NodeClass:
    rows = draw(st.integers(1, 4))
    free: list[dict[str, int | float | str]] = [
        {
            "count": draw(st.sampled_from((0, 1, 1, 3))),
            "cpu": f"{draw(st.integers(0, 12000))}m",
            "memory": draw(st.integers(0, 24)),
            "pods": draw(st.integers(0, 9)),
            **draw(st.sampled_from(({}, {}, {"example.org/a": 2}))),
            **draw(st.sampled_from(({}, {}, {f"kapok.dev/gpu-milli.{n}": 1000 for n in range(2)}))),
        }
        for _ in range(rows)
    ]
    labels = draw(st.sampled_from(({}, {"zone": "a"}, {"zone": "b"}, {"zone": "c"})))
    return NodeClass(architecture="amd64", labels=labels, free=tuple(free))


def flights() -> st.SearchStrategy[InFlight]:
    return st.builds(
        InFlight,
        workload=st.sampled_from(("a/b", "a/c", "a/d", f"{RESERVED_FOR_PREFIX}a/e")),
        replicas=st.integers(1, 4),
        requests=st.fixed_dictionaries(
            {"cpu": st.integers(0, 9000), "memory": st.integers(0, 20), "pods": st.just(1)},
            optional={"example.org/a": st.just(1), "example.org/b": st.just(1)},
        ),
        gpu_cards=st.sampled_from((0, 0, 1, 2)),
        gpu_milli=st.just(500),
    )


@st.composite
def sites(draw: st.DrawFn, number: int) -> SiteFacts:
    name = f"s{number}"
    city = draw(st.sampled_from(("x1", "x2", "y1", "")))
    grants = tuple(
        Grant(
            name=f"g{index}",
            spec=SiteGrantSpec(
                sites=(name,),
                data_class=draw(st.sampled_from(("general-1", "general-3"))),
                protection_level=draw(st.sampled_from((2, 4))),
            ),
        )
        for index in range(draw(st.integers(0, 2)))
    )
    spec = SiteSpec(
        location=Location(province=city[:1], city=city),
        headroom=Headroom(ratio=draw(st.sampled_from((0, 0, 0.1)))),
        prices=SitePrices(
            energy_cny_per_kwh=draw(st.sampled_from((0.3, 0.5, 0.5, None))),
            core_cny_per_hour=draw(st.sampled_from((0.05, 0.05, 0.06, None))),
        ),
    )
    status = SiteStatus(
        observed_at=NOW,
        api_kinds=("apps/v1/Deployment",),
        node_classes=tuple(draw(st.lists(node_classes(), max_size=3))),
    )
    in_flight = tuple(draw(st.lists(flights(), max_size=6)))
    return SiteFacts(name=name, spec=spec, status=status, grants=grants, in_flight=in_flight)


def limits(key: str) -> st.SearchStrategy[TopologySpreadConstraint]:
    return st.builds(
        TopologySpreadConstraint,
        topology_key=st.just(key),
        max_skew=st.integers(1, 4),
        min_domains=st.sampled_from((1, 1, 2, 3)),
        honors_affinity=st.booleans(),
        honors_taints=st.booleans(),
    )


@st.composite
def asked(draw: st.DrawFn) -> Demand:
    kind = draw(st.sampled_from(("plain", "plain", "zone", "host", "both", "one-per")))
    zone, host = draw(limits("zone")), draw(limits(HOSTNAME_LABEL))
    shape = PodShape(
        requests=draw(
            st.fixed_dictionaries(
                {"cpu": st.integers(1, 4000), "memory": st.integers(1, 8), "pods": st.just(1)},
                optional={"example.org/a": st.just(1)},
            )
        ),
        gpu_cards=draw(st.sampled_from((0, 0, 0, 1, 2))),
        gpu_milli=draw(st.sampled_from((300, 500, 1000))),
        one_per_node=draw(st.booleans()) and kind in ("plain", "zone"),
        skews={"zone": (zone,), "host": (host,), "both": (zone, host)}.get(kind, ()),
        one_per=("zone",) if kind == "one-per" else (),
        node_selector=draw(st.sampled_from(({}, {}, {"zone": "a"}))),
    )
    spread = draw(
        st.sampled_from(((), (), (Spread(by="province", max_groups=2), Spread(by="city"))))
    )
    return Demand(
        key=f"a/{draw(st.sampled_from('bcdef'))}",
        replicas=draw(st.integers(0, 12)),
        unit=(Pods(shape=shape, count=1),),
        api_kinds=("apps/v1/Deployment",),
        data_class=draw(st.sampled_from(("general-1", "general-2"))),
        protection_level=draw(st.sampled_from((1, 3))),
        architectures=("amd64",),
        strategy=draw(st.sampled_from(("CostOptimal", "CostOptimal", "Balanced"))),
        spread=spread,
    )


def cheapest_by_group(
    order: list[tuple[int, int]], groups: np.ndarray, missing: int
) -> list[tuple[int, int]]:
    """What `Cheapest.cheapest_by_group` gives, of sites in order of cost with what they take."""
    found: list[tuple[int, int]] = []
    held: dict[int, int] = {}
    closed = {0}
    for slot, most in order:
        group = int(groups[slot])
        if group in closed:
            continue
        found.append((slot, min(most, missing)))
        if held.get(group, 0) >= missing:
            closed.add(group)
        held[group] = held.get(group, 0) + most
    return found


@given(data=st.data())
def check_decisions(data: st.DataObject) -> None:
    """Fit, in flight, spread inside a site, full sites, order of costs, sums, ranks, decisions."""
    facts = [data.draw(sites(number)) for number in range(data.draw(st.integers(1, 6)))]
    both = Fleet(facts), Fleet(facts, may_compile=False)
    moment = decision_context(NOW, DEFAULT_TERMS)
    least = data.draw(st.sampled_from((0, 256)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(divide_module, "MIN_SITES_TO_CACHE_FULL", least)
        patch.setattr("scheduler.placement.result.MIN_SITES_TO_CACHE_FULL", least)
        for demand in data.draw(st.lists(asked(), min_size=1, max_size=4)):
            one, other = (prepare_cycle(demand, fleet, moment) for fleet in both)
            slots = np.flatnonzero(both[0].has_site)
            assert one.capacity.replicas_at(slots).tolist() == (
                other.capacity.replicas_at(slots).tolist()
            )
            assert one.capacity.replicas_by_sums(slots).tolist() == (
                other.capacity.replicas_by_sums(slots).tolist()
            )
            assert one.capacity.held_by_in_flight(slots) == other.capacity.held_by_in_flight(slots)
            assert one.capacity.is_lower_bound_at_any(slots) == (
                other.capacity.is_lower_bound_at_any(slots)
            )
            orders = [
                list(iter_cheapest_sites(division_request(each), missing=1))
                for each in (one, other)
            ]
            assert orders[0][: len(orders[1])] == orders[1]
            sites_of_groups = cheapest_sites_by_kernel(division_request(one))
            if sites_of_groups is not None:
                groups = np.array([number % 3 for number in range(both[0].slot_capacity)], np.int64)
                missing = demand.replicas + 1
                found = sites_of_groups.cheapest_by_group(groups, missing)
                assert list(zip(*[each.tolist() for each in found], strict=True)) == (
                    cheapest_by_group(orders[0], groups, missing)
                )
            decisions = [choose(demand, fleet, now=NOW) for fleet in both]
            assert decision_bytes(decisions[0]) == decision_bytes(decisions[1])
            for fleet in both:
                fleet.assume(demand, decisions[0])


@given(data=st.data())
def check_nested(data: st.DataObject) -> None:
    """The dynamic programme over nested levels and the integer program."""
    count = data.draw(st.integers(1, 12))
    city = data.draw(st.lists(st.integers(0, 8), min_size=count, max_size=count))
    cost = np.array(
        sorted(data.draw(st.lists(st.integers(1, 400), min_size=count, max_size=count)))
    )
    missing = data.draw(st.integers(1, 10))
    levels = [
        data.draw(nested_level("province", [each // 3 for each in city])),
        data.draw(nested_level("city", city)),
    ][: data.draw(st.integers(1, 2))]
    room = np.array(data.draw(st.lists(st.integers(0, 6), min_size=count, max_size=count)))
    room = np.minimum(room, missing)
    quick = divide_nested(room, cost / 100.0, levels, missing)
    if quick is None:
        return
    slow = search_cheapest_division(room, cost / 100.0, levels, missing)
    assert slow is not None
    assert satisfies(levels, quick)
    assert quick.sum() == missing
    # The solver rarely calls a division optimal that is not; the programme is never worse.
    assert quick @ cost < slow.replicas @ cost or quick.tolist() == slow.replicas.tolist()


@st.composite
def nested_level(draw: st.DrawFn, by: str, places: list[int]) -> Level:
    seen: dict[int, int] = {}
    group = np.array([seen.setdefault(each, len(seen)) for each in places], np.int64)
    groups = len(seen) + draw(st.integers(0, 2))
    held = np.array(draw(st.lists(st.integers(0, 2), min_size=groups, max_size=groups)), np.int64)
    least = draw(st.integers(1, 3))
    rule = Spread(
        by=by,
        min_groups=least,
        max_groups=draw(st.sampled_from((None, least, least + 1))),
        max_per_group=draw(st.sampled_from((None, 1, 3, 8))),
    )
    return Level(group, held, rule)


@given(data=st.data())
def check_arrays(data: st.DataObject) -> None:
    """Ranks of rules, grants, sums of costs, and profiles of sites."""
    kernel = compiled.kernel
    count = data.draw(st.integers(1, 20))

    def drawn(values: st.SearchStrategy[Any], dtype: type) -> Any:  # noqa: ANN401
        return np.array(data.draw(st.lists(values, min_size=count, max_size=count)), dtype)

    ranks = [drawn(st.sampled_from((0, 1, 2, 9, 255)), np.uint8) for _ in range(3)]
    for third in (None, ranks[2]):
        found, expected = (
            merge(ranks[0], ranks[1], third) for merge in (kernel.merge_ranks, _merge_ranks)
        )
        assert [each.tolist() for each in found] == [each.tolist() for each in expected]
    assert kernel.count_ranks(ranks[0], 12) == _count_ranks(ranks[0], 12)

    bits, accepted = drawn(st.integers(-1, 7), np.int64), drawn(st.integers(0, 7), np.int64)
    outcomes = []
    for apply in (kernel.apply_grant_rule, _apply_grant_rule):
        first, left, passed = ranks[0].copy(), bits.copy(), np.zeros(count, np.uint8)
        apply(first, left, accepted, passed, 5)
        outcomes.append((first.tolist(), left.tolist(), passed.tolist()))
    assert outcomes[0] == outcomes[1]

    figures = st.floats(-1e6, 1e6) | st.just(float("nan"))
    terms: list[Any] = [
        (None, data.draw(st.floats(0, 100)), SimpleNamespace(value=drawn(figures, np.float64)))
        for _ in range(data.draw(st.integers(0, 3)))
    ]
    sums = [add(terms, count).tobytes() for add in (kernel.sum_terms, _sum_terms)]
    assert sums[0] == sums[1]

    lengths = drawn(st.integers(0, 3), np.int64)
    starts = np.concatenate([[0], lengths.cumsum()[:-1]]).astype(np.int64)
    numbers = drawn(st.integers(0, count - 1), np.float64).take(
        np.arange(max(1, int(lengths.sum()))), mode="wrap"
    )[None, :]
    holds = drawn(st.integers(0, 1), np.uint8)
    for of_none in (0, 1):
        answers = [
            look(holds, numbers, starts, lengths, of_none).tolist()
            for look in (kernel.any_of_rows, any_of_rows)
        ]
        assert answers[0] == answers[1]


test_decisions, test_decisions_many_times = in_gate_and_soak(check_decisions)
test_nested_levels, test_nested_levels_many_times = in_gate_and_soak(check_nested)
test_arrays, test_arrays_many_times = in_gate_and_soak(check_arrays)
