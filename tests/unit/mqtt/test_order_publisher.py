"""What a site gets: an index that an agent reads, and every request that it was sent."""

import random
from dataclasses import asdict, replace

import pytest

from agents.protocol.bounds import MAX_CONTENT_BYTES, MAX_ORDERS
from agents.protocol.envelope import inflate, unseal
from agents.protocol.hub_requests import HUB_REQUEST, HigherBoot, HubNonce, HubRequest
from agents.protocol.index import DESIRED_INDEX, IndexEntry
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.orders import ORDER_CONTENT
from agents.protocol.topics import site_topic
from scheduler.control.ports.agents import OrderForSite, OrderNotPublishable
from scheduler.control.ports.ledger import SignedHead
from scheduler.ledger.record import GENESIS
from scheduler.ledger.segments import is_signed, sign_head
from scheduler.mqtt.order_publisher import OrderPublisher
from scheduler.mqtt.outbox import Outbox
from tests.support.ledgers import NOON

KEY = SigningKey(bytes(range(32)))
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def random_ids(count: int, characters: int) -> list[str]:
    chance = random.Random(1)  # noqa: S311 - no secret
    return [
        f"kapok/{number}/{''.join(chance.choices(LETTERS, k=characters))}/{'a' * 40}"
        for number in range(count)
    ]


def test_an_index_has_room_for_as_many_orders_as_an_agent_reads() -> None:
    publisher = OrderPublisher(key=KEY, outbox=Outbox())
    ids = random_ids(MAX_ORDERS + 1, 8)
    assert publisher.count_that_fit([]) == 0
    assert publisher.count_that_fit(ids[:7]) == 7
    assert publisher.count_that_fit(ids) == MAX_ORDERS


@pytest.mark.soak
async def test_an_index_of_the_longest_names_that_it_has_room_for_is_sent_and_read() -> None:
    outbox = Outbox()
    publisher = OrderPublisher(key=KEY, outbox=outbox)
    ids = random_ids(MAX_ORDERS, 300)
    room = publisher.count_that_fit(ids)
    assert 9_000 < room < MAX_ORDERS
    orders = {
        one: OrderForSite(id=one, generation=2**53, namespace="n", name="w", manifests=())
        for one in ids[:room]
    }
    for order in orders.values():
        publisher.publish_order("m1", order)
    publisher.publish_index("m1", "u" * 36, (2**31 - 1, 2**53), orders)
    topic = site_topic("m1", "desired")
    message = await outbox.take()
    while message.topic != topic:
        message = await outbox.take()
    payload = unseal(message.payload, topic=topic, trusted=TrustedKeys([KEY.public]))
    assert len(DESIRED_INDEX.decode(payload).orders) == room


async def test_the_head_of_the_moment_goes_out_with_every_index() -> None:
    outbox, heads = Outbox(), list[SignedHead]()
    publisher = OrderPublisher(key=KEY, outbox=outbox, ledger_head=lambda: heads[-1])
    topic = site_topic("m1", "desired")
    for seq in (7, 9):
        heads.append(sign_head(KEY, first=1, seq=seq, digest=GENESIS, previous=GENESIS, at=NOON))
        publisher.publish_index("m1", "u", (1, seq), {})
        message = await outbox.take()
        payload = unseal(message.payload, topic=topic, trusted=TrustedKeys([KEY.public]))
        carried = DESIRED_INDEX.decode(payload).ledger_head
        assert carried is not None
        assert SignedHead(**asdict(carried)) == heads[-1]
        assert is_signed(SignedHead(**asdict(carried)))
    assert publisher.sent_head("m1", (1, 9)) == heads[-1]
    assert publisher.sent_head("m1", (1, 7)) is None


async def taken(outbox: Outbox) -> list[HubRequest]:
    """The requests that wait for the site m1."""
    topic, keys = site_topic("m1", "hub"), TrustedKeys([KEY.public])
    messages = [await outbox.take() for _ in range(len(outbox))]
    return [HUB_REQUEST.decode(unseal(one.payload, topic=topic, trusted=keys)) for one in messages]


