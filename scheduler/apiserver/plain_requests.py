"""Plain requests: what most clients send, read from their bytes without aiohttp.

A plain request is one of a few methods on one object (or a create), whole in what has arrived, in
the simplest form that HTTP/1.1 allows: a short head of printable ASCII, each header once, a body
with a Content-Length. Everything else is left to aiohttp: lists, watches, chunked or compressed
bodies, escapes in the address. So this reader needs no rule for anything unusual. Source: RFC 9112.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE
from multidict import CIMultiDict

from scheduler.apiserver.base.bodies import MAX_BODY_BYTES
from scheduler.apiserver.base.requests import parse_flag, parse_resource_path

MAX_HEAD_BYTES = 8_000
"""The longest head that is read here; aiohttp takes as much for a single line."""
_REQUEST_LINE = re.compile(
    rb"(DELETE|GET|PATCH|POST|PUT) (/[A-Za-z0-9/._~:@!$&'()*,;=-]*)"
    rb"(?:\?([A-Za-z0-9/._~:@!$&'()*,=-]*))? HTTP/1\.1\r\n"
)
_HEADERS = re.compile(rb"(?:[A-Za-z0-9-]++:[ \t]*+[\x20-\x7e]*+\r\n)++")
"""Possessive: a head of 8 kB that does not match is refused at its first wrong byte."""
_LEFT_TO_AIOHTTP = frozenset(
    {"connection", "content-encoding", "expect", "http2-settings", "keep-alive", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)
"""Headers that change how a message is read or what becomes of its connection."""
_MAX_LENGTH_DIGITS = 8
_HEAD_END = b"\r\n\r\n"


class Closable(Protocol):
    """A connection, as the requests on it show it."""

    def abort(self) -> None:
        """Closes it at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainRequest:
    """A plain request; it has the attributes of aiohttp's request that the handler reads."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: CIMultiDict[str]
    body: bytes
    transport: Closable


@dataclass(slots=True)
class ApiResponse:
    """A response that is whole in memory."""

    status: int
    body: bytes
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)

    def encode(self) -> bytes:
        """The message, for a connection that stays open."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [
            f"Content-Length: {len(self.body)}",
            f"Date: {rfc822_formatted_time()}",
            f"Server: {SERVER_SOFTWARE}",
        ]
        return "\r\n".join(lines).encode() + _HEAD_END + self.body


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of a plain request whose body may not have arrived yet."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: CIMultiDict[str]
    head_bytes: int
    """The bytes of the head, with the empty line."""
    body_bytes: int

    def with_body(self, data: bytes, transport: Closable) -> PlainRequest:
        """The request; `data` begins with its head and holds its body."""
        return PlainRequest(
            method=self.method,
            path=self.path,
            query=self.query,
            headers=self.headers,
            body=data[self.head_bytes : self.head_bytes + self.body_bytes],
            transport=transport,
        )


def read_head(data: bytes) -> RequestHead | None:
    """Reads the head at the beginning of what a client has sent; None: aiohttp has to read it."""
    end = data.find(_HEAD_END, 0, MAX_HEAD_BYTES) + 2
    line = _REQUEST_LINE.match(data, 0, end)
    if line is None or _HEADERS.fullmatch(data, line.end(), end) is None:
        return None
    method, path = line[1].decode(), line[2].decode()
    query = _read_query(line[3])
    if query is None or not _is_plain_address(method, path, query):
        return None
    headers: dict[str, str] = {}
    for text in data[line.end() : end - 2].decode("ascii").split("\r\n"):
        name, _colon, value = text.partition(":")
        name = name.lower()
        if name in headers or name in _LEFT_TO_AIOHTTP:
            return None
        headers[name] = value.strip(" \t")
    length = headers.get("content-length", "0")
    if len(length) > _MAX_LENGTH_DIGITS or not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        return None
    return RequestHead(method, path, query, CIMultiDict(headers), end + 2, int(length))


def _read_query(text: bytes | None) -> dict[str, str] | None:
    """The parameters; of one that occurs twice the first. None: a separator is unusual."""
    query: dict[str, str] = {}
    for pair in text.decode().split("&") if text else ():
        name, _equals, value = pair.partition("=")
        if not name:
            return None
        query.setdefault(name, value)
    return query


def _is_plain_address(method: str, path: str, query: Mapping[str, str]) -> bool:
    """Whether an address needs no normalisation and names one object, or a collection to add to."""
    target = parse_resource_path(path)
    if target is None or "//" in path or "/." in path or path.endswith("/"):
        return False
    return (method == "POST" or bool(target.name)) and not parse_flag(query, "watch")
