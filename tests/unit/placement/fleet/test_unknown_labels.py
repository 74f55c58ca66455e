"""A label that the agent did not report is unknown: no condition on it holds."""

import pytest

from scheduler.model.kinds.site import NodeClass
from scheduler.model.manifests.pods import NODE_NAME_FIELD, NodeRequirement
from scheduler.placement.fleet.node_eligibility import matches_requirement
from scheduler.placement.fleet.nodes.profiles import profile_of

OPERATORS = [("In", ("a",)), ("NotIn", ("a",)), ("Exists", ()), ("DoesNotExist", ())]


@pytest.mark.parametrize(("operator", "values"), OPERATORS)
def test_of_a_label_that_is_left_out_no_condition_holds(
    operator: str, values: tuple[str, ...]
) -> None:
    asked = NodeRequirement(key="disk", operator=operator, values=values)
    for nodes in (NodeClass(labels_left_out=("disk",)), NodeClass(has_more_labels=True)):
        assert not matches_requirement(asked, profile_of(nodes))


@pytest.mark.parametrize(("operator", "values"), OPERATORS)
def test_a_label_that_is_not_left_out_is_absent(operator: str, values: tuple[str, ...]) -> None:
    asked = NodeRequirement(key="disk", operator=operator, values=values)
    nodes = NodeClass(labels={"zone": "a"}, labels_left_out=("other",))
    assert matches_requirement(asked, profile_of(nodes)) == (operator in ("NotIn", "DoesNotExist"))


@pytest.mark.parametrize("key", [NODE_NAME_FIELD, "kubernetes.io/hostname"])
def test_the_name_of_a_node_is_compared_where_it_is_reported(key: str) -> None:
    named = profile_of(NodeClass(labels={"kubernetes.io/hostname": "n1"}))
    unnamed = profile_of(NodeClass())
    for operator, name, holds in (
        ("In", "n1", True),
        ("NotIn", "n1", False),
        ("NotIn", "n2", True),
    ):
        asked = NodeRequirement(key=key, operator=operator, values=(name,))
        assert matches_requirement(asked, named) == holds
        assert not matches_requirement(asked, unnamed)
