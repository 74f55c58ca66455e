"""What is remembered of a site's last report changes nothing of what the next one says."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.protocol.delta import canonicalise_report, decode_report
from agents.protocol.errors import WireError
from agents.protocol.report import Report
from scheduler.mqtt.site_reports import ReportReader, site_report_of

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


@settings(max_examples=150)
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
