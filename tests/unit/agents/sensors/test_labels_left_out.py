"""Labels that a report cannot hold: those that selectors name are kept, the others are named."""

import pytest

from agents.config.settings import LABELS_EXCLUDED
from agents.sensors.nodes import LabelChoice, node_facts_of
from agents.sensors.pods import Tree

HOSTNAME = "kubernetes.io/hostname"


def node(labels: dict[str, str]) -> Tree:
    return {
        "metadata": {"name": "n", "labels": labels},
        "spec": {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"architecture": "amd64"},
            "allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"},
        },
    }


def test_labels_of_kubernetes_are_kept_when_there_are_too_many() -> None:
    many = {f"nvidia.com/gpu.x{number:02}": "1" for number in range(70)}
    zone = {"topology.kubernetes.io/zone": "a", "kubernetes.io/os": "linux"}
    facts = node_facts_of(node(many | zone), LabelChoice())
    assert facts is not None
    reported = facts.node_class
    assert reported.labels.items() >= zone.items()
    assert len(reported.labels) == 64
    left_out = set(reported.labels_left_out or ())
    assert left_out == (many | zone).keys() - reported.labels.keys()
    assert not reported.has_more_labels


def test_labels_that_workloads_ask_for_come_before_all_others() -> None:
    many = {f"a.kubernetes.io/x{number:02}": "1" for number in range(80)} | {"zzz/rack": "r1"}
    choice = LabelChoice().asked_for(["zzz/rack", "not-there"], is_large=False)
    facts = node_facts_of(node(many), choice)
    assert facts is not None
    assert facts.node_class.labels["zzz/rack"] == "r1"
    assert "zzz/rack" not in (facts.node_class.labels_left_out or ())


@pytest.mark.parametrize("is_large", [False, True])
def test_the_name_of_a_host_is_reported_when_asked_for_unless_the_cluster_is_large(
    *, is_large: bool
) -> None:
    choice = LabelChoice(excluded=LABELS_EXCLUDED).asked_for([HOSTNAME], is_large=is_large)
    facts = node_facts_of(node({HOSTNAME: "n"}), choice)
    assert facts is not None
    assert (HOSTNAME in facts.node_class.labels) != is_large
    assert (HOSTNAME in (facts.node_class.labels_left_out or ())) == is_large


def test_what_an_operator_withholds_is_not_reported_even_if_it_is_asked_for() -> None:
    choice = LabelChoice(withheld=("secret/*",)).asked_for(["secret/a"], is_large=False)
    facts = node_facts_of(node({"secret/a": "1"}), choice)
    assert facts is not None
    assert facts.node_class.labels == {}
    assert facts.node_class.labels_left_out == ("secret/a",)


def test_labels_that_the_settings_exclude_are_named_as_left_out() -> None:
    labels = {"kubernetes.io/hostname": "n", "zone": "a"}
    facts = node_facts_of(node(labels), LabelChoice(excluded=("kubernetes.io/hostname",)))
    assert facts is not None
    assert facts.node_class.labels == {"zone": "a"}
    assert facts.node_class.labels_left_out == ("kubernetes.io/hostname",)


def test_more_names_than_a_report_holds_are_told_to_be_more() -> None:
    many = {f"x{number:03}": "1" for number in range(200)}
    facts = node_facts_of(node(many), LabelChoice())
    assert facts is not None
    assert facts.node_class.has_more_labels
    assert len(facts.node_class.labels_left_out or ()) == 64
