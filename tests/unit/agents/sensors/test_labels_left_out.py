"""Labels that a report cannot hold: those that selectors name are kept, the others are named."""

from agents.sensors.nodes import LabelChoice, node_facts_of
from agents.sensors.pods import Tree


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
