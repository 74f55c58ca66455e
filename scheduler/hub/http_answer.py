"""Reads answers of HTTP/1.1 (RFC 9112) from the bytes of a connection; no I/O.

What contradicts itself is no answer: two lengths, a length and chunks, an encoding that was not
asked for. An answer is at most 16 MiB, its head 64 KiB.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

MAX_ANSWER_BYTES: Final = 16 * 2**20
"""An object is at most 1.5 MB in etcd; its JSON may be longer, but not so much."""
_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_CHUNK_LINE_BYTES: Final = 1024
_MAX_CHUNKS: Final = 16_384
"""Servers send some kilobytes in each; a loop over tiny ones would hold up everything else."""
_WITHOUT_BODY: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_INFORMATIONAL: Final = range(100, 200)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?")
_NUMBER: Final = re.compile(rb"[0-9]{1,12}")
_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f]{1,8}")
_TOO_LONG: Final = "the answer is longer than 16 MiB"


class NoAnswer(Exception):
    """The connection ended before the answer did, or what came is no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered.

    Attributes:
        status: the HTTP status.
        body: all of it.
        retry_after: the header of this name; None: there is none.
    """

    status: int
    body: bytes
    retry_after: str | None = None

    @property
    def is_redirect(self) -> bool:
        """Whether the server sends to another place, and did nothing."""
        return self.status in _REDIRECTS


@dataclass(slots=True)
class _Head:
    """What the head of an answer says.

    Attributes:
        status: the HTTP status.
        length: bytes of the body; None: it ends with the connection, or says its end itself.
        is_chunked: it says its end itself.
        keeps: the server keeps the connection open.
        retry_after: the header of this name.
    """

    status: int
    length: int | None = None
    is_chunked: bool = False
    keeps: bool = True
    retry_after: str | None = None


class AnswerReader:
    """Reads the answers of one connection, one after the other.

    Attributes:
        has_received: a byte of the present answer has come.
        keeps: the server keeps the connection open, and has sent no more than was asked for.
    """

    def __init__(self) -> None:
        self.has_received = False
        self.keeps = True
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._body: bytearray | None = None
        self._chunk_left = self._chunks = 0

    def begin(self) -> None:
        """Expects the next answer."""
        self._head, self._body, self.has_received = None, None, False

    def feed(self, data: bytes) -> Answer | None:
        """Takes bytes; the answer, once it is whole.

        Raises:
            NoAnswer: it will never be one.
        """
        self.has_received = True
        self._buffer += data
        return self._read()

    def end(self) -> Answer | None:
        """The answer that ends with its connection; None: it is not whole."""
        head = self._head
        if head is None or head.length is not None or head.is_chunked:
            return None
        body = bytes(self._buffer)
        self._buffer.clear()
        self.keeps = False
        return self._finished(head, body)

    def _finished(self, head: _Head, body: bytes) -> Answer:
        self.keeps = self.keeps and head.keeps and not self._buffer
        return Answer(head.status, body, head.retry_after)

    def _read(self) -> Answer | None:
        """Reads as much of the answer as has come."""
        while self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if max(end, len(self._buffer) if end < 0 else 0) > _MAX_HEAD_BYTES:
                raise NoAnswer("the head of the answer is longer than 64 KiB")
            if end < 0:
                return None
            head = _read_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            if head.status not in _INFORMATIONAL:
                self._head = head
        head = self._head
        if head.is_chunked:
            return self._read_chunks(head)
        if (head.length or len(self._buffer)) > MAX_ANSWER_BYTES:
            raise NoAnswer(_TOO_LONG)
        if head.length is not None and len(self._buffer) >= head.length:
            body = bytes(self._buffer[: head.length])
            del self._buffer[: head.length]
            return self._finished(head, body)
        return None

    def _read_chunks(self, head: _Head) -> Answer | None:
        """Reads chunks (RFC 9112, 7.1); extensions and trailers mean nothing here."""
        buffer = self._buffer
        if self._body is None:
            self._body, self._chunk_left, self._chunks = bytearray(), 0, 0
        while True:
            if self._chunk_left:
                if len(buffer) < self._chunk_left:
                    return None
                self._body += buffer[: self._chunk_left - 2]
                if buffer[self._chunk_left - 2 : self._chunk_left] != b"\r\n":
                    raise NoAnswer("a chunk of the answer is longer than it says")
                del buffer[: self._chunk_left]
                self._chunk_left = 0
            end = buffer.find(b"\r\n", 0, _MAX_CHUNK_LINE_BYTES)
            if end < 0:
                if len(buffer) >= _MAX_CHUNK_LINE_BYTES:
                    raise NoAnswer("the size of a chunk is no number")
                return None
            size = _size_of_chunk(bytes(buffer[:end]))
            self._chunks += 1
            if len(self._body) + size > MAX_ANSWER_BYTES or self._chunks > _MAX_CHUNKS:
                raise NoAnswer(_TOO_LONG)
            if size == 0:
                return self._read_trailers(head, bytes(self._body), end)
            del buffer[: end + 2]
            self._chunk_left = size + 2

    def _read_trailers(self, head: _Head, body: bytes, start: int) -> Answer | None:
        """Ends the answer with the empty line after the last chunk and its trailers."""
        end = self._buffer.find(b"\r\n\r\n", start)
        if end >= 0:
            del self._buffer[: end + 4]
            return self._finished(head, body)
        if len(self._buffer) > _MAX_HEAD_BYTES:
            raise NoAnswer("the trailers of the answer are longer than 64 KiB")
        return None


def _size_of_chunk(line: bytes) -> int:
    text = line.partition(b";")[0].strip(b" \t")
    if not _HEXADECIMAL.fullmatch(text):
        raise NoAnswer("the size of a chunk is no number")
    return int(text, 16)


def _read_head(text: bytes) -> _Head:
    """What a head says; what contradicts itself is none, as RFC 9112, 6.3 asks for."""
    first, *lines = text.split(b"\r\n")
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        raise NoAnswer("the answer is no HTTP/1.1")
    head = _Head(int(found[2]), keeps=found[1] == b"1")
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise NoAnswer("a header of the answer has no name")
        _read_header(head, name.lower(), value.strip(b" \t"))
    if head.is_chunked and head.length is not None:
        raise NoAnswer("the answer gives its length twice")
    if head.status in _WITHOUT_BODY:
        head.length, head.is_chunked = 0, False
    if head.status == HTTPStatus.SWITCHING_PROTOCOLS:
        raise NoAnswer("the server changes the protocol")
    return head


def _read_header(head: _Head, name: bytes, value: bytes) -> None:
    if name == b"content-length":
        if not _NUMBER.fullmatch(value) or head.length not in (None, int(value)):
            raise NoAnswer("the length of the answer is no number")
        head.length = int(value)
    elif name == b"transfer-encoding":
        if value.lower() != b"chunked" or head.is_chunked:
            raise NoAnswer("the answer has an unknown transfer encoding")
        head.is_chunked = True
    elif name == b"connection":
        head.keeps = head.keeps and b"close" not in value.lower()
    elif name == b"content-encoding":
        if value.lower() != b"identity":
            raise NoAnswer("the answer is compressed, which was not asked for")
    elif name == b"retry-after":
        with suppress(UnicodeDecodeError):
            head.retry_after = value.decode("ascii")
