"""What a site gets: an index that an agent reads, and every request that it was sent."""

import random
from dataclasses import asdict

import pytest

from agents.protocol.bounds import MAX_ORDERS
from agents.protocol.envelope import unseal
from agents.protocol.hub_requests import HUB_REQUEST, HigherBoot, HubNonce, HubRequest
from agents.protocol.index import DESIRED_INDEX
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.topics import site_topic
from scheduler.control.ports.agents import OrderForSite
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
