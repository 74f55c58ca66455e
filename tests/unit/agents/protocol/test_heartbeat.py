"""Chains of heartbeats: only the agent makes the next one, and none counts twice."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.protocol.errors import WireError
from agents.protocol.heartbeat.chain import (
    CHAIN_LENGTH,
    HEARTBEAT_BYTES,
    ReceivedChain,
    ReportedHeartbeats,
    SentChain,
    is_heartbeat,
    parse_heartbeat,
)

TOPIC = "kapok/v1/m1/report"


def chain_pair(topic: str = TOPIC) -> tuple[SentChain, ReceivedChain]:
    sent = SentChain(topic, os.urandom)
    reported = ReportedHeartbeats(anchor=sent.anchor, observed_within_seconds=0.5)
    return sent, ReceivedChain.of_report(TOPIC, reported)


def heartbeats(sent: SentChain) -> list[bytes]:
    made = []
    while (one := sent.next_heartbeat()) is not None:
        made.append(one)
    return made


@given(st.sets(st.integers(0, CHAIN_LENGTH - 1)))
def test_of_a_chain_every_heartbeat_counts_once_whichever_were_lost(arrived: set[int]) -> None:
    sent, received = chain_pair()
    made = heartbeats(sent)
    assert len(made) == CHAIN_LENGTH
    assert {len(each) for each in made} == {HEARTBEAT_BYTES} == {22}
    for number in sorted(arrived):
        received.accept(parse_heartbeat(made[number]))
        assert received.number == number + 1
        for old in made[: number + 1]:
            with pytest.raises(WireError, match="received"):
                received.accept(parse_heartbeat(old))


@given(data=st.data())
def test_a_heartbeat_that_was_changed_in_any_bit_is_refused(data: st.DataObject) -> None:
    sent, received = chain_pair()
    made = heartbeats(sent)[: data.draw(st.integers(1, CHAIN_LENGTH))]
    bit = data.draw(st.integers(0, HEARTBEAT_BYTES * 8 - 1))
    changed = bytearray(made[-1])
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WireError):
        received.accept(parse_heartbeat(bytes(changed)))
    assert received.number == 0
    received.accept(parse_heartbeat(made[-1]))


def test_values_that_were_shown_give_no_later_heartbeat() -> None:
    sent, received = chain_pair()
    first, second, *_ = heartbeats(sent)
    received.accept(parse_heartbeat(first))
    renumbered = bytes([first[0], 2]) + first[2:]
    with pytest.raises(WireError) as caught:
        received.accept(parse_heartbeat(renumbered))
    assert caught.value.reason == "signature"
    received.accept(parse_heartbeat(second))


def test_a_chain_of_another_site_or_an_anchor_that_is_none_is_refused() -> None:
    sent, received = chain_pair("kapok/v1/m2/report")
    with pytest.raises(WireError) as caught:
        received.accept(parse_heartbeat(heartbeats(sent)[0]))
    assert caught.value.reason == "signature"
    for anchor in ("", "AAAA", "ä", "=" * 24, "A" * 32):
        with pytest.raises(WireError, match="anchor"):
            ReceivedChain.of_report(
                TOPIC, ReportedHeartbeats(anchor=anchor, observed_within_seconds=0.5)
            )


@given(st.binary(max_size=40))
def test_any_bytes_are_a_heartbeat_or_a_wire_error(payload: bytes) -> None:
    for tried in (payload, b"\x01" + payload[:21].ljust(21, b"\0")):
        try:
            heartbeat = parse_heartbeat(tried)
        except WireError:
            continue
        assert is_heartbeat(tried)
        assert 1 <= heartbeat.number <= CHAIN_LENGTH
    assert not is_heartbeat(b"{" + payload[:21].ljust(21)), "JSON never looks like one"
