"""Sorts a message by its sender and its kind before anything of it is decoded.

The key id and the form of a report are read from the first bytes of an envelope. They are not
verified here: they say only with which other messages this one competes. Reading them costs a few
microseconds, whatever the size of the message.
"""

import base64
import binascii
import re
import zlib
from dataclasses import dataclass

from agents.protocol.bounds import MAX_ENVELOPE_BYTES
from agents.protocol.envelope import sender_key_id
from agents.protocol.errors import WireError
from agents.protocol.heartbeat.chain import is_heartbeat, parse_heartbeat
from agents.protocol.topics import Topic, parse_topic

# Agents write canonical JSON, whose first fields are alg, encoding, kid and payload.
_KEY_ID = re.compile(rb'"kid"\s{0,8}:\s{0,8}"([0-9a-f]{16})"')
_PAYLOAD = re.compile(rb'"payload"\s{0,8}:\s{0,8}"([A-Za-z0-9+/]*)')
_DELTA = re.compile(rb'"base"\s{0,8}:|"kind"\s{0,8}:\s{0,8}"delta"')
_HEAD_BYTES = 1024
_MAX_PARSED_BYTES = 4096
_PEEKED_BYTES = 4096
_LARGE_BYTES, _LARGE_JSON_BYTES = 8 * 1024, 32 * 1024

HEARTBEAT = "heartbeat"
SITE_KINDS = ("report", "status", "offline", "answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Messages that replace each other: the newest valid one makes older ones superfluous.

    Attributes:
        site: the site of the topic.
        kind: the kind of the topic, or "heartbeat".
        key_id: the key that the message claims to be signed with; the chain of a heartbeat.
        is_delta: whether a report looks like a delta, which a full report does not replace.
        token: of an answer, the question that it is to; answers to others do not replace it.
    """

    site: str
    kind: str
    key_id: str
    is_delta: bool = False
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message as it arrived.

    Attributes:
        number: counts arrivals.
        topic: name of the topic.
        payload: the envelope.
        lane: what it competes with.
    """

    number: int
    topic: str
    payload: bytes
    lane: Lane

    @property
    def size(self) -> int:
        """Bytes that it takes in a queue, with what Python adds."""
        return len(self.payload) + len(self.topic) + 512


def lane_of(topic: str, payload: bytes, *, retained: bool = False) -> Lane:
    """The lane of a message.

    Raises:
        WireError: not a topic that sites publish to, a retained message, or no envelope.
    """
    parsed_topic = parse_site_topic(topic, retained=retained)
    if len(payload) > MAX_ENVELOPE_BYTES:
        raise WireError(
            "too-large", f"{len(payload)} bytes; at most {MAX_ENVELOPE_BYTES} are allowed"
        )
    if parsed_topic.kind == "report" and is_heartbeat(payload):
        chain = parse_heartbeat(payload).chain
        return Lane(site=parsed_topic.site, kind=HEARTBEAT, key_id=chain.hex())
    return Lane(
        site=parsed_topic.site,
        kind=parsed_topic.kind,
        key_id=key_id_of(payload),
        is_delta=parsed_topic.kind == "report" and looks_like_delta(payload),
        token=parsed_topic.token or "",
    )


def parse_site_topic(topic: str, *, retained: bool) -> Topic:
    """Parses a topic that sites publish to.

    Raises:
        WireError: it is another topic, or the message is a retained one.
    """
    parsed_topic = parse_topic(topic)
    if retained or parsed_topic.kind not in SITE_KINDS:
        raise WireError(
            "malformed", f"{topic}: not a topic that sites publish to, or a retained message"
        )
    return parsed_topic


def key_id_of(payload: bytes) -> str:
    """The key id that an envelope names.

    Raises:
        WireError: it names none where agents write it.
    """
    found = _KEY_ID.search(payload, 0, _HEAD_BYTES) or _KEY_ID.search(payload[-_HEAD_BYTES:])
    if found:
        return found[1].decode()
    if len(payload) > _MAX_PARSED_BYTES:
        raise WireError("malformed", f"no key id within the first {_HEAD_BYTES} bytes")
    return sender_key_id(payload)


def is_large(payload: bytes) -> bool:
    """Whether decoding a message may hold the event loop for more than some milliseconds."""
    if len(payload) > _LARGE_BYTES:
        return True
    return len(_head_of(payload, _LARGE_JSON_BYTES)) >= _LARGE_JSON_BYTES


def looks_like_delta(payload: bytes) -> bool:
    """Whether the first part of a report is that of a delta; False if it cannot be read."""
    head = _head_of(payload[: _HEAD_BYTES + _PEEKED_BYTES], _PEEKED_BYTES)
    return _DELTA.search(head) is not None


def _head_of(envelope: bytes, max_bytes: int) -> bytes:
    """The first part of an envelope's payload, inflated; b"" if it cannot be read."""
    found = _PAYLOAD.search(envelope)
    if not found:
        return b""
    text = found[1]
    try:
        head = base64.b64decode(text[: len(text) // 4 * 4])
        return head if head.startswith(b"{") else zlib.decompressobj().decompress(head, max_bytes)
    except (binascii.Error, zlib.error, ValueError):
        return b""
