"""A delta and its base give the report back, however many deltas in between were lost."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.protocol.delta import apply_delta, canonicalise_report, compute_delta
from agents.protocol.errors import WireError
from agents.protocol.report import (
    REPORT,
    REPORT_DELTA,
    FreeRow,
    OrderBoundPods,
    Report,
    ReportedNodeClass,
    ReportedPower,
)
from agents.protocol.shapes import Json
from tests.support.counts import examples
from tests.support.wire_examples import messages

SAME_BOOT = {"site": "s", "agent": "main", "boot_id": "b", "boot_number": 1}
REPORTS = messages(Report).map(
    lambda each: canonicalise_report(dataclasses.replace(each, **SAME_BOOT))
)


def report(sequence: int, **sections: Json) -> Report:
    return Report(
        site="s",
        boot_id="b",
        boot_number=1,
        sequence=sequence,
        observed_seconds_ago=0.1,
        **sections,
    )


def node_class(zone: str, *cpus: str) -> ReportedNodeClass:
    rows = tuple(FreeRow(count=1, resources={"cpu": cpu}) for cpu in cpus)
    return ReportedNodeClass(labels={"zone": zone}, free=rows)


@settings(max_examples=examples(30), deadline=None)
@given(base=REPORTS, now=REPORTS)
def test_a_delta_on_its_base_is_the_report(base: Report, now: Report) -> None:
    change = REPORT_DELTA.decode(REPORT_DELTA.encode(compute_delta(base, now)))
    assert apply_delta(base, change) == now


@settings(max_examples=examples(30), deadline=None)
@given(base=REPORTS, middle=REPORTS, now=REPORTS)
def test_a_lost_delta_changes_nothing(base: Report, middle: Report, now: Report) -> None:
    apply_delta(base, compute_delta(base, middle))
    assert apply_delta(base, compute_delta(base, now)) == now


@settings(max_examples=examples(30), deadline=None)
@given(now=REPORTS, data=st.data())
def test_canonical_order_does_not_depend_on_how_it_was_listed(
    now: Report, data: st.DataObject
) -> None:
    if now.node_classes is None:
        return
    shuffled = tuple(data.draw(st.permutations(now.node_classes)))
    assert canonicalise_report(dataclasses.replace(now, node_classes=shuffled)) == now


def test_a_delta_holds_only_the_class_that_changed() -> None:
    base = canonicalise_report(report(1, node_classes=(node_class("a", "7"), node_class("b", "3"))))
    now = canonicalise_report(report(2, node_classes=(node_class("a", "6"), node_class("b", "3"))))
    change = compute_delta(base, now)
    assert change.node_classes == (node_class("a", "6"),)
    assert change.node_classes_gone == ()
    assert len(REPORT_DELTA.encode(change)) < len(REPORT.encode(now))


def test_what_went_away_is_named() -> None:
    base = canonicalise_report(
        report(
            1,
            node_classes=(node_class("a", "7"), node_class("b", "3")),
            orders=(OrderBoundPods(id="x", generation=1, bound=2),),
            power=ReportedPower(watts=3.0, origin="measured"),
        )
    )
    now = report(2, node_classes=(node_class("b", "3"),), orders=())
    change = compute_delta(base, now)
    assert change.node_classes_gone == (0,)
    assert change.orders_gone == ("x",)
    assert change.cleared == ("power",)
    assert apply_delta(base, change) == now


@pytest.mark.parametrize("wrong", [{"base": 9}, {"boot_id": "other"}, {"boot_number": 2}])
def test_a_delta_on_another_base_is_refused(wrong: dict[str, Any]) -> None:
    base, now = report(1), report(2)
    change = dataclasses.replace(compute_delta(base, now), **wrong)
    with pytest.raises(WireError) as caught:
        apply_delta(base, change)
    assert caught.value.reason == "stale"


def test_two_entries_of_one_class_are_merged() -> None:
    merged = canonicalise_report(
        report(1, node_classes=(node_class("a", "7"), node_class("a", "3")))
    )
    assert merged.node_classes == (node_class("a", "7", "3"),)
