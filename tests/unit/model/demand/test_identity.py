"""Pods with numbers stay at one site unless a workload says otherwise."""

from typing import Any

import pytest

from scheduler.control.orders.build import orders_of
from scheduler.control.ports.agents import OrderForSite
from scheduler.control.status.migration import SiteShare
from scheduler.model.decode import decode, decode_as
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.identity import AT_ONE_SITE
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.policy import ClusterPlacementPolicy
from scheduler.model.kinds.workload import Workload
from scheduler.placement.choose import choose
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.fleet.context import decision_context
from tests.support.sites import NOW, demand_or_refusal, fleet_of, nodes, site, workload

Json = dict[str, Any]


def numbered(kind: str = "StatefulSet", *, pods: int = 4, **placement: Any) -> Json:  # noqa: ANN401
    counts: Json = {"replicas": pods}
    if kind == "Job":
        counts = {"completionMode": "Indexed", "completions": pods, "parallelism": pods}
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}
    raw = workload(1, name="db")
    raw["spec"].pop("demand", None)
    raw["spec"]["manifests"] = [
        {
            "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
            "kind": kind,
            "metadata": {"name": "db"},
            "spec": {**counts, "template": {"spec": {"containers": [container]}}},
        }
    ]
    raw["spec"]["placement"] = placement
    return raw


TWO: Json = {"strategy": "Weighted", "weights": [{"site": f"s{n}", "weight": 1} for n in (1, 2)]}


@pytest.mark.parametrize("kind", ["StatefulSet", "Job"])
@pytest.mark.parametrize(
    "placement", [{}, TWO, {"strategy": "Balanced"}, {"strategy": "Aggregated"}]
)
def test_numbered_pods_stay_at_one_site_by_every_strategy(kind: str, placement: Json) -> None:
    demand = demand_or_refusal(numbered(kind, **placement))
    assert isinstance(demand, Demand)
    fleet = fleet_of(site("s1", nodes(3, cpu="8")), site("s2", nodes(3, cpu="4")))
    decision = choose(demand, fleet, now=NOW)
    assert [each.replicas for each in decision.assignment] == [4]


def test_pods_that_are_only_counted_are_divided_unless_the_workload_says_whole() -> None:
    fleet = fleet_of(site("s1", nodes(3, cpu="8")), site("s2", nodes(3, cpu="8")))
    sizes = {}
    for identity in (None, "Whole"):
        asked = {**TWO, **({"identity": identity} if identity else {})}
        demand = demand_or_refusal(numbered("Deployment", **asked))
        assert isinstance(demand, Demand)
        sizes[identity] = [one.replicas for one in choose(demand, fleet, now=NOW).assignment]
    assert sizes == {None: [2, 2], "Whole": [4]}


@pytest.mark.parametrize(
    "placement",
    [
        {"spread": [{"by": "site", "minGroups": 2}]},
        {"spread": [{"by": "city", "maxPerGroup": 2}]},
        {"preset": "two-places-three-centres"},
        {"preset": "same-city-active-active"},
        {"strategy": "Duplicated", "identity": "Whole"},
    ],
)
def test_a_rule_that_divides_numbered_pods_is_refused_with_the_way_out(placement: Json) -> None:
    refusal = demand_or_refusal(numbered(**placement))
    assert isinstance(refusal, NotAccepted)
    assert refusal.condition == "IdentityNotDivisible"
    assert "identity: PerSite" in refusal.message
    assert isinstance(demand_or_refusal(numbered(**placement | {"identity": "PerSite"})), Demand)


def test_what_ran_at_two_sites_before_is_not_taken_away() -> None:
    raw = numbered()
    raw["status"] = {
        "placement": {"groups": [{"sites": ["s1", "s2"], "replicas": 2, "phase": "Running"}]}
    }
    demand = demand_or_refusal(raw)
    assert isinstance(demand, Demand)
    decision = choose(demand, fleet_of(site("s1", nodes(3)), site("s2", nodes(3))), now=NOW)
    assert {one.site: one.replicas for one in decision.assignment} == {"s1": 2, "s2": 2}


def test_no_change_is_suggested_that_divides_numbered_pods() -> None:
    demand = demand_or_refusal(numbered())
    assert isinstance(demand, Demand)
    assert AT_ONE_SITE in demand.spread
    fleet = fleet_of(site("s1", nodes(1, cpu="3")), site("s2", nodes(1, cpu="3")))
    assert choose(demand, fleet, now=NOW).phase == "Waiting"
    changes = suggest_changes(demand, fleet, decision_context(NOW, DEFAULT_TERMS))
    assert changes
    assert not any("spread" in each.kind for each in changes)


def test_a_job_never_asks_for_more_pods_than_it_completes() -> None:
    raw = numbered("Job", pods=2)
    raw["spec"]["manifests"][0]["spec"]["parallelism"] = 40
    for replicas in (None, 9):
        raw["spec"]["replicas"] = replicas
        demand = demand_or_refusal(raw)
        assert isinstance(demand, Demand)
        assert demand.replicas == 2


