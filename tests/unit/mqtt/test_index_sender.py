"""The form in which an index goes out: bytes grow with what changes, not with what there is."""

import asyncio
import sys
from dataclasses import replace
from functools import cache

import pytest

from agents.protocol.envelope import unseal
from agents.protocol.index import DESIRED_INDEX, DesiredIndex, IndexEntry, digest_of
from agents.protocol.index_delta import INDEX_DELTA, apply_delta, base_of
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.topics import TopicKind, site_topic
from scheduler.mqtt.order_publisher import IndexSender, read_index_proof
from scheduler.mqtt.outbox import Outbox, OutgoingMessage

KEY = SigningKey(bytes(range(32)))
TRUSTED = TrustedKeys([KEY.public])


@cache
def entry(number: int, generation: int = 1) -> IndexEntry:
    digest = digest_of(f"{number} {generation}".encode())
    return IndexEntry(id=f"kapok/n/w-{number:05}/abcdefghij", generation=generation, digest=digest)


class Sent:
    """A sender, and the newest message of each topic of the site m1."""

    def __init__(self) -> None:
        self.sender = IndexSender(key=KEY, outbox=Outbox())
        self.index = DesiredIndex(site="m1", site_uid="u", epoch=1, sequence=0)
        self.messages: list[tuple[str, bytes]] = []
        self.retained: dict[str, bytes] = {}
        self.is_checked = True

    async def send(
        self, entries: dict[int, int], *, takes: bool = True, renews: bool = False, epoch: int = 1
    ) -> list[str]:
        """Sends an index of these generations; returns the kinds of messages."""
        orders = tuple(entry(*one) for one in sorted(entries.items()))
        self.index = replace(
            self.index, epoch=epoch, sequence=self.index.sequence + 1, orders=orders
        )
        digest = self.sender.send(self.index, takes_deltas=takes, renews_base=renews)
        sent = [await self._take() for _ in range(len(self.sender.outbox))]
        if self.is_checked:
            assert self._complete() == (self.index.orders, digest)
        return sent

    async def _take(self) -> str:
        message: OutgoingMessage = await self.sender.outbox.take()
        payload = message.seal() if message.seal else message.payload
        assert message.retain
        kind = message.topic.removeprefix("kapok/v1/m1/")
        self.messages.append((kind, payload))
        self.retained[kind] = payload
        return kind if payload else f"no {kind}"

    def _complete(self) -> tuple[tuple[IndexEntry, ...], str]:
        """The complete index that an agent makes of what is retained."""
        payload = self.read("desired")
        index = DESIRED_INDEX.decode(payload)
        if not index.is_base:
            return index.orders, digest_of(payload)
        delta = INDEX_DELTA.decode(self.read("desired/delta"))
        made, complete = apply_delta(base_of(index, payload), delta)
        return made.orders, digest_of(complete)

    def read(self, kind: TopicKind) -> bytes:
        return unseal(self.retained[kind], topic=site_topic("m1", kind), trusted=TRUSTED)


@pytest.fixture
def sent() -> Sent:
    return Sent()


MANY = dict.fromkeys(range(300), 1)


async def test_a_small_index_is_sent_whole_and_nothing_else(sent: Sent) -> None:
    assert await sent.send({1: 1}, takes=False) == ["desired"]
    assert await sent.send({1: 2}) == ["desired"]
    assert sent.sender.base_version("m1") is None


async def test_what_a_hub_before_may_have_left_is_cleared_once(sent: Sent) -> None:
    assert await sent.send({1: 1}) == ["desired", "no desired/delta"]
    assert await sent.send({1: 2}) == ["desired"]


async def test_of_a_large_index_only_changes_are_sent(sent: Sent) -> None:
    assert await sent.send(MANY) == ["desired", "desired/delta"]
    assert sent.sender.base_version("m1") == (1, 1)
    for changed in ({**MANY, 5: 2}, {**MANY, 999: 1}, dict.fromkeys(range(299), 1)):
        assert await sent.send(changed) == ["desired/delta"]
    assert await sent.send(MANY, epoch=2) == ["desired", "desired/delta"], "a new leader"
    assert sent.sender.base_version("m1") == (2, 5)
    assert await sent.send(MANY, epoch=2, renews=True) == ["desired", "desired/delta"]
    sent.index = replace(sent.index, site_uid="u2")
    assert await sent.send(MANY, epoch=2) == ["desired", "desired/delta"], "another site"


