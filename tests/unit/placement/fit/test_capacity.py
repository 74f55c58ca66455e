"""Node by node: selectors, taints, skew, sets of pods."""

from typing import Any

import pytest

from scheduler.placement.choose import choose
from tests.support.sites import NOW, Raw, demand, fleet_of, site, workload


def node(labels: Raw | None = None, *, count: int = 1, **more: Any) -> Raw:  # noqa: ANN401 - fields
    free = {"count": count, "cpu": "4", "memory": "64Gi", "pods": 110}
    return {"architecture": "amd64", "labels": labels or {}, "free": [free], **more}


def deployment(replicas: int, *, cpu: str = "1", name: str = "web", **spec: object) -> Raw:
    pod = {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}], **spec}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "template": template},
    }


def most(make: Any, *classes: Raw) -> int:  # noqa: ANN401 - makes manifests of a number
    """The most replicas that one site takes."""
    fleet = fleet_of(site("m1", *classes))
    fitting = 0
    for replicas in range(1, 30):
        asked = workload()
        del asked["spec"]["demand"]
        asked["spec"]["manifests"] = make(replicas)
        if choose(demand(asked), fleet, now=NOW).phase != "Placed":
            break
        fitting = replicas
    return fitting


SELF = {"matchLabels": {"app": "web"}}


def affinity(key: str) -> Raw:
    term = {"topologyKey": key, "labelSelector": SELF}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def skew(key: str, most_skew: int, **more: object) -> list[Raw]:
    rule = {"topologyKey": key, "maxSkew": most_skew, "labelSelector": SELF}
    return [{**rule, "whenUnsatisfiable": "DoNotSchedule", **more}]


def node_affinity(operator: str, *values: str) -> Raw:
    term = {"matchExpressions": [{"key": "rank", "operator": operator, "values": list(values)}]}
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}
        }
    }


def node_name(operator: str, *names: str) -> Raw:
    term = {"matchFields": [{"key": "metadata.name", "operator": operator, "values": list(names)}]}
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}
        }
    }


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, 12),
        ({"nodeSelector": {"zone": "a"}}, 4),
        ({"nodeSelector": {"zone": "c"}}, 0),
        ({"nodeSelector": {"kubernetes.io/arch": "amd64"}}, 12),
        ({"affinity": affinity("kubernetes.io/hostname")}, 3),
        ({"affinity": affinity("zone")}, 2),
        ({"affinity": node_affinity("Gt", "1")}, 8),
        ({"affinity": node_affinity("Lt", "2")}, 4),
        ({"affinity": node_affinity("In", "1", "9")}, 4),
        ({"affinity": node_affinity("NotIn", "1")}, 8),
        ({"affinity": node_affinity("DoesNotExist")}, 0),
        ({"affinity": node_name("In", "n1")}, 4),
        ({"affinity": node_name("NotIn", "n1")}, 0),  # of the others no name was reported
        ({"affinity": node_affinity("Gt", "1", "2")}, 0),
        # zone a takes 4, zone b 8: at most one more than the emptier
        ({"topologySpreadConstraints": skew("zone", 1)}, 9),
        ({"topologySpreadConstraints": skew("zone", 3)}, 11),
        ({"topologySpreadConstraints": skew("kubernetes.io/hostname", 1)}, 12),
        ({"topologySpreadConstraints": skew("zone", 1, minDomains=3)}, 2),
        ({"topologySpreadConstraints": skew("nowhere", 1)}, 0),
        (
            {
                "topologySpreadConstraints": skew("zone", 1),
                "nodeSelector": {"zone": "a"},
            },
            4,
        ),
        (
            {
                "topologySpreadConstraints": skew("zone", 1, nodeAffinityPolicy="Ignore"),
                "nodeSelector": {"zone": "a"},
            },
            1,
        ),
    ],
    ids=str,
)
def test_pods_fit_only_where_the_kubernetes_scheduler_would_bind_them(
    spec: Raw, expected: int
) -> None:
    named = {"kubernetes.io/hostname": "n1"}
    classes = [node({"zone": "a", "rank": "1", **named}), node({"zone": "b", "rank": "2"}, count=2)]
    assert most(lambda replicas: [deployment(replicas, **spec)], *classes) == expected


def test_taints_of_nodes_keep_pods_away_unless_tolerated() -> None:
    tainted = node(taints=[{"key": "gpu", "effect": "NoSchedule"}])
    assert most(lambda replicas: [deployment(replicas)], tainted, node()) == 4
    tolerating: Raw = {"tolerations": [{"key": "gpu", "operator": "Exists"}]}
    assert most(lambda replicas: [deployment(replicas, **tolerating)], tainted, node()) == 8


@pytest.mark.parametrize(("policy", "expected"), [("Ignore", 1), ("Honor", 4)])
def test_tainted_nodes_are_domains_unless_the_policy_honours_taints(
    policy: str, expected: int
) -> None:
    tainted = node({"zone": "b"}, taints=[{"key": "x", "effect": "NoSchedule"}])
    rule = skew("zone", 1, nodeTaintsPolicy=policy)
    made: Raw = {"topologySpreadConstraints": rule}
    found = most(lambda replicas: [deployment(replicas, **made)], tainted, node({"zone": "a"}))
    assert found == expected


def test_a_set_of_pods_is_placed_whole() -> None:
    def both(replicas: int) -> list[Raw]:
        return [deployment(1, cpu="3", name="a"), deployment(replicas, name="b")]

    assert most(both, node(count=2)) == 5
    assert most(both, node(count=3)) == 9


def test_small_sets_are_searched_where_first_fit_would_fail() -> None:
    def three(replicas: int) -> list[Raw]:
        sizes = ["2", "2", "1500m", "1500m", "1"][: 4 + replicas]
        return [deployment(1, cpu=size, name=f"d{place}") for place, size in enumerate(sizes)]

    assert most(three, node(count=2)) >= 1


def test_a_daemon_set_takes_its_share_of_every_node_first() -> None:
    daemon = {**deployment(1, cpu="1"), "kind": "DaemonSet", "metadata": {"name": "d"}}
    assert most(lambda replicas: [deployment(replicas), daemon], node(count=2)) == 6


def test_scheduler_features_that_are_not_modelled_are_named() -> None:
    asked = workload()
    del asked["spec"]["demand"]
    other = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "other"}}}
    rule = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [other]}}
    asked["spec"]["manifests"] = [deployment(1, affinity=rule)]
    decision = choose(demand(asked), fleet_of(site("m1", node())), now=NOW)
    assert decision.notes == ("not modelled: podAffinity",)
