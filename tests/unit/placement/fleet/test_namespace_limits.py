"""ResourceQuota and LimitRange of the workload's namespace, as sites report them."""

from typing import Any

import pytest

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import InFlight
from scheduler.model.quantities import NotAQuantity
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.namespace_limits import NamespaceLimitIndex
from tests.support.sites import NOW, Raw, demand, facts_of, fleet_of, grant, nodes, site, workload

NODES = nodes(20, cpu="4", memory="8Gi")


def deployment(*containers: Raw, replicas: int = 1, **spec: object) -> Raw:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "template": {"spec": {"containers": list(containers), **spec}},
        },
    }


def container(requests: Raw | None = None, limits: Raw | None = None, name: str = "c") -> Raw:
    return {"name": name, "resources": {"requests": requests or {}, "limits": limits or {}}}


def asking(*manifests: Raw, replicas: int | None = None, placed: int = 0) -> Demand:
    asked = workload(placed={"m1": placed} if placed else {})
    del asked["spec"]["demand"]
    asked["spec"] |= {"manifests": list(manifests)}
    if replicas is not None:
        asked["spec"]["replicas"] = replicas
    return demand(asked)


def limited(*flights: InFlight, **limits: Any) -> Fleet:  # noqa: ANN401 - fields of NamespaceLimits
    found = site("m1", NODES, namespaces=[{"name": "ns", **limits}])
    return Fleet([facts_of(found, grant("m1"), in_flight=flights)])


def most(fleet: Fleet, *containers: Raw, placed: int = 0) -> int:
    """The most replicas that are placed."""
    fits = 0
    for replicas in range(1, 20):
        asked = asking(deployment(*containers), replicas=replicas, placed=placed)
        if choose(asked, fleet, now=NOW).phase != "Placed":
            break
        fits = replicas
    return fits


ONE = container({"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"})


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ({"requests.cpu": "3"}, 3),
        ({"cpu": "3500m"}, 3),
        ({"limits.cpu": "7"}, 3),
        ({"requests.memory": "2Gi"}, 2),
        ({"limits.memory": "2.5Gi"}, 2),
        ({"pods": 4}, 4),
        ({"count/pods": 5, "pods": 9}, 5),
        ({"pods": 0}, 0),
        ({"requests.nvidia.com/gpu": 0}, 19),
        ({"count/deployments.apps": 0, "services": 0, "requests.storage": "0"}, 19),
        ({}, 19),
    ],
    ids=str,
)
def test_a_site_takes_what_the_quotas_of_the_namespace_leave(left: Raw, expected: int) -> None:
    assert most(limited(quotaLeft=left), ONE) == expected


def test_extended_resources_count_by_their_quota() -> None:
    there = {**NODES, "free": [{**NODES["free"][0], "nvidia.com/gpu": 8}]}
    limits = {"name": "ns", "quotaLeft": {"requests.nvidia.com/gpu": 5}}
    fleet = fleet_of(site("m1", there, namespaces=[limits]))
    two = container({"nvidia.com/gpu": 2})
    assert most(fleet, two) == 2


def test_replicas_in_flight_count_against_the_quota_of_their_own_namespace_only() -> None:
    mine = InFlight(workload="ns/other", replicas=2, requests={"cpu": 1000, "pods": 1})
    others = InFlight(workload="nsx/other", replicas=2, requests={"cpu": 1000, "pods": 1})
    assert most(limited(mine, quotaLeft={"pods": 5}), ONE) == 3
    assert most(limited(others, quotaLeft={"pods": 5}), ONE) == 5


def test_running_replicas_count_in_the_quota_and_keep_their_capacity() -> None:
    assert most(limited(quotaLeft={"pods": 2}), ONE, placed=3) == 5


def test_a_namespace_that_no_site_lists_has_no_limit() -> None:
    fleet = fleet_of(site("m1", NODES, namespaces=[{"name": "x", "quotaLeft": {"pods": 0}}]))
    assert most(fleet, ONE) == 19
    assert fleet.namespace_limits.by_slot("ns") is None


def test_the_decision_and_the_explanation_name_the_quota() -> None:
    fleet = limited(
        quotaLeft={"requests.cpu": "2", "count/secrets": 1}, notCounted=["scoped-quota"]
    )
    asked = asking(deployment(ONE), replicas=3)
    decision = choose(asked, fleet, now=NOW)
    assert (decision.phase, decision.reasons) == ("Waiting", {"quota": 1})
    assert decision.notes == (
        "not modelled: count/secrets of the namespace's limits",
        "not modelled: scoped-quota of the namespace's limits",
    )
    explained = explain(asked, fleet, now=NOW).sites[0]
    assert explained.room == 2
    assert explained.verdicts[-1].reason == "quota"
    assert (
        "the ResourceQuotas of namespace ns there allow no more" in explained.verdicts[-1].sentence
    )


