"""What a pod takes of its node, against the words of the KEPs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.protocol.orders import ORDER_LABEL
from agents.sensors.pods import node_of, pod_facts_of, requests_of

Tree = dict[str, Any]
Amounts = dict[str, int]
NAMES = ("cpu", "memory", "hugepages-2Mi", "vendor.example/card")

amounts = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 9), max_size=4)


def container(name: str, requests: Amounts, *, is_sidecar: bool = False) -> Tree:
    policy = {"restartPolicy": "Always"} if is_sidecar else {}
    return {"name": name, "resources": {"requests": dict(requests)}, **policy}


def total(*parts: Amounts) -> Amounts:
    return {name: sum(part.get(name, 0) for part in parts) for name in NAMES}


def oracle(
    init: list[tuple[Amounts, bool]], main: list[Amounts], pod_level: Amounts, overhead: Amounts
) -> Amounts:
    """KEP-753: at each moment of the pod's life, whatever runs then; the largest moment counts.

    KEP-2837: a request of the pod replaces that for cpu, memory and huge pages. KEP-688: overhead
    comes on top.
    """
    moments = [
        total(*(before for before, is_sidecar in init[:at] if is_sidecar), mine)
        for at, (mine, _) in enumerate(init)
    ]
    moments.append(total(*(each for each, is_sidecar in init if is_sidecar), *main))
    found = {name: max(moment[name] for moment in moments) for name in NAMES}
    found |= {name: each for name, each in pod_level.items() if name != "vendor.example/card"}
    return total(found, overhead)


@given(
    init=st.lists(st.tuples(amounts, st.booleans()), max_size=4),
    main=st.lists(amounts, min_size=1, max_size=3),
    pod_level=amounts,
    overhead=amounts,
)
def test_requests_are_those_of_the_busiest_moment(
    init: list[tuple[Amounts, bool]], main: list[Amounts], pod_level: Amounts, overhead: Amounts
) -> None:
    spec = {
        "initContainers": [
            container(f"i{at}", each, is_sidecar=is_sidecar)
            for at, (each, is_sidecar) in enumerate(init)
        ],
        "containers": [container(f"c{at}", each) for at, each in enumerate(main)],
        "resources": {"requests": pod_level},
        "overhead": overhead,
    }
    found = requests_of({"spec": spec})
    assert found.pop("pods") == 1_000
    expected = oracle(init, main, pod_level, overhead)
    assert {name: found.get(name, 0) for name in NAMES} == {
        name: 1_000 * amount for name, amount in expected.items()
    }


@given(requested=amounts, allocated=amounts, actual=amounts, is_infeasible=st.booleans())
def test_during_a_resize_the_largest_counts(
    *, requested: Amounts, allocated: Amounts, actual: Amounts, is_infeasible: bool
) -> None:
    one = container("side", requested, is_sidecar=True)
    status: Tree = {
        "initContainerStatuses": [
            {
                "name": "side",
                "allocatedResources": allocated,
                "resources": {"requests": actual} if actual else None,
            }
        ]
    }
    if is_infeasible:
        status["conditions"] = [{"type": "PodResizePending", "reason": "Infeasible"}]
    found = requests_of({"spec": {"initContainers": [one]}, "status": status})
    has_status = bool(allocated or actual)
    for name in NAMES:
        figures = [allocated.get(name, 0), actual.get(name, 0)]
        if not (is_infeasible and has_status):
            figures.append(requested.get(name, 0))
        assert found.get(name, 0) == 1_000 * max(figures)


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"resources": {"limits": {"cpu": "4"}}, "containers": [container("c", {})]}, 4_000),
        (
            {"resources": {"limits": {"cpu": "4"}}, "containers": [container("c", {"cpu": 1})]},
            1_000,
        ),
        (
            {"resources": {"requests": {"cpu": "1"}}, "containers": [container("c", {"cpu": 3})]},
            1_000,
        ),
    ],
)
def test_a_limit_of_the_pod_is_its_request_where_no_container_has_one(spec: Tree, cpu: int) -> None:
    assert requests_of({"spec": spec})["cpu"] == cpu


def test_a_resize_of_the_pod_as_a_whole_counts_without_its_overhead_twice() -> None:
    spec = {"resources": {"requests": {"cpu": "2"}}, "overhead": {"cpu": "1"}}
    status = {"allocatedResources": {"cpu": "5"}, "resources": {"requests": {"cpu": "4"}}}
    assert requests_of({"spec": spec, "status": status})["cpu"] == 5_000


def pod(
    *, phase: str = "Pending", labels: Tree | None = None, node: str = "", **status: object
) -> Tree:
    return {
        "metadata": {"labels": labels or {}, "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": phase, **status},
    }


def test_a_pod_takes_of_the_node_that_the_scheduler_clears_for_it() -> None:
    assert node_of(pod(nominatedNodeName="n1")) == "n1"
    assert node_of(pod(node="n2", nominatedNodeName="n1")) == "n2", "also while it is deleted"
    ours = pod(nominatedNodeName="n1", labels={ORDER_LABEL: "token"})
    assert node_of(ours) == "", "the hub counts it as in flight"
    assert node_of(pod(node="n1", phase="Succeeded")) == ""


def test_pods_that_ask_for_the_same_share_their_amounts() -> None:
    spec = {"nodeName": "n1", "containers": [container("c", {"cpu": 1})]}
    one, other = (pod_facts_of({"metadata": {"name": name}, "spec": spec}) for name in "ab")
    assert one is not None
    assert other is not None
    assert one.amounts is other.amounts
