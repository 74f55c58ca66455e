"""What is remembered of a site's last report changes nothing of what the next one says."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.protocol.delta import (
    apply_delta,
    canonicalise_report,
    compute_delta,
    decode_report,
)
from agents.protocol.errors import WireError
from agents.protocol.report import REPORT, REPORT_DELTA, Report
from scheduler.mqtt.reading.report_reader import ReportReader
from scheduler.mqtt.site_reports import site_report_of
from tests.support.counts import examples

Tree = dict[str, Any]


def row(cpu: object) -> Tree:
    return {"count": 1, "cpu": cpu, "memory": "1024", "pods": 10}


def node_class(zone: str, *free: object) -> Tree:
    return {"labels": {"zone": zone}, "architecture": "amd64", "free": [row(each) for each in free]}


SECTIONS: dict[str, list[Any]] = {
    "nodeClasses": [
        None,
        [],
        [node_class("b", "1", "2"), node_class("a", "1")],
        [node_class("b", "1", "2"), node_class("a", "3")],
        [node_class("a", "1"), node_class("a", "1")],
        [node_class("a", "1"), {"free": [row("not a quantity")]}],
        [node_class("a", "1"), 5],
        [node_class("b", "1", "2", "7"), node_class("a", "1", "7")],
        [node_class("b", "1", 3, "7", "1"), node_class("c", "1", "7")],
        [node_class("a", "1"), {"free": [{"count": 1, "kapok.dev/gpu-milli.999": 5}]}],
        [node_class("a", "1"), {"free": [{"count": 1, "kapok.dev/gpu-milli.9": 5}]}],
        [node_class("a", "1"), {"free": [{"count": 1, "kapok.dev/gpu-milli.x": 5}]}],
        [node_class("a", "1"), {"free": [{"count": 0}]}],
        [node_class("a", "1"), {"free": None, "labels": {}}],
        [node_class("a", "1"), {"free": [row("1")] * 2, "labelsLeftOut": ["x"]}],
        [{"free": [{"count": 1, **{f"r{a}-{b}": 1 for b in range(60)}} for a in range(9)]}],
        "no list",
    ],
    "orders": [None, [{"id": "h/n/b/i", "generation": 1, "bound": 2}], [{"id": "h/n/a/i"}], []],
    "apiKinds": [None, ["v1/Pod"], ["v1/Pod", "apps/v1/Deployment"], [""]],
    "rtt": [None, [{"to": "m2", "milliseconds": 1.5}], [{"to": "m2", "milliseconds": -1}]],
    "power": [None, {"watts": 10.0, "origin": "measured"}, {"watts": "x"}],
    "energy": [None, {"counterId": "c", "pvWatts": 5.0}],
    "intensity": [None, {"gco2PerKwh": 500.0, "origin": "yearly"}],
    "executor": [None, {"isActive": True}],
    "namespaces": [None, [{"name": "team", "quotaLeft": {"pods": 3}}]],
    "missing": [None, [{"sensor": "host", "seconds": 60}]],
    "faults": [None, ["host-failed"]],
    "site": ["m1", 5],
    "kind": ["full", "delta", None, 7],
    "base": [1],
    "unknownField": [None, {"a": [1]}],
}

bodies = st.fixed_dictionaries(
    {name: st.sampled_from(values) for name, values in SECTIONS.items()}
).map(lambda body: {name: value for name, value in body.items() if value is not None})


def message(body: Tree, sequence: int) -> bytes:
    header = {"agent": "main", "bootId": "b", "bootNumber": 1, "observedSecondsAgo": 0}
    return json.dumps({**header, "sequence": sequence, **body}).encode()


def outcome(read: Any, *words: Any) -> object:  # noqa: ANN401 - any function
    try:
        return read(*words)
    except WireError as error:
        return error.reason, str(error)


@settings(max_examples=examples(150))
@given(st.lists(bodies, min_size=2, max_size=5))
def test_a_reader_that_remembers_reads_the_same(reports: list[Tree]) -> None:
    reader = ReportReader()
    for sequence, body in enumerate([*reports, reports[0], reports[0]]):
        data = message(body, sequence)
        found, expected = outcome(reader.decode, "m1", data), outcome(decode_report, data)
        assert found == expected
        if isinstance(found, Report):
            whole, plain = reader.canonicalise(found), canonicalise_report(found)
            assert whole == plain
            assert outcome(reader.site_report_of, whole) == outcome(site_report_of, plain)


amounts = st.lists(st.lists(st.sampled_from(["1", "2", "250m", 3]), max_size=4), max_size=3)


@given(st.lists(amounts, min_size=2, max_size=6))
def test_a_delta_row_by_row_gives_the_report_that_it_describes(
    looks: list[list[list[Any]]],
) -> None:
    """Through whatever deltas, lost ones too: each is cumulative against the full report."""
    reader = ReportReader()
    reports = []
    for sequence, look in enumerate(looks):
        classes = [node_class(f"z{at}", *free) for at, free in enumerate(look)]
        read = decode_report(message({"site": "m1", "nodeClasses": classes}, sequence))
        assert isinstance(read, Report)
        reports.append(canonicalise_report(read))
    base = reader.decode("m1", REPORT.encode(reports[0]))
    assert isinstance(base, Report)
    base = reader.canonicalise(base)
    for one in reports[1:]:
        change = reader.decode("m1", REPORT_DELTA.encode(compute_delta(reports[0], one)))
        whole = reader.apply_delta(base, change)  # type: ignore[arg-type]  # a delta
        assert whole == apply_delta(reports[0], compute_delta(reports[0], one)) == one
        assert outcome(reader.site_report_of, whole) == outcome(site_report_of, one)


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_bytes_that_are_no_report_are_refused_alike(one: bytes, other: bytes) -> None:
    reader = ReportReader()
    good = message({"site": "m1", "power": {"watts": 1.0, "origin": "measured"}}, 1)
    for data in (one, good, good[:40] + other, b'{"kind":' + one, b"[" * 5_000, good):
        assert outcome(reader.decode, "m1", data) == outcome(decode_report, data)


def test_what_has_not_changed_is_not_read_again() -> None:
    reader = ReportReader()
    body = {"site": "m1", "nodeClasses": [node_class("a", "1"), node_class("b", "2")]}
    first = reader.decode("m1", message(body, 1))
    second = reader.decode("m1", message(body, 2))
    assert first.node_classes is second.node_classes
    body["nodeClasses"] = [node_class("a", "1"), node_class("b", "3")]
    third = reader.decode("m1", message(body, 3))
    assert first.node_classes
    assert third.node_classes
    assert first.node_classes[0] is third.node_classes[0]
    other = reader.decode("m2", message(body, 3))
    assert other.node_classes is not third.node_classes, "sites share nothing"
    reader.forget("m1")
    assert reader.decode("m1", message(body, 4)).node_classes is not third.node_classes


def test_of_a_node_class_only_the_rows_that_have_changed_are_read_again() -> None:
    reader = ReportReader()
    body = {"site": "m1", "nodeClasses": [node_class("a", "1", "2", "3")]}
    first = reader.decode("m1", message(body, 1))
    body["nodeClasses"] = [node_class("a", "1", "9", "3")]
    second = reader.decode("m1", message(body, 2))
    assert first.node_classes
    assert second.node_classes
    old, new = first.node_classes[0], second.node_classes[0]
    assert [one is other for one, other in zip(old.free, new.free, strict=True)] == [
        True,
        False,
        True,
    ]
    assert new.free[1].resources["cpu"] == "9"
    assert old.labels is new.labels
