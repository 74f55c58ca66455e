"""A delta and its base give the report back, however many deltas in between were lost."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.protocol.delta import canonical, delta, whole
from agents.protocol.errors import WireError
from agents.protocol.report import (
    REPORT,
    REPORT_DELTA,
    FreeRow,
    NodeClass,
    OrderBound,
    Power,
    Report,
)
from agents.protocol.shapes import Json
from tests.support.wire_examples import messages

SAME_BOOT = {"site": "s", "agent": "main", "boot_id": "b", "boot_number": 1}
REPORTS = messages(Report).map(lambda each: canonical(dataclasses.replace(each, **SAME_BOOT)))


def report(sequence: int, **sections: Json) -> Report:
    return Report(
        site="s",
        boot_id="b",
        boot_number=1,
        sequence=sequence,
        observed_seconds_ago=0.1,
        **sections,
    )


def node_class(zone: str, *cpus: str) -> NodeClass:
    rows = tuple(FreeRow(count=1, resources={"cpu": cpu}) for cpu in cpus)
    return NodeClass(labels={"zone": zone}, free=rows)


@settings(max_examples=30, deadline=None)
@given(base=REPORTS, now=REPORTS)
def test_a_delta_on_its_base_is_the_report(base: Report, now: Report) -> None:
    change = REPORT_DELTA.decode(REPORT_DELTA.encode(delta(base, now)))
    assert whole(base, change) == now


@settings(max_examples=30, deadline=None)
@given(base=REPORTS, middle=REPORTS, now=REPORTS)
def test_a_lost_delta_changes_nothing(base: Report, middle: Report, now: Report) -> None:
    whole(base, delta(base, middle))
    assert whole(base, delta(base, now)) == now


@settings(max_examples=30, deadline=None)
@given(now=REPORTS, data=st.data())
def test_canonical_order_does_not_depend_on_how_it_was_listed(
    now: Report, data: st.DataObject
) -> None:
    if now.node_classes is None:
        return
    shuffled = tuple(data.draw(st.permutations(now.node_classes)))
    assert canonical(dataclasses.replace(now, node_classes=shuffled)) == now


def test_a_delta_holds_only_the_class_that_changed() -> None:
    base = canonical(report(1, node_classes=(node_class("a", "7"), node_class("b", "3"))))
    now = canonical(report(2, node_classes=(node_class("a", "6"), node_class("b", "3"))))
    change = delta(base, now)
    assert change.node_classes == (node_class("a", "6"),)
    assert change.node_classes_gone == ()
    assert len(REPORT_DELTA.encode(change)) < len(REPORT.encode(now))


def test_what_went_away_is_named() -> None:
    base = canonical(
        report(
            1,
            node_classes=(node_class("a", "7"), node_class("b", "3")),
            orders=(OrderBound(id="x", generation=1, bound=2),),
            power=Power(watts=3.0, origin="measured"),
        )
    )
    now = report(2, node_classes=(node_class("b", "3"),), orders=())
    change = delta(base, now)
    assert change.node_classes_gone == (0,)
    assert change.orders_gone == ("x",)
    assert change.cleared == ("power",)
    assert whole(base, change) == now


@pytest.mark.parametrize("wrong", [{"base": 9}, {"boot_id": "other"}, {"boot_number": 2}])
def test_a_delta_on_another_base_is_refused(wrong: dict[str, Any]) -> None:
    base, now = report(1), report(2)
    change = dataclasses.replace(delta(base, now), **wrong)
    with pytest.raises(WireError) as caught:
        whole(base, change)
    assert caught.value.reason == "stale"


def test_two_entries_of_one_class_are_merged() -> None:
    merged = canonical(report(1, node_classes=(node_class("a", "7"), node_class("a", "3"))))
    assert merged.node_classes == (node_class("a", "7", "3"),)