@pytest.mark.parametrize(
    ("limits", "pod", "sentence"),
    [
        (
            {"quotaLeft": {"requests.cpu": "9"}},
            container({"memory": "1Gi"}),
            "container c must name requests.cpu, as a quota counts it",
        ),
        (
            {"quotaLeft": {"limits.memory": "9Gi"}},
            container({"memory": "1Gi"}),
            "container c must name limits.memory, as a quota counts it",
        ),
        ({"quotaLeft": {"requests.cpu": "9"}}, container({"cpu": "0"}), ""),
        ({"quotaLeft": {"requests.cpu": "9"}}, container({}, {"cpu": "1"}), ""),
        (
            {"containerMax": {"cpu": "1"}},
            container({"cpu": "1"}, {"cpu": "2"}),
            "container c may take 2 of cpu; the most is 1",
        ),
        (
            {"containerMax": {"cpu": "1"}},
            container({"cpu": "1"}),
            "container c has no limit of cpu; the most is 1",
        ),
        ({"containerMax": {"cpu": "1"}}, container({"cpu": "1"}, {"cpu": "1"}), ""),
        (
            {"containerMin": {"memory": "1Gi"}},
            container({"memory": "512Mi"}),
            "container c asks for 512Mi of memory; the least is 1Gi",
        ),
        (
            {"containerMin": {"memory": "1Gi"}},
            container({"cpu": "1"}),
            "container c asks for nothing of memory; the least is 1Gi",
        ),
        (
            {"podMax": {"cpu": "1"}},
            container({"cpu": "500m"}, {"cpu": "2"}),
            "the pod may take 2 of cpu; the most is 1",
        ),
        (
            {"podMin": {"cpu": "1"}},
            container({"cpu": "500m"}),
            "the pod asks for 500m of cpu; the least is 1",
        ),
        (
            {
                "containerMax": {"cpu": "2"},
                "containerDefault": {"cpu": "2"},
                "containerDefaultRequest": {"cpu": "1"},
            },
            container(),
            "",
        ),
    ],
    ids=str,
)
def test_a_pod_that_the_api_server_would_refuse_is_refused_with_the_limit(
    limits: Raw, pod: Raw, sentence: str
) -> None:
    fleet = limited(**limits)
    asked = asking(deployment(pod))
    decision = choose(asked, fleet, now=NOW)
    assert decision.reasons == ({"quota": 1} if sentence else {})
    verdicts = explain(asked, fleet, now=NOW).sites[0].verdicts
    mine = next(each for each in verdicts if each.rule == "site-limits")
    assert mine.passed == (not sentence)
    assert sentence in mine.sentence


def test_requests_that_a_limit_range_adds_count_on_the_nodes_and_in_the_quota() -> None:
    defaults = {"containerDefaultRequest": {"cpu": "3"}, "containerDefault": {"cpu": "4"}}
    assert most(limited(**defaults), container(), container(name="d")) == 0
    assert most(limited(**defaults), container()) == 19
    small = site("m1", nodes(3, cpu="4"), namespaces=[{"name": "ns", **defaults}])
    assert most(fleet_of(small), container()) == 3
    assert most(limited(**defaults, quotaLeft={"requests.cpu": "7"}), container()) == 2
    assert most(limited(**defaults), container({"cpu": "2"})) == 19


def test_limits_that_cannot_be_read_are_refused_by_name() -> None:
    found = facts_of(site("m1", namespaces=[{"name": "ns", "quotaLeft": {"pods": "many"}}]))
    with pytest.raises(NotAQuantity, match=r"Site m1: status.namespaces: 'many' is not a quantity"):
        NamespaceLimitIndex().parse(found)


def test_limits_follow_the_reports_and_go_with_the_site() -> None:
    fleet = limited(quotaLeft={"pods": 1})
    assert most(fleet, ONE) == 1
    fleet.upsert(facts_of(site("m1", NODES), grant("m1")))
    assert fleet.namespace_limits.by_slot("ns") is None
    fleet.upsert(limited(quotaLeft={"pods": 2}).facts_of("m1"))
    assert most(fleet, ONE) == 2
    fleet.remove("m1")
    assert fleet.namespace_limits.by_slot("ns") is None


def test_a_namespace_that_is_listed_twice_can_change_and_go() -> None:
    twice = [{"name": "ns", "quotaLeft": {"pods": 3}}, {"name": "ns", "quotaLeft": {"pods": 1}}]
    fleet = Fleet([facts_of(site("m1", NODES, namespaces=twice), grant("m1"))])
    assert most(fleet, ONE) == 1
    changed = [{"name": "ns", "quotaLeft": {"pods": 2}}, *twice[:1]]
    fleet.upsert(facts_of(site("m1", NODES, namespaces=changed), grant("m1")))
    assert most(fleet, ONE) == 3
    fleet.remove("m1")
    assert fleet.namespace_limits.by_slot("ns") is None
