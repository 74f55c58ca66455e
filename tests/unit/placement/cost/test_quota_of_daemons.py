"""The pods of DaemonSets count on every node that takes them."""

import pytest

from scheduler.control.state.quotas import Quotas
from scheduler.model.demand.demand import Demand
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from scheduler.placement.fleet.daemon_nodes import daemon_pods_at
from tests.support.one_site import tenant
from tests.support.pod_kinds import of_kind, template
from tests.support.sites import NOW, Raw, demand, fleet_of, nodes, site, workload


def node(count: int, *taints: str, **labels: str) -> Raw:
    listed = [{"key": each, "effect": "NoSchedule"} for each in taints]
    return {**nodes(count), "labels": labels, "taints": listed}


FLEET = fleet_of(
    site(
        "m1",
        node(3),
        node(2, zone="a"),
        node(4, "dedicated"),
        node(1, "node.kubernetes.io/not-ready"),
    ),
    site("m2", node(7)),
)


def daemons(quota: str = "", **pod: object) -> Demand:
    raw = workload(manifests=[of_kind("apps/v1", "DaemonSet", template=template(2000, **pod))])
    del raw["spec"]["demand"]
    limited = {"quota": {"cpu": quota}} if quota else {}
    return demand(raw, tenants=[tenant(**limited)])


@pytest.mark.parametrize(
    ("pod", "sites", "count"),
    [
        ({}, ["m1"], 6),
        ({}, ["m1", "m2"], 13),
        ({}, ["gone"], 0),
        ({"nodeSelector": {"zone": "a"}}, ["m1", "m2"], 2),
        ({"tolerations": [{"operator": "Exists"}]}, ["m1"], 10),
    ],
)
def test_a_daemon_runs_on_every_node_that_permits_it(
    pod: Raw, sites: list[str], count: int
) -> None:
    assert daemon_pods_at(daemons(**pod), FLEET, sites) == (count,)


def test_full_nodes_and_nodes_of_another_architecture_count_too() -> None:
    arm = {**nodes(2), "architecture": "arm64"}
    there = fleet_of(site("m1", nodes(1, cpu="0"), arm))
    assert daemon_pods_at(daemons(), there, ["m1"]) == (3,)


def test_daemons_beyond_the_quota_wait_and_the_answer_names_the_sum() -> None:
    there = fleet_of(site("m1", nodes(3, cpu="8")))
    assert choose(daemons("6"), there, now=NOW).phase == "Placed"
    decision = choose(daemons("1"), there, now=NOW)
    assert (decision.phase, decision.reasons) == ("Waiting", {"quota": 1})
    assert "requests 6" in decision.line
    explained = explain(daemons("1"), there, now=NOW)
    assert explained.decision.reasons == {"quota": 1}


def test_the_running_scheduler_counts_daemons_of_others() -> None:
    quotas = Quotas(daemon_pods_of=lambda one, sites: daemon_pods_at(one, FLEET, sites))
    quotas.set_usage(("ns", "app"), daemons(), {"m1": 1, "m2": 1})
    assert quotas.used_by({"ns"}, excluding=("ns", "x"))["cpu"] == 13 * 2000
