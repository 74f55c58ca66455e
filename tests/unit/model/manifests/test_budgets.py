"""What PodDisruptionBudgets of a workload let be away at once."""

from typing import Any

import pytest

from scheduler.model.manifests.budgets import disruption_budget

Raw = dict[str, Any]


def pods(**labels: str) -> Raw:
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"template": template},
    }


def budget(name: str = "pdb", selector: Any = None, **spec: Any) -> Raw:  # noqa: ANN401 - JSON
    chosen = {"matchLabels": {"app": "a"}} if selector is None else selector
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": chosen, **spec},
    }


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"maxUnavailable": 0}, 0),
        ({"maxUnavailable": 3}, 3),
        ({"maxUnavailable": "25%"}, 3),  # 2.5 of 10, rounded up
        ({"maxUnavailable": "0%"}, 0),
        ({"minAvailable": 4}, 6),
        ({"minAvailable": "75%"}, 2),  # 7.5 of 10 must stay, rounded up to 8
        ({"minAvailable": "100%"}, 0),
        ({"minAvailable": 40}, 0),
        ({"maxUnavailable": -1}, 0),
        ({"maxUnavailable": "x"}, 0),
        ({"maxUnavailable": True}, 0),
        ({"minAvailable": []}, 0),
        ({}, 0),
    ],
)
def test_counts_and_percentages_are_read_as_kubernetes_reads_them(spec: Raw, allowed: int) -> None:
    found = disruption_budget([pods(app="a"), budget(**spec)], 10)
    assert found is not None
    assert found.allowed == allowed


@pytest.mark.parametrize(
    ("selector", "applies"),
    [
        ({}, True),
        ({"matchLabels": {"app": "b"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ("no selector", False),
    ],
)
def test_a_budget_counts_only_for_the_pods_that_it_selects(
    selector: Any,  # noqa: ANN401 - JSON
    *,
    applies: bool,
) -> None:
    found = disruption_budget([pods(app="a"), budget(selector=selector, maxUnavailable=1)], 2)
    assert (found is not None) is applies


def test_the_strictest_budget_counts_and_is_named() -> None:
    manifests = [pods(app="a"), budget("wide", maxUnavailable=5), budget("low", minAvailable=8)]
    found = disruption_budget(manifests, 10)
    assert found is not None
    assert (found.name, found.allowed, found.rule) == ("low", 2, "minAvailable: 8")


def test_without_a_budget_there_is_no_limit() -> None:
    assert disruption_budget([pods(app="a")], 3) is None