async def test_an_agent_that_takes_no_deltas_gets_whole_indexes(sent: Sent) -> None:
    assert await sent.send(MANY, takes=False) == ["desired"]
    await sent.send(MANY)
    assert await sent.send({**MANY, 5: 2}, takes=False) == ["desired", "no desired/delta"]
    assert sent.sender.base_version("m1") is None


async def test_a_base_is_renewed_when_its_delta_is_half_as_large(sent: Sent) -> None:
    await sent.send(MANY)
    assert await sent.send(MANY | dict.fromkeys(range(140), 2)) == ["desired/delta"]
    assert await sent.send(MANY | dict.fromkeys(range(160), 2)) == ["desired", "desired/delta"]
    assert sent.sender.base_version("m1") == (1, 3)


async def test_an_index_around_the_bound_does_not_change_its_form_each_time(sent: Sent) -> None:
    around = [dict.fromkeys(range(count), 1) for count in (140, 100, 140, 100, 30)]
    forms = [await sent.send(one) for one in around]
    assert forms[0] == ["desired", "desired/delta"]
    assert forms[1] == forms[2] == forms[3] == ["desired/delta"]
    assert forms[4] == ["desired", "no desired/delta"]


async def test_bytes_grow_with_the_changes_not_with_the_orders(sent: Sent) -> None:
    """5,000 orders and 100 single changes: one whole index, and less than another in deltas."""
    plan = dict.fromkeys(range(5_000), 1)
    await sent.send(plan)
    whole = len(sent.retained["desired"])
    sent.messages.clear()
    for number in range(100):
        sent.is_checked = number == 99  # as an agent would, which takes longer than to send it
        plan[number * 7] = 2
        await sent.send(dict(plan))
    total = sum(len(payload) for _, payload in sent.messages)
    assert total < 2 * whole, f"{total} bytes for 100 changes; a whole index has {whole}"
    assert max(len(payload) for _, payload in sent.messages) < whole / 10


async def test_many_changes_cost_no_more_each_than_few(sent: Sent) -> None:
    plan = dict.fromkeys(range(1_000), 1)
    await sent.send(plan)
    whole = len(sent.retained["desired"])
    sent.messages.clear()
    for number in range(500):
        sent.is_checked = number % 100 == 0
        plan[number] += 1
        await sent.send(dict(plan))
    each = sum(len(payload) for _, payload in sent.messages) / 500
    assert each < whole / 10


async def test_a_delta_is_a_proof_of_its_index(sent: Sent) -> None:
    await sent.send(MANY)
    await sent.send({**MANY, 5: 2})
    proof = sent.retained["desired/delta"].decode()
    proven = read_index_proof(proof, site="m1", site_uid="u", own_keys=TRUSTED)
    assert proven.version == (1, 2)
    assert proven.digest == digest_of(DESIRED_INDEX.encode(sent.index))


async def test_a_large_index_is_sealed_off_the_loop_and_as_the_newest(sent: Sent) -> None:
    await sent.send(dict.fromkeys(range(5_000), 1))
    sent.sender.send(replace(sent.index, sequence=9), takes_deltas=False, renews_base=False)
    message = await sent.sender.outbox.take()
    assert message.seal is not None
    payload = unseal(await asyncio.to_thread(message.seal), topic=message.topic, trusted=TRUSTED)
    assert DESIRED_INDEX.decode(payload).sequence == 9


async def test_one_change_takes_as_many_steps_however_many_orders_there_are() -> None:
    steps = []
    for count in (200, 2_000):
        sent, entries = Sent(), dict.fromkeys(range(count), 1)
        sent.is_checked = False
        await sent.send(entries)
        await sent.send({**entries, 0: 2})
        steps.append(_count_calls(sent, {**entries, 0: 2, 1: 2}))
    assert steps[1] <= steps[0] + 20


def _count_calls(sent: Sent, entries: dict[int, int]) -> int:
    """Calls of Python functions while the index of these generations is sent."""
    orders = tuple(entry(*one) for one in sorted(entries.items()))
    index = replace(sent.index, sequence=sent.index.sequence + 1, orders=orders)
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    former = sys.getprofile()
    sys.setprofile(note)
    try:
        sent.sender.send(index, takes_deltas=True, renews_base=False)
    finally:
        sys.setprofile(former)
    return count
