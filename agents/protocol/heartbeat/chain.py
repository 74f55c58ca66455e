"""Heartbeats: a few bytes that say that nothing has changed since a signed report.

A signed report names the end of a chain of values, each of which is the hash of the one after it
(Lamport 1981, RFC 2289). Each heartbeat shows the next value, which the agent alone knows before:
from the values that were seen it cannot be computed. So a heartbeat is as good as a signed
message that repeats the report, and takes one hash to check. It proves no more than the report: it
carries the nonces of the report, and the age that the report states for all heartbeats. Whatever
else an agent has to say it says in a signed message, which begins another chain.
"""

import base64
import binascii
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Final, Self

from agents.protocol.bounds import AtMost, Count, Seconds
from agents.protocol.errors import WireError

CHAIN_LENGTH: Final = 64
"""Heartbeats of one report; at one in 10 s they last longer than a nonce."""

_VALUE_BYTES: Final = 16
_NAME_BYTES: Final = 4
_FORM: Final = 1
_LAYOUT: Final = struct.Struct(f">BB{_NAME_BYTES}s{_VALUE_BYTES}s")
HEARTBEAT_BYTES: Final = _LAYOUT.size


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedHeartbeats:
    """What a report says of the heartbeats that follow it.

    Attributes:
        anchor: the end of the chain, as BASE64.
        observed_within_seconds: at each heartbeat the site was observed at most as long ago.
        status: sequence of the newest status before this report; absent: none was sent yet.
    """

    anchor: Annotated[str, AtMost(32)]
    observed_within_seconds: Seconds
    status: Count | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A heartbeat as it arrived; nothing of it is verified.

    Attributes:
        chain: the first bytes of the chain's anchor, which name it.
        number: which heartbeat of the chain, from 1.
        value: the value that it shows.
    """

    chain: bytes
    number: int
    value: bytes


def is_heartbeat(payload: bytes) -> bool:
    """Whether a message has the form of a heartbeat; every other message is JSON."""
    return len(payload) == HEARTBEAT_BYTES and payload[0] == _FORM


def parse_heartbeat(payload: bytes) -> Heartbeat:
    """Parses a heartbeat.

    Raises:
        WireError: it is none, or its number is beyond every chain.
    """
    if not is_heartbeat(payload):
        raise WireError("malformed", "not a heartbeat")
    _, number, chain, value = _LAYOUT.unpack(payload)
    if not 1 <= number <= CHAIN_LENGTH:
        raise WireError("malformed", f"heartbeat {number} of a chain of {CHAIN_LENGTH}")
    return Heartbeat(chain, number, value)


class SentChain:
    """The chain of an agent after one report; makes the heartbeats in order."""

    def __init__(self, topic: str, random_bytes: Callable[[int], bytes]) -> None:
        """Makes a chain.

        Args:
            topic: topic of the reports; heartbeats are valid on no other.
            random_bytes: makes so many bytes that no other program can guess, as `os.urandom`.
        """
        values = [random_bytes(_VALUE_BYTES)]
        for _ in range(CHAIN_LENGTH):
            values.append(_hash_of(topic, values[-1]))
        self._anchor = values.pop()
        self._left = values
        self._number = 0

    @property
    def anchor(self) -> str:
        """The anchor for the report, as BASE64."""
        return base64.b64encode(self._anchor).decode()

    def next_heartbeat(self) -> bytes | None:
        """The next heartbeat; None: the chain is over, and a signed report is due."""
        if not self._left:
            return None
        self._number += 1
        name = self._anchor[:_NAME_BYTES]
        return _LAYOUT.pack(_FORM, self._number, name, self._left.pop())


@dataclass(slots=True)
class ReceivedChain:
    """A chain as the hub knows it.

    Attributes:
        topic: topic of the report that named it.
        value: the newest value that was shown; the anchor before the first heartbeat.
        number: the number of that heartbeat.
        name: what heartbeats call it.
    """

    topic: str
    value: bytes
    number: int = 0
    name: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.value[:_NAME_BYTES]

    @classmethod
    def of_report(cls, topic: str, reported: ReportedHeartbeats) -> Self:
        """The chain that a verified report names.

        Raises:
            WireError: its anchor is none.
        """
        try:
            anchor = base64.b64decode(reported.anchor, validate=True)
        except (binascii.Error, ValueError):
            anchor = b""
        if len(anchor) != _VALUE_BYTES:
            raise WireError("malformed", f"expected {_VALUE_BYTES} bytes", "heartbeats.anchor")
        return cls(topic, anchor)

    def accept(self, heartbeat: Heartbeat) -> None:
        """Takes a heartbeat that is the newest of this chain.

        Raises:
            WireError: "signature": the agent has not made it; "stale": it, or a later one, was
                received before.
        """
        steps = heartbeat.number - self.number
        if heartbeat.chain != self.name or steps <= 0:
            raise WireError("stale", "a heartbeat of another chain, or one that was received")
        value = heartbeat.value
        for _ in range(steps):
            value = _hash_of(self.topic, value)
        if value != self.value:
            raise WireError("signature", "the heartbeat is not of the chain that it names")
        self.value, self.number = heartbeat.value, heartbeat.number


def _hash_of(topic: str, value: bytes) -> bytes:
    return sha256(f"kapok-heartbeat\n{topic}\n".encode() + value).digest()[:_VALUE_BYTES]
