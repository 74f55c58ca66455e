"""Secrets in orders: what goes to the broker, and that it does not change by itself."""

import base64
import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from agents.protocol.envelope import inflate, unseal
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.orders import ORDER_CONTENT, OrderContent
from agents.protocol.sealing.box import SealingKey
from scheduler.control.ports.agents import OrderForSite, OrderNotPublishable
from scheduler.mqtt.order_publisher import OrderPublisher
from scheduler.mqtt.outbox import Outbox

KEY = SigningKey(bytes(range(32)))
MARKER = "marker-of-this-test-77c1"
ENCODED = base64.b64encode(MARKER.encode()).decode()
KEYS = {"m1": SealingKey(bytes(range(32))), "m2": SealingKey(bytes(range(1, 33)))}


def order(value: str = ENCODED) -> OrderForSite:
    secret: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "data": {"k": value},
    }
    return OrderForSite(
        id="hub/ns/secret:db/along",
        generation=1,
        namespace="ns",
        name="secret:db",
        manifests=(),
        secrets=(secret,),
    )


def publisher(outbox: Outbox | None = None) -> OrderPublisher:
    return OrderPublisher(
        key=KEY,
        outbox=Outbox() if outbox is None else outbox,
        sealing_key_of=lambda site: KEYS[site].public,
    )


async def published(one: OrderForSite, site: str = "m1") -> tuple[bytes, OrderContent]:
    """The content as the broker has it, inflated, and decoded."""
    outbox = Outbox()
    publisher(outbox).publish_order(site, one)
    parts = b""
    for _ in range(len(outbox)):
        message = await outbox.take()
        keys = TrustedKeys([KEY.public])
        parts += unseal(message.payload, topic=message.topic, trusted=keys)
    data = inflate(parts, 8 * 2**20)
    return data, ORDER_CONTENT.decode(data)


async def test_no_message_shows_a_secret_and_the_site_opens_it() -> None:
    data, content = await published(order())
    assert MARKER.encode() not in data
    assert ENCODED.encode() not in data
    assert content.sealed is not None
    plain = KEYS["m1"].open(content.sealed, site="m1", order_id=content.id)
    assert json.loads(plain)[0]["data"] == {"k": ENCODED}


def test_an_order_has_the_same_digest_after_every_start() -> None:
    first = publisher()
    digest = first.digest_of("m1", order())
    assert first.digest_of("m1", order()) == digest
    assert publisher().digest_of("m1", order()) == digest
    assert publisher().digest_of("m2", order()) != digest
    assert publisher().digest_of("m1", order("b3RoZXI=")) != digest


def test_a_new_key_of_the_site_gives_another_digest() -> None:
    keys = dict(KEYS)
    one = OrderPublisher(key=KEY, outbox=Outbox(), sealing_key_of=lambda site: keys[site].public)
    before = one.digest_of("m1", order())
    keys["m1"] = keys["m2"]
    assert one.digest_of("m1", order()) != before


def test_without_a_key_nothing_is_published() -> None:
    outbox = Outbox()
    one = OrderPublisher(key=KEY, outbox=outbox)
    with pytest.raises(OrderNotPublishable):
        one.publish_order("m1", order())
    assert len(outbox) == 0


def test_no_log_and_no_repr_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    publisher().publish_order("m1", order())
    shown = caplog.text + repr(order()) + repr(replace(order(), generation=2))
    assert MARKER not in shown
    assert ENCODED not in shown


@pytest.mark.parametrize("size", [1_000_000, 1_048_576])
def test_the_largest_secret_of_a_cluster_can_be_sent(size: int) -> None:
    value = base64.b64encode(bytes(size)).decode()
    assert publisher().digest_of("m1", order(value))
