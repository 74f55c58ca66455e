"""A small trace in time: which pods run, wait or are refused, and why."""

import random

import pytest

from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.policy import Placement, PlacementPolicy, PolicySpec
from scheduler.runtime.clock import SystemClock
from scheduler.simulation.trace.binder import SiteBinder
from scheduler.simulation.trace.grouping import SiteRecord, group_nodes
from scheduler.simulation.trace.kapok import KapokChooser, UnsupportedTracePolicy
from scheduler.simulation.trace.reading import NodeRecord, PodRecord, TracePodShape
from scheduler.simulation.trace.report import TraceComparison
from scheduler.simulation.trace.runner import TraceOutcome, TraceRunner
from scheduler.simulation.trace.simulate import Trace, simulate


def _node(name: str, cpu: int = 8000, cards: int = 0, model: str = "") -> NodeRecord:
    return NodeRecord(name=name, cpu_milli=cpu, memory_mib=32_768, card_count=cards, model=model)


def _pod(
    name: str, start: int, end: int | None, cpu: int = 1000, **gpu: int | tuple[str, ...]
) -> PodRecord:
    cards, milli, models = gpu.get("cards", 0), gpu.get("milli", 0), gpu.get("models", ())
    assert isinstance(cards, int)
    assert isinstance(milli, int)
    assert isinstance(models, tuple)
    return PodRecord(
        name=name,
        shape=TracePodShape(
            cpu_milli=cpu, memory_mib=1024, card_count=cards, card_milli=milli, models=models
        ),
        created_seconds=start,
        deleted_seconds=end,
    )


def _policy(**placement: str) -> PlacementPolicy:
    spec = PolicySpec(placement=Placement(**placement))  # type: ignore[arg-type]
    return PlacementPolicy(metadata=Metadata(name="test", namespace="trace"), spec=spec)


def _play(nodes: list[NodeRecord], pods: list[PodRecord], sites: int = 1) -> TraceComparison:
    return simulate(
        Trace(nodes=nodes, pods=pods, site_count=sites),
        _policy(strategy="CostOptimal"),
        clock=SystemClock(),
        progress=lambda _name, _done, _whole: None,
    )


def _kapok(nodes: list[NodeRecord], pods: list[PodRecord], sites: int = 1) -> TraceOutcome:
    return _play(nodes, pods, sites).kapok


def _starts(outcome: TraceOutcome) -> dict[str, int]:
    return {one.pod.name: one.start_seconds for one in outcome.assignments}


def test_a_pod_waits_until_capacity_is_freed_and_then_starts_at_once() -> None:
    outcome = _kapok([_node("n")], [_pod("a", 0, 50, 8000), _pod("b", 10, 90, 8000)])
    assert _starts(outcome) == {"a": 0, "b": 50}
    assert (outcome.waited, outcome.refused.total()) == (1, 0)


def test_a_pod_that_leaves_before_there_is_capacity_is_refused_as_full() -> None:
    outcome = _kapok([_node("n")], [_pod("a", 0, 50, 8000), _pod("b", 10, 50, 8000)])
    assert _starts(outcome) == {"a": 0}
    assert outcome.refused == {"full": 1}


def test_a_pod_for_which_only_the_sum_would_do_is_refused_as_fragmented() -> None:
    nodes = [_node(f"n{number}", 4000) for number in range(4)]
    outcome = _kapok(nodes, [_pod("a", 0, 50, 6000)])
    assert outcome.refused == {"fragmented": 1}


def test_the_oldest_waiting_pod_is_tried_first_and_the_small_one_is_placed_too() -> None:
    pods = [
        _pod("a", 0, 50, 8000),
        _pod("large", 1, 90, 9000),
        _pod("b", 2, 90, 5000),
        _pod("c", 3, 90, 5000),
        _pod("d", 4, 90, 3000),
    ]
    outcome = _kapok([_node("n")], pods)
    assert _starts(outcome) == {"a": 0, "b": 50, "d": 50}
    assert outcome.refused.total() == 2


def test_a_pod_that_ends_when_it_arrives_uses_no_capacity() -> None:
    outcome = _kapok([_node("n")], [_pod("a", 5, 5, 8000), _pod("b", 5, 9, 8000)])
    assert _starts(outcome) == {"a": 5, "b": 5}


def test_shares_of_one_card_add_up_to_one_card() -> None:
    pods = [_pod(f"p{n}", 0, 50, cards=1, milli=400) for n in range(5)]
    outcome = _kapok([_node("n", cards=2)], pods)
    assert sorted(one.card_indexes for one in outcome.assignments) == [(0,), (0,), (1,), (1,)]
    assert outcome.refused == {"fragmented": 1}


def test_two_cards_of_a_share_are_two_different_cards() -> None:
    pods = [_pod("whole", 0, 50, cards=1, milli=1000), _pod("two", 0, 50, cards=2, milli=300)]
    outcome = _kapok([_node("n", cards=2), _node("m", cards=2)], pods)
    (two,) = [one for one in outcome.assignments if one.pod.name == "two"]
    assert two.card_indexes == (0, 1)


