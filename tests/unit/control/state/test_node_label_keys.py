"""Agents are told which node labels workloads ask for: bounded, fair, and changed seldom."""

from typing import Any

from scheduler.control.state.node_label_keys import NodeLabelKeys, keys_of
from scheduler.model.demand.demand import Demand
from tests.support.sites import demand, workload


class Keys(NodeLabelKeys):
    """Counts the changes."""

    def __init__(self) -> None:
        self.changes = 0
        super().__init__(on_change=self._count)

    def _count(self) -> None:
        self.changes += 1


def selecting(*keys: str) -> Demand:
    return demand(workload(demand={"nodeSelector": dict.fromkeys(keys, "v")}))


def pod_with(**spec: Any) -> Demand:  # noqa: ANN401 - any JSON
    pod = {"containers": [{"name": "c", "image": "i"}], **spec}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod},
        },
    }
    raw = workload(manifests=[manifest])
    del raw["spec"]["demand"]
    return demand(raw)


def test_selectors_affinities_spreads_and_names_are_asked_for() -> None:
    rack = {"key": "rack", "operator": "Exists"}
    named = {"key": "metadata.name", "operator": "In", "values": ["n1"]}
    apart = {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "row"}
    spread = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"a": "b"}},
    }
    terms = [{"matchExpressions": [rack], "matchFields": [named]}]
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    found = pod_with(
        nodeSelector={"disk": "ssd"},
        affinity={
            "nodeAffinity": {required: {"nodeSelectorTerms": terms}},
            "podAntiAffinity": {required: [apart]},
        },
        topologySpreadConstraints=[spread, spread | {"topologyKey": "kubernetes.io/hostname"}],
    )
    asked = {"disk", "rack", "kubernetes.io/hostname", "row", "zone"}
    assert set(keys_of(found)) == asked


def test_a_spread_over_hosts_asks_for_no_names() -> None:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"a": "b"}},
    }
    assert set(keys_of(pod_with(topologySpreadConstraints=[spread]))) == set()


def test_a_name_that_no_index_holds_is_left_out() -> None:
    assert set(keys_of(selecting("k" * 257, "k" * 256))) == {"k" * 256}


def test_a_new_name_goes_out_once_and_stays() -> None:
    keys = Keys()
    for number in range(3):
        keys.record(("ns", f"w{number}"), selecting("zone", "rack"))
    assert keys.for_agents() == ("rack", "zone")
    assert keys.changes == 1
    for number in range(3):
        keys.forget(("ns", f"w{number}"))
    assert keys.for_agents() == ("rack", "zone")
    keys.record(("ns", "other"), selecting("rack"))
    assert keys.changes == 1


def test_one_namespace_cannot_take_the_room_of_the_others() -> None:
    keys = Keys()
    for number in range(100):
        many = selecting(*(f"a{number:03}-{each:02}" for each in range(30)))
        keys.record(("greedy", f"w{number}"), many)
    keys.record(("modest", "w"), selecting("zone"))
    assert "zone" in keys.for_agents()
    assert len(keys.for_agents()) == 64
    assert keys.changes < 6


def test_names_that_are_no_longer_asked_for_make_room() -> None:
    keys = Keys()
    keys.record(("ns", "old"), selecting(*(f"old{each:02}" for each in range(64))))
    keys.record(("ns", "new"), selecting("zone"))
    assert "zone" not in keys.for_agents()
    keys.forget(("ns", "old"))
    keys.record(("ns", "newer"), selecting("zone", "rack"))
    assert keys.for_agents() == ("rack", "zone")


def test_an_edit_replaces_what_a_workload_asks_for() -> None:
    keys = Keys()
    keys.record(("ns", "w"), selecting("zone"))
    keys.record(("ns", "w"), selecting("rack"))
    keys.record(("ns", "w"), selecting("zone", "row"))
    assert {"zone", "row"} <= set(keys.for_agents())
