"""Statuses are read as the codec reads them, and an order that has not changed is read once."""

import json
from dataclasses import replace
from typing import Any

import pytest

from agents.protocol.errors import WireError
from agents.protocol.status import SITE_STATUS, OrderStatus, SiteStatusMessage
from scheduler.mqtt.site_reports import StatusReader, order_status_report_of

ORDER = OrderStatus(id="hub/ns/app/1", generation=3, phase="Ready", ready=1, message="a\nb")
OTHER = OrderStatus(id="hub/ns/other/1", generation=1, phase="Applying")
STATUS = SiteStatusMessage(
    site="m1",
    boot_id="b",
    boot_number=1,
    sequence=1,
    observed_seconds_ago=0.0,
    orders=(ORDER, OTHER),
)


def tree(**changed: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return {**SITE_STATUS.to_json(STATUS), **changed}


def test_a_status_is_read_as_the_codec_reads_it() -> None:
    reader = StatusReader()
    ready = replace(STATUS, sequence=2, orders=(OTHER, replace(ORDER, ready=2)))
    for status in (STATUS, STATUS, ready, replace(STATUS, orders=()), STATUS):
        data = SITE_STATUS.encode(status)
        message, orders = reader.decode("m1", data)
        assert message == SITE_STATUS.decode(data) == status
        assert order_status_report_of(message, orders) == order_status_report_of(status)


def test_only_an_order_that_has_changed_is_read_again() -> None:
    reader = StatusReader()
    first, states = reader.decode("m1", SITE_STATUS.encode(STATUS))
    changed = replace(STATUS, orders=(ORDER, replace(OTHER, phase="Ready")))
    second, later = reader.decode("m1", SITE_STATUS.encode(changed))
    assert second.orders[0] is first.orders[0]
    assert states is not None
    assert later is not None
    assert later[ORDER.id] is states[ORDER.id]
    assert later[OTHER.id].phase == "Ready"


def test_what_a_site_said_is_not_remembered_of_another_or_once_forgotten() -> None:
    reader, data = StatusReader(), SITE_STATUS.encode(STATUS)
    first = reader.decode("m1", data).message
    assert reader.decode("m2", data).message.orders[0] is not first.orders[0]
    reader.forget("m1")
    assert reader.decode("m1", data).message.orders[0] is not first.orders[0]


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"[]",
        b"{",
        b'{"orders":[}',
        b'{"orders":null}',
        b"\xff",
        json.dumps(tree(orders={"a": 1})).encode(),
        json.dumps(tree(orders=[{"id": "x"}])).encode(),
        json.dumps(
            tree(orders=[*tree()["orders"], {**tree()["orders"][0], "ready": True}])
        ).encode(),
        json.dumps(tree(orders=[*tree()["orders"], 7])).encode(),
        json.dumps(tree(sequence=float("nan"))).encode(),
        json.dumps(tree(orders=[{**tree()["orders"][0], "message": "\ud800"}])).encode(),
        json.dumps(tree(site=None)).encode(),
        b"[" * 3000,
    ],
)
def test_what_the_codec_refuses_is_refused_in_the_same_words(written: bytes) -> None:
    reader = StatusReader()
    reader.decode("m1", SITE_STATUS.encode(STATUS))  # a good one before it changes nothing
    with pytest.raises(WireError) as expected:
        SITE_STATUS.decode(written)
    with pytest.raises(WireError) as found:
        reader.decode("m1", written)
    assert (str(found.value), found.value.reason) == (str(expected.value), expected.value.reason)


def test_a_status_without_orders_is_one_of_a_site_that_runs_nothing() -> None:
    written = {name: each for name, each in tree().items() if name != "orders"}
    message, orders = StatusReader().decode("m1", json.dumps(written).encode())
    assert message.orders == ()
    assert orders == {}