def test_orders_of_a_set_per_site_carry_the_name_of_the_site() -> None:
    raw = numbered()
    raw["status"] = {"placement": {"identity": "PerSite"}}
    shares = {name: SiteShare(2, 1) for name in ("s1", "s2")}
    orders = orders_of(_decoded(raw), "id", shares, None, {})
    named = {name: _first(one)["metadata"]["name"] for name, one in orders.items()}
    assert named == {"s1": "db-s1", "s2": "db-s2"}
    leaving = {"s1": SiteShare(0, 1, leaving=2)}
    again = orders_of(_decoded(raw), "id", leaving, None, orders)
    assert again["s1"].manifests == orders["s1"].manifests


def test_orders_of_a_job_add_up_to_its_completions() -> None:
    raw = numbered("Job", pods=28)
    job = raw["spec"]["manifests"][0]["spec"]
    job |= {"completions": 100, "completionMode": "NonIndexed"}
    shares = {"s1": SiteShare(24, 1, completions=86), "s2": SiteShare(4, 1, completions=14)}
    orders = orders_of(_decoded(raw), "id", shares, None, {})
    specs = [_first(one)["spec"] for one in orders.values()]
    assert [(one["completions"], one["parallelism"]) for one in specs] == [(86, 24), (14, 4)]


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (numbered("Job", identity="Ranges"), "no spec.ordinals.start"),
        (numbered(identity="Ranges", strategy="Duplicated"), "Duplicated"),
        (numbered(identity="Ranges", mode="Fresh"), "write mode: Steady"),
        (numbered(identity="Ranges", preset="two-places-three-centres"), "preset"),
    ],
)
def test_what_cannot_have_ranges_is_refused_with_the_way_out(raw: Json, problem: str) -> None:
    refusal = demand_or_refusal(raw)
    assert isinstance(refusal, NotAccepted)
    assert problem in refusal.message
    assert "; write " in refusal.message


def test_a_set_in_ranges_has_no_autoscaler_at_a_site() -> None:
    raw = numbered(identity="Ranges")
    target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"}
    raw["spec"]["manifests"].append(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "scales"},
            "spec": {"scaleTargetRef": target, "maxReplicas": 9},
        }
    )
    refusal = demand_or_refusal(raw)
    assert isinstance(refusal, NotAccepted)
    assert "HorizontalPodAutoscaler scales" in refusal.message


def test_ranges_of_several_sites_that_are_not_recorded_are_not_guessed() -> None:
    raw = numbered(identity="Ranges")
    groups = [{"sites": ["s1", "s2"], "replicas": 2, "phase": "Running"}]
    raw["status"] = {"placement": {"groups": groups}}
    refusal = demand_or_refusal(raw)
    assert isinstance(refusal, NotAccepted)
    assert "scale the Workload to 0" in refusal.message
    raw["spec"]["replicas"] = 0
    assert isinstance(demand_or_refusal(raw), Demand)


def test_a_site_with_a_range_gets_more_only_where_no_other_range_changes() -> None:
    raw = numbered(pods=6, identity="Ranges")
    groups = [
        {"sites": [name], "replicas": 2, "phase": "Running", "ordinals": {"first": first}}
        for name, first in (("s1", 0), ("s2", 2))
    ]
    raw["status"] = {"placement": {"groups": groups, "identity": "Ranges"}}
    demand = demand_or_refusal(raw)
    assert isinstance(demand, Demand)
    fleet = fleet_of(site("s1", nodes(9)), site("s2", nodes(1, cpu="1")), site("s3", nodes(1)))
    decision = choose(demand, fleet, now=NOW)
    placed = {one.site: one.replicas for one in decision.assignment}
    assert placed["s1"] == 2
    assert sum(placed.values()) == 6
    assert any(note.startswith("ordinals: s1 0-1, s2 2") for note in decision.notes)
    raw["spec"]["replicas"] = 3
    fewer = demand_or_refusal(raw)
    assert isinstance(fewer, Demand)
    assert {one.site: one.replicas for one in choose(fewer, fleet, now=NOW).assignment} == {
        "s1": 2,
        "s2": 1,
    }


def _first(order: OrderForSite) -> Json:
    return dict(order.manifests[0])


def _decoded(raw: Json) -> Workload:
    found = decode(raw)
    assert isinstance(found, Workload)
    return found


@pytest.mark.parametrize(
    ("shared", "own", "applies"),
    [
        (["Whole"], "PerSite", "Whole"),
        (["PerSite"], None, "PerSite"),
        (["PerSite"], "Whole", "Whole"),
        ([], None, "Whole"),
    ],
)
def test_a_cluster_policy_may_keep_sets_whole(
    shared: list[str], own: str | None, applies: str
) -> None:
    placement: Json = {"identity": own} if own else {}
    raw = numbered(**placement)
    policies = [
        decode_as(
            {
                "apiVersion": raw["apiVersion"],
                "kind": "ClusterPlacementPolicy",
                "metadata": {"name": "all"},
                "spec": {"placement": {"identity": each}},
            },
            ClusterPlacementPolicy,
        )
        for each in shared
    ]
    demand = demand_or_refusal(raw, cluster_policies=policies)
    assert isinstance(demand, Demand)
    assert demand.identity == applies
