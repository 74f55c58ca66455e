"""Answers are read as RFC 9112 says, in any pieces; what contradicts itself is none."""

import pytest

from scheduler.hub.http_answer import MAX_ANSWER_BYTES, Answer, AnswerReader, NoAnswer

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nRetry-After: 7\r\n\r\n{}"
CHUNKED = (
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5;x=y\r\n{"a":\r\n2\r\n1}\r\n0\r\nX-Sum: 1\r\n\r\n'
)
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (WHOLE, Answer(200, b"{}", "7")),
        (CHUNKED, Answer(201, b'{"a":1}')),
        (CONTINUED, Answer(204, b"")),
        (b"HTTP/1.1 200\r\ncontent-LENGTH:0\r\n\r\n", Answer(200, b"")),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_an_answer_is_read_in_whatever_pieces_it_comes(
    data: bytes, answer: Answer, step: int
) -> None:
    reader = AnswerReader()
    for _ in range(2):  # one connection carries one after the other
        reader.begin()
        pieces = [data[at : at + step] for at in range(0, len(data), step)]
        found = [reader.feed(piece) for piece in pieces]
        assert found == [None] * (len(pieces) - 1) + [answer]
        assert reader.keeps
        assert reader.end() is None


@pytest.mark.parametrize(
    "data",
    [
        WHOLE.replace(b"Retry", b"Connection: close\r\nRetry"),
        WHOLE.replace(b"1.1", b"1.0"),
        WHOLE + b"more",
    ],
)
def test_a_connection_that_the_server_ends_or_talks_over_is_not_used_again(data: bytes) -> None:
    reader = AnswerReader()
    assert reader.feed(data) == Answer(200, b"{}", "7")
    assert not reader.keeps


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 502 Bad Gateway\r\n\r\nno ") is None
    assert reader.feed(b"upstream") is None
    assert reader.end() == Answer(502, b"no upstream")
    assert not reader.keeps


def test_a_cut_off_answer_is_none() -> None:
    for data in (WHOLE[:-1], CHUNKED[:-1], b"HTTP/1.1 200 OK\r\n"):
        reader = AnswerReader()
        assert reader.feed(data) is None
        assert reader.end() is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "no HTTP"),
        (b"HTTP/2 200\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n", "length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "twice"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "encoding"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\n", "compressed"),
        (b"HTTP/1.1 200 OK\r\n folded: 1\r\n\r\n", "no name"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "no name"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2**17, "64 KiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "16 MiB"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_ANSWER_BYTES + 1), "16 MiB"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", "16 MiB"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x10\r\n", "no number"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000, "no number"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", "longer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"x" * 2**17, "trailers"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20_000,
            "16 MiB",
        ),
    ],
)
def test_what_contradicts_itself_or_is_too_large_is_no_answer(data: bytes, why: str) -> None:
    with pytest.raises(NoAnswer, match=why):
        AnswerReader().feed(data)
