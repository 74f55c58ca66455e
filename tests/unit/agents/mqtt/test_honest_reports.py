"""An honest agent never sends what the hub refuses, however absurd its cluster is."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agents.mqtt.publisher import ReportBuilder
from agents.mqtt.report_bounds import FAULT_OUT_OF_BOUNDS, FAULT_TOO_LARGE, bring_within_bounds
from agents.protocol.delta import decode_report
from agents.protocol.envelope import unseal
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.report import (
    FreeRow,
    Report,
    ReportedEnergy,
    ReportedIntensity,
    ReportedNamespace,
    ReportedNodeClass,
    ReportedPower,
)
from agents.protocol.report_totals import check_totals
from agents.runtime.data_dir import Boot
from agents.sensors.namespaces import namespaces_of
from agents.sensors.nodes import LabelChoice, node_facts_of, summarise_nodes
from agents.sensors.pods import pod_facts_of
from agents.sensors.sensor import Observation
from tests.support.counts import examples

KEY = SigningKey(bytes(range(32)))
TRUSTED = TrustedKeys([KEY.public])
ABSURD = (
    st.sampled_from(["8Ei", "16Ei", "-5", "1e99", "9" * 64, "9" * 70, "x", "", "\ud800", "4Gi"])
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([None, True, [], {}, 1e300, float("inf"), [None], {"a": None}])
)
NAMES = st.text(max_size=10) | st.sampled_from(["x" * 400, "", "\ud800", "cpu", "memory"])
MAPS = st.dictionaries(NAMES, ABSURD, max_size=4)
LISTS = st.lists(MAPS | ABSURD, max_size=3) | ABSURD
NODES = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({"name": st.just("n"), "labels": MAPS | ABSURD}),
        "spec": st.fixed_dictionaries({"taints": LISTS}),
        "status": st.fixed_dictionaries(
            {
                "allocatable": st.fixed_dictionaries({"cpu": ABSURD, "memory": ABSURD}) | MAPS,
                "conditions": st.just([None, {"type": "Ready", "status": "True"}]),
                "nodeInfo": MAPS | ABSURD,
            }
        ),
    }
)
PODS = st.fixed_dictionaries(
    {
        "metadata": MAPS | ABSURD,
        "spec": st.fixed_dictionaries(
            {
                "nodeName": st.just("n") | ABSURD,
                "containers": st.lists(
                    st.fixed_dictionaries({"resources": st.dictionaries(NAMES, MAPS | ABSURD)})
                    | ABSURD,
                    max_size=2,
                )
                | ABSURD,
                "overhead": MAPS | ABSURD,
            }
        ),
        "status": MAPS | ABSURD,
    }
)
LIMITS = st.fixed_dictionaries(
    {
        "namespace": NAMES,
        "spec": st.fixed_dictionaries({"hard": MAPS | ABSURD, "limits": LISTS}),
        "status": st.fixed_dictionaries({"used": MAPS | ABSURD}),
    }
)


def builder() -> ReportBuilder:
    return ReportBuilder(
        site="site-a", agent="main", boot=Boot("b1", 3), key=KEY, full_interval_seconds=100.0
    )


def received(look: Observation, energy: ReportedEnergy | None = None) -> Report:
    data = builder().build_report_message(look, energy, observed_seconds_ago=1e15, now=0)
    report = decode_report(unseal(data, topic="kapok/v1/site-a/report", trusted=TRUSTED))
    assert isinstance(report, Report)
    return report


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nodes=st.lists(NODES, max_size=3), pods=st.lists(PODS, max_size=3), limits=st.lists(LIMITS))
@example(
    nodes=[
        {
            "metadata": {"name": "n", "labels": {f"l{i}": "v" for i in range(10_000)}},
            "spec": {"taints": None},
            "status": {
                "allocatable": {"cpu": "16", "memory": "8Ei"},
                "conditions": [{"type": "Ready", "status": "True"}],
                "nodeInfo": None,
            },
        }
    ],
    pods=[],
    limits=[],
)
def test_a_report_of_an_absurd_cluster_is_accepted(
    nodes: list[Any], pods: list[Any], limits: list[Any]
) -> None:
    facts = [fact for each in nodes if (fact := node_facts_of(each, LabelChoice())) is not None]
    found = [taken for each in pods if (taken := pod_facts_of(each)) is not None]
    look = Observation(
        node_classes=summarise_nodes(facts, found).classes,
        namespaces=namespaces_of(limits, limits),
    )
    report = received(look)
    kept, seen = report.node_classes or (), look.node_classes or ()
    assert len(kept) == len(seen) or FAULT_OUT_OF_BOUNDS in (report.faults or ())


def test_a_node_of_8_ei_has_as_much_memory_as_a_report_holds() -> None:
    tree = {
        "metadata": {"name": "n"},
        "status": {
            "allocatable": {"cpu": "4", "memory": "8Ei"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    fact = node_facts_of(tree, LabelChoice())
    assert fact is not None
    report = received(Observation(node_classes=summarise_nodes([fact], []).classes))
    assert report.node_classes is not None
    [row] = report.node_classes[0].free
    assert row.resources == {"cpu": "4", "memory": str(2**62 - 1)}


@pytest.mark.parametrize(
    "figures",
    [
        {"power": ReportedPower(watts=1e300, origin="measured")},
        {"power": ReportedPower(watts=float("nan"), origin="measured")},
        {"intensity": ReportedIntensity(gco2_per_kwh=-1, origin="yearly")},
        {
            "intensity": ReportedIntensity(
                gco2_per_kwh=1, origin="yearly", observed_at="0001-01-01T00:00:00+14:00"
            )
        },
    ],
)
def test_a_figure_that_no_report_holds_is_unknown_and_named(figures: dict[str, Any]) -> None:
    report = received(Observation(**figures, faults=("door-open",)))
    assert (report.power, report.intensity) == (None, None)
    assert report.faults == ("door-open", FAULT_OUT_OF_BOUNDS)


def test_of_many_nodes_those_are_reported_that_a_message_holds() -> None:
    """5,000 nodes that differ in 64 long labels are 54 MB of JSON; a message has 8."""
    labels = {f"{'p' * 100}/{n:063}": "v" * 63 for n in range(63)}
    classes = tuple(
        ReportedNodeClass(labels=labels | {"n": str(n)}, free=(FreeRow(count=1),))
        for n in range(5_000)
    )
    report = received(Observation(node_classes=classes))
    assert 0 < len(report.node_classes or ()) < 5_000
    assert FAULT_TOO_LARGE in (report.faults or ())


def test_a_report_holds_as_many_nodes_and_namespaces_as_readers_accept_in_all() -> None:
    rows = (FreeRow(count=1, resources={"cpu": "1"}),) * 5000
    limits: dict[str, str | int] = {f"r{one}": "1" for one in range(64)}
    report = Report(
        site="m1",
        boot_id="b",
        boot_number=1,
        sequence=1,
        observed_seconds_ago=0.0,
        node_classes=tuple(ReportedNodeClass(architecture=f"a{n}", free=rows) for n in range(9)),
        namespaces=tuple(ReportedNamespace(name=f"n{n}", quota_left=limits) for n in range(500)),
    )
    sent = bring_within_bounds(report)
    check_totals(sent)
    assert len(sent.node_classes or ()) == 4
    assert 300 < len(sent.namespaces or ()) < 500
    assert FAULT_TOO_LARGE in (sent.faults or ())