def test_a_card_model_that_was_named_is_kept() -> None:
    nodes = [_node("t4", cards=8, model="T4"), _node("a10", cards=1, model="A10")]
    pods = [_pod("p", 0, 50, cards=1, milli=500, models=("A10",))]
    for outcome in (_kapok(nodes, pods), _kapok(nodes, pods, sites=2)):
        assert [one.node for one in outcome.assignments] == ["a10"]


def test_the_sum_of_free_capacity_misleads_and_the_placement_code_does_not() -> None:
    small = [_node(f"a{n}", cards=2, model="P100") for n in range(8)]
    nodes = [*small, _node("b", cards=8, model="V")]
    pods = [_pod("big", 0, 50, cards=8, milli=1000)]
    run = _play(nodes, pods, sites=3)
    assert run.baselines["sum-of-free"].wrong_fits == 0
    nodes += [_node(f"c{n}", cards=2, model="P100") for n in range(16)]
    run = _play(nodes, pods, sites=2)
    assert run.baselines["sum-of-free"].wrong_fits == 1
    assert run.kapok.wrong_fits == 0
    assert [one.node for one in run.kapok.assignments] == ["b"]


def test_round_robin_counts_every_site_that_could_not_hold_the_pod() -> None:
    nodes = [_node("cpu", cards=0), _node("gpu", cards=4, model="T4")]
    pods = [_pod(f"p{n}", n, 50 + n, cards=1, milli=1000) for n in range(4)]
    run = _play(nodes, pods, sites=2)
    assert run.baselines["round-robin"].wrong_fits == 2
    assert len(run.kapok.assignments) == 4


def test_allocation_is_a_ratio_of_the_capacity_over_time() -> None:
    ratios = _kapok([_node("n")], [_pod("a", 0, 50, 4000), _pod("b", 50, 100, 8000)]).usage.ratios()
    assert ratios["cpu"] == {"peak": 1.0, "mean": 0.75}
    assert ratios["gpu"] == {"peak": 0.0, "mean": 0.0}


def test_every_pod_is_placed_refused_or_still_waits() -> None:
    chance = random.Random(7)  # noqa: S311 - a seeded example
    nodes = [
        _node(f"n{n}", chance.choice([4000, 8000]), chance.choice([0, 2, 4])) for n in range(9)
    ]
    pods = [
        _pod(
            f"p{n}",
            start := chance.randrange(500),
            None if chance.random() < 0.05 else start + chance.randrange(200),
            chance.choice([500, 1000, 4000, 8000]),
            **chance.choice(
                [{}, *({"cards": c, "milli": m} for c, m in ((1, 300), (1, 700), (2, 1000)))]
            ),
        )
        for n in range(400)
    ]
    run = _play(nodes, pods, sites=3)
    for outcome in (run.kapok, *run.baselines.values()):
        whole = len(outcome.assignments) + outcome.refused.total() + outcome.waiting
        assert whole == len(pods)
    assert run.kapok.wrong_fits == 0
    assert run.kapok.refused.total() > 0
    assert len(run.kapok.assignments) >= len(run.baselines["round-robin"].assignments)


def test_the_same_trace_gives_the_same_assignments() -> None:
    nodes = [_node(f"n{n}", cards=n % 3) for n in range(6)]
    pods = [_pod(f"p{n}", n, n + 40, 3000) for n in range(50)]
    first, second = (_kapok(nodes, pods, sites=2).assignments for _ in range(2))
    assert first == second


def test_sites_differ_by_one_node_at_most_and_a_seed_shuffles_them() -> None:
    nodes = [_node(f"n{n}", model="AB"[n % 2]) for n in range(11)]
    sites = group_nodes(nodes, 3, seed=None)
    assert sorted(len(site.nodes) for site in sites) == [3, 4, 4]
    assert {node.model for node in sites[0].nodes} == {"A"}
    shuffled = group_nodes(nodes, 3, seed=1)
    assert shuffled != sites
    assert shuffled == group_nodes(nodes, 3, seed=1)


@pytest.mark.parametrize("sites", [0, -1, 4])
def test_there_are_no_more_sites_than_nodes(sites: int) -> None:
    with pytest.raises(ValueError, match=f"--sites {sites}: expected 1 to 3, the number of nodes"):
        group_nodes([_node(f"n{n}") for n in range(3)], sites, seed=None)


def test_a_policy_that_runs_a_pod_twice_is_refused() -> None:
    binders = [SiteBinder(SiteRecord("s", (_node("n"),)))]
    kapok = KapokChooser(
        sites=binders, names=["s"], policy=_policy(strategy="Duplicated"), clock=SystemClock()
    )
    with pytest.raises(UnsupportedTracePolicy, match="a pod runs once"):
        TraceRunner(sites=binders, chooser=kapok, pods=[_pod("a", 0, 9)]).run()
