"""What is free on each node: exact, as the kube-scheduler counts it."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.protocol.report import REPORT, FreeRow, Report, ReportedNodeClass
from agents.protocol.topics import order_token
from agents.sensors.kubernetes import bound_orders_of
from agents.sensors.nodes import LabelChoice, NodeSnapshot, node_facts_of, summarise_nodes
from agents.sensors.pods import pod_facts_of, requests_of
from agents.sensors.quantities import (
    QuantityError,
    ceil_milli,
    floor_milli,
    format_quantity,
    parse_quantity,
)
from tests.support.counts import examples

Tree = dict[str, Any]
EVERYTHING = LabelChoice()


def node(name: str, *, cpu: str = "8", **more: Any) -> Tree:  # noqa: ANN401 - parts of a JSON tree
    return {
        "metadata": {"name": name, "labels": more.get("labels", {})},
        "spec": more.get("spec", {}),
        "status": {
            "allocatable": {"cpu": cpu, "memory": "32Gi", "pods": "110"} | more.get("extra", {}),
            "conditions": more.get("conditions", [{"type": "Ready", "status": "True"}]),
            "nodeInfo": {"architecture": "arm64"},
        },
    }


def container(cpu: str, name: str = "c", **more: object) -> Tree:
    return {"name": name, "resources": {"requests": {"cpu": cpu}}, **more}


def pod(*containers: Tree, on: str = "n1", phase: str = "Running", **more: Any) -> Tree:  # noqa: ANN401 - parts of a JSON tree
    return {
        "metadata": more.get("metadata", {}),
        "spec": {"nodeName": on, "containers": list(containers), **more.get("spec", {})},
        "status": {"phase": phase, **more.get("status", {})},
    }


def look(nodes: list[Tree], pods: list[Tree], choice: LabelChoice = EVERYTHING) -> NodeSnapshot:
    return summarise_nodes(
        [fact for each in nodes if (fact := node_facts_of(each, choice))],
        [facts for each in pods if (facts := pod_facts_of(each))],
    )


def free_cpu(snapshot: NodeSnapshot) -> list[object]:
    return [row.resources["cpu"] for each in snapshot.classes for row in each.free]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1Gi", "1073741824"),
        ("1Gi", "1073741824000m"),
        ("1e9", "1000000000"),
        ("1E9", "1G"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("5.", "5"),
        (2, "2"),
        (0.25, "250m"),
        ("1500000u", "1500m"),
        ("-1", "-1000m"),
    ],
)
def test_equal_quantities_are_equal(one: str | float, other: str) -> None:
    assert parse_quantity(one) == parse_quantity(other)


@pytest.mark.parametrize(
    "wrong",
    ["1.5.2", "", "abc", "1 Gi", "1gi", "1e", "e9", "\u0661", "1" * 100, "1e9999", True, "0x1"],
)
def test_what_is_no_quantity_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(QuantityError, match=r"quantity|unit"):
        parse_quantity(wrong)


@given(st.integers(-(10**15), 10**15), st.sampled_from(["n", "u", "m", "", "k", "Ki", "Gi", "E"]))
@example(1, "n")
@example(-1, "n")
def test_requests_are_rounded_up_and_capacities_down(number: int, unit: str) -> None:
    value = parse_quantity(f"{number}{unit}") * 1000
    assert floor_milli(f"{number}{unit}") <= value <= ceil_milli(f"{number}{unit}")
    assert ceil_milli(f"{number}{unit}") - floor_milli(f"{number}{unit}") <= 1


def test_amounts_are_written_as_their_resource_is_counted() -> None:
    assert format_quantity("cpu", 7500) == "7500m"
    assert format_quantity("cpu", 7000) == "7"
    assert format_quantity("memory", 1_073_741_824_000) == "1073741824"
    assert format_quantity("pods", 60_000) == 60
    assert format_quantity("nvidia.com/gpu", 1_999) == 1


def test_free_is_allocatable_minus_what_bound_pods_request() -> None:
    snapshot = look([node("n1")], [pod(container("2"), container("500m"))])
    row = snapshot.classes[0].free[0]
    assert row == FreeRow(
        count=1, resources={"cpu": "5500m", "memory": str(32 * 2**30), "pods": 109}
    )


def test_an_ended_pod_takes_no_room_and_a_terminating_one_does() -> None:
    going = pod(container("1"), metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    pods = [pod(container("1"), phase="Succeeded"), pod(container("1"), phase="Failed"), going]
    assert free_cpu(look([node("n1")], pods)) == ["7"]


def test_a_pod_that_is_not_bound_takes_no_room() -> None:
    assert free_cpu(look([node("n1")], [pod(container("1"), on="")])) == ["8"]


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({}, 1000),
        ({"initContainers": [container("3")]}, 3000),
        ({"initContainers": [container("500m")]}, 1000),
        ({"initContainers": [container("2", restartPolicy="Always")]}, 3000),
        ({"initContainers": [container("2", restartPolicy="Always"), container("4")]}, 6000),
        ({"initContainers": [container("4"), container("2", restartPolicy="Always")]}, 4000),
        ({"overhead": {"cpu": "250m"}}, 1250),
        ({"resources": {"requests": {"cpu": "5"}}}, 5000),
    ],
)
def test_a_pods_request_follows_the_scheduler(spec: Tree, cpu: int) -> None:
    assert requests_of(pod(container("1"), spec=spec))["cpu"] == cpu


def test_a_limit_without_a_request_is_one() -> None:
    assert requests_of(pod({"resources": {"limits": {"cpu": "2"}}}))["cpu"] == 2000


def test_while_a_resize_is_under_way_the_larger_counts() -> None:
    status = {"containerStatuses": [{"name": "c", "allocatedResources": {"cpu": "3"}}]}
    assert requests_of(pod(container("1"), status=status))["cpu"] == 3000


@pytest.mark.parametrize(
    "wrong",
    [
        {"spec": {"unschedulable": True}},
        {"conditions": [{"type": "Ready", "status": "False"}]},
        {"conditions": [{"type": "Ready", "status": "Unknown"}]},
        {"conditions": []},
    ],
)
def test_a_node_that_takes_no_pods_is_left_out(wrong: Tree) -> None:
    assert look([node("n1", **wrong)], []).classes == ()


def test_a_node_without_readable_figures_offers_nothing_and_is_named() -> None:
    snapshot = look([node("n1", cpu="many"), node("n2")], [pod(container("lots"), on="n2")])
    assert snapshot.classes == ()
    assert snapshot.unreadable_nodes == {"n1", "n2"}


def test_nodes_that_only_differ_in_what_is_free_are_one_class() -> None:
    nodes = [node("n1"), node("n2"), node("n3", cpu="4")]
    [only] = look(nodes, []).classes
    assert [(row.count, row.resources["cpu"]) for row in only.free] == [(2, "8"), (1, "4")]


def test_an_over_committed_node_has_nothing_free_not_less() -> None:
    assert free_cpu(look([node("n1")], [pod(container("9"))])) == ["0"]


def test_a_class_says_architecture_vendor_gpu_taints_and_chosen_labels() -> None:
    labels = {
        "kubernetes.io/hostname": "n1",
        "zone": "a",
        "kapok.dev/cpu-vendor": "kunpeng",
        "nvidia.com/gpu.product": "A10",
    }
    taints = [
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
        {"key": "dedicated", "value": "health", "effect": "NoSchedule"},
    ]
    extra = {"nvidia.com/gpu": "2"}
    tree = node("n1", labels=labels, spec={"taints": taints}, extra=extra)
    choice = LabelChoice(("*",), ("kubernetes.io/hostname", "nvidia.com/*"))
    [only] = look([tree], [], choice).classes
    assert only.labels == {"zone": "a", "kapok.dev/cpu-vendor": "kunpeng"}
    assert (only.architecture, only.cpu_vendor, only.gpu_model) == ("arm64", "kunpeng", "A10")
    assert [(taint.key, taint.value) for taint in only.taints] == [("dedicated", "health")]
    assert only.free[0].resources["nvidia.com/gpu"] == 2


def test_our_pods_are_counted_by_order_terminating_ones_included() -> None:
    mine = {
        "labels": {"kapok.dev/order": "t1"},
        "annotations": {"kapok.dev/order-id": "hub/a/b/1"},
    }
    going = mine | {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    pods = [pod(metadata=mine), pod(metadata=going), pod(metadata=mine, on=""), pod()]
    snapshot = look([node("n1")], pods)
    assert snapshot.bound_pods == {"t1": 2}
    assert snapshot.order_ids == {"t1": "hub/a/b/1"}


@settings(max_examples=examples(50))
@given(st.lists(st.tuples(st.sampled_from(["n1", "n2"]), st.integers(1, 3000)), max_size=12))
def test_what_is_free_and_what_is_taken_add_up(pods: list[tuple[str, int]]) -> None:
    trees = [pod(container(f"{milli}m"), on=name) for name, milli in pods]
    snapshot = look([node("n1", cpu="100"), node("n2", cpu="100")], trees)
    free = sum(
        row.count * floor_milli(row.resources["cpu"])
        for each in snapshot.classes
        for row in each.free
    )
    assert free + sum(milli for _, milli in pods) == 200_000


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@settings(max_examples=examples(40))
@given(
    labels=st.dictionaries(WORDS, WORDS, max_size=90),
    resources=st.lists(WORDS, max_size=90, unique=True),
    taints=st.lists(st.fixed_dictionaries({"key": WORDS, "effect": WORDS}), max_size=70),
    order_id=st.text(max_size=5) | st.just("x" * 1_025),
)
def test_whatever_a_cluster_holds_its_report_can_be_read(
    labels: Tree, resources: list[str], taints: list[Tree], order_id: str
) -> None:
    extra = dict.fromkeys(resources, "1")
    tree = node("n1", labels=labels, extra=extra, spec={"taints": taints})
    mine = {"labels": {"kapok.dev/order": order_token(order_id)}}
    mine["annotations"] = {"kapok.dev/order-id": order_id}
    snapshot = look([tree], [pod(metadata=mine)])
    report = Report(
        site="s",
        boot_id="b",
        boot_number=1,
        sequence=1,
        observed_seconds_ago=0,
        node_classes=snapshot.classes,
        orders=bound_orders_of(snapshot, {"hub/a/b/1": 1}),
    )
    assert REPORT.decode(REPORT.encode(report)) == report
    assert "cpu" in snapshot.classes[0].free[0].resources


def test_an_empty_cluster_has_no_class() -> None:
    assert look([], []).classes == ()
    assert ReportedNodeClass() == ReportedNodeClass()
