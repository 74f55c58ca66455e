"""Publications are taken out of a stream of packets, however it is cut."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.mqtt.publication_socket import PublicationSocket
from tests.support.counts import examples
from tests.support.hostile_broker import publish

Received = list[tuple[str, bytes, bool]]
PINGRESP, PUBACK = b"\xd0\x00", b"\x40\x02\x00\x07"
QOS_1 = b"\x32\x07\x00\x01t\x00\x01\x00x"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    with ours, theirs:
        yield ours, theirs


def read_all(filtered: PublicationSocket) -> bytes:
    found = b""
    with suppress(BlockingIOError):
        while data := filtered.recv(1):
            found += data
    return found


@settings(max_examples=examples(40))
@given(
    st.lists(
        st.one_of(
            st.sampled_from([PINGRESP, PUBACK, QOS_1]),
            st.tuples(st.sampled_from(["t", "kapok/v1/a/report", "ä"]), st.binary(max_size=300)),
        ),
        max_size=12,
    ),
    st.integers(1, 200),
)
def test_every_cut_gives_the_same_publications_and_the_same_rest(
    packets: list[bytes | tuple[str, bytes]], step: int
) -> None:
    sent = b"".join(one if isinstance(one, bytes) else publish(*one) for one in packets)
    received: Received = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        filtered = PublicationSocket(ours, lambda *one: received.append(one), max_packet_bytes=1000)
        rest = b""
        for at in range(0, len(sent), step):
            theirs.sendall(sent[at : at + step])
            rest += read_all(filtered)
    assert rest == b"".join(one for one in packets if isinstance(one, bytes))
    assert received == [(*one, False) for one in packets if not isinstance(one, bytes)]


def test_a_topic_that_is_no_text_and_a_retained_message_are_shown_as_such(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    received: Received = []
    filtered = PublicationSocket(pair[0], lambda *one: received.append(one), max_packet_bytes=1000)
    retained = bytearray(publish("t", b"x"))
    retained[0] |= 1
    pair[1].sendall(publish(b"\xff", b"x") + retained)
    assert read_all(filtered) == b""
    assert received == [("", b"x", False), ("t", b"x", True)]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x30\xff\xff\xff\x7f", id="larger-than-allowed"),
        pytest.param(b"\x30\xff\xff\xff\xff\x01", id="a-length-of-five-bytes"),
        pytest.param(b"\x30\x02\x00\x09", id="a-topic-beyond-the-end"),
        pytest.param(b"\x30\x00", id="nothing"),
        pytest.param(b"\x34\x07\x00\x01t\x00\x01\x00x", id="of-a-qos-never-subscribed-to"),
        pytest.param(b"\x30\x04\x00\x01t\x09", id="properties-beyond-the-end"),
    ],
)
def test_what_mqtt_does_not_allow_ends_the_session(
    data: bytes, pair: tuple[socket.socket, socket.socket]
) -> None:
    filtered = PublicationSocket(pair[0], lambda *_: None, max_packet_bytes=1000)
    pair[1].sendall(data)
    with pytest.raises(OSError, match="the broker sent"):
        filtered.recv(1)


def test_the_end_of_the_connection_is_passed_on(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    filtered = PublicationSocket(pair[0], lambda *_: None, max_packet_bytes=1000)
    pair[1].close()
    assert filtered.recv(1) == b""