async def test_of_requests_to_a_site_the_newest_of_each_kind_is_sent_in_order() -> None:
    numbers, outbox = iter(range(1, 100)), Outbox()
    publisher = OrderPublisher(
        key=KEY,
        outbox=outbox,
        nonce_for=lambda _site: HubNonce(asker="hub", number=next(numbers), value="n"),
    )
    boots = [
        HigherBoot(agent=agent, boot_id="b", above=above)
        for agent, above in (("a", 1), ("a", 2), ("b", 3))
    ]
    for epoch in (1, 2):
        publisher.request_reports("m1", epoch, want_status=False, want_report=True)
        publisher.request_proof("m1", epoch)
        publisher.request_heads("m1", epoch)
        publisher.ask("m1", epoch, wants_report=False)
        for boot in boots:
            publisher.ask("m1", epoch, wants_report=False, higher_boot=boot)
    sent = await taken(outbox)
    assert [one.wants for one in sent] == [
        ("full-report",),
        ("index-proof",),
        ("ledger-heads",),
        (),
        (),
        (),
    ]
    assert {one.epoch for one in sent} == {2}
    assert [one.higher_boot for one in sent if one.higher_boot] == boots[1:]
    given = [one.nonce.number for one in sent if one.nonce]
    assert given == sorted(given)


async def test_an_unsent_request_returns_unless_the_same_was_asked_since() -> None:
    outbox = Outbox()
    publisher = OrderPublisher(key=KEY, outbox=outbox)
    publisher.request_proof("m1", 1)
    unsent = await outbox.take()
    publisher.request_heads("m1", 1)
    outbox.put_back(unsent)
    assert [one.wants for one in await taken(outbox)] == [("index-proof",), ("ledger-heads",)]
    publisher.request_proof("m1", 2)
    outbox.put_back(unsent)
    assert [one.epoch for one in await taken(outbox)] == [2]


@pytest.mark.parametrize("names", [(), ("rack", "zone")])
async def test_an_index_names_the_node_labels_that_workloads_ask_for(
    names: tuple[str, ...],
) -> None:
    outbox = Outbox()
    publisher = OrderPublisher(key=KEY, outbox=outbox, node_labels=lambda: names)
    publisher.publish_index("m1", "u", (1, 1), {})
    message = await outbox.take()
    trusted = TrustedKeys([KEY.public])
    payload = unseal(message.payload, topic=site_topic("m1", "desired"), trusted=trusted)
    assert (DESIRED_INDEX.decode(payload).node_labels or ()) == names
    assert (b"nodeLabels" in payload) == bool(names)


async def entries_of(outbox: Outbox) -> tuple[IndexEntry, ...]:
    """The entries of the index that the outbox has."""
    topic = site_topic("m1", "desired")
    while (message := await outbox.take()).topic != topic:
        pass
    return DESIRED_INDEX.decode(
        unseal(message.payload, topic=topic, trusted=TrustedKeys([KEY.public]))
    ).orders


def order_of(*texts: str, kept_digest: str = "") -> OrderForSite:
    manifests: tuple[dict[str, object], ...] = tuple(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"c{at}"},
            "data": {"t": one},
        }
        for at, one in enumerate(texts)
    )
    return OrderForSite(
        id="hub/n/w/a1",
        generation=3,
        namespace="n",
        name="w",
        manifests=manifests,
        kept_digest=kept_digest,
    )


@pytest.mark.parametrize("size", [10, 700_000])
async def test_an_order_of_unknown_content_is_listed_as_it_was(size: int) -> None:
    outbox, noise = Outbox(), random.Random(2)  # noqa: S311 - no secret
    publisher = OrderPublisher(key=KEY, outbox=outbox)
    order = order_of(noise.randbytes(size // 2).hex())
    digest = publisher.digest_of("m1", order)
    assert digest.partition("/")[0] == publisher.publish_order("m1", order)
    publisher.publish_index("m1", "u", (7, 1), {order.id: order})
    before = await entries_of(outbox)
    assert ("/" in digest) == (before[0].parts > 1) == (size > 10)

    outbox = Outbox()
    leader = OrderPublisher(key=KEY, outbox=outbox)
    kept = order_of(kept_digest=digest)
    assert leader.digest_of("m1", kept) == digest
    leader.publish_order("m1", kept)
    leader.publish_index("m1", "u", (8, 1), {kept.id: kept})
    assert await entries_of(outbox) == before


def test_a_digest_that_is_none_is_not_listed() -> None:
    publisher = OrderPublisher(key=KEY, outbox=Outbox())
    for text in ("sha256:" + "a" * 65, "sha256:" + "a" * 64 + "/9999"):
        with pytest.raises(OrderNotPublishable):
            publisher.publish_order("m1", order_of(kept_digest=text))


async def test_what_becomes_of_drift_is_in_the_content() -> None:
    for word in ("", "Report"):
        outbox = Outbox()
        order = replace(order_of("x"), on_drift=word)
        OrderPublisher(key=KEY, outbox=outbox).publish_order("m1", order)
        message = await outbox.take()
        part = unseal(message.payload, topic=message.topic, trusted=TrustedKeys([KEY.public]))
        content = ORDER_CONTENT.decode(inflate(part, MAX_CONTENT_BYTES))
        assert content.on_drift == (word or None)
