"""The signed, complete index of what a site shall run: the only message that withdraws anything."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final

from agents.protocol.codec import Codec
from agents.protocol.report import MAX_ORDERS, Count
from agents.protocol.shapes import AtMost, Between

MAX_PARTS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One order that the site shall run.

    Attributes:
        id: hub id / namespace / name / incarnation. Not a uid: a restored backup must find its own
            again.
        generation: grows when the content changes.
        digest: of the content, `sha256:` and 64 hex digits (`digest_of`).
        parts: messages that the content is spread over; see `orders`.
    """

    id: str
    generation: Count
    digest: Annotated[str, AtMost(71)]
    parts: Annotated[int, Between(1, MAX_PARTS)] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredIndex:
    """Everything that the site shall run; what it does not list is to be withdrawn.

    (epoch, sequence) orders all indexes of a site: a new leader of the hub takes a higher epoch and
    begins its own sequence.

    Attributes:
        site: whose; must be the topic's.
        site_uid: the Site object's uid, so that a site deleted and made anew under one name is
            another.
        epoch: of the hub's leader.
        sequence: grows with every change within an epoch.
        orders: sorted by id.
    """

    site: Annotated[str, AtMost(253)]
    site_uid: Annotated[str, AtMost(128)]
    epoch: Count
    sequence: Count
    orders: Annotated[tuple[IndexEntry, ...], AtMost(MAX_ORDERS)] = ()

    @property
    def version(self) -> tuple[int, int]:
        """What is compared: (epoch, sequence)."""
        return (self.epoch, self.sequence)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEcho:
    """What a status says of the index that its agent works by, so that the hub sees a roll-back."""

    epoch: Count
    sequence: Count
    digest: Annotated[str, AtMost(71)]


DESIRED_INDEX: Final = Codec(DesiredIndex)


def digest_of(data: bytes) -> str:
    """The digest of an index's or a content's encoded bytes, as `sha256:HEX`."""
    return "sha256:" + sha256(data).hexdigest()


def encode_index(index: DesiredIndex) -> tuple[bytes, IndexEcho]:
    """The bytes to seal, and the echo to expect in the site's status.

    Raises:
        WireError: more than readers take.
    """
    data = DESIRED_INDEX.encode(index)
    return data, echo_of(index, data)


def echo_of(index: DesiredIndex, data: bytes) -> IndexEcho:
    """The echo of an index that was read from, or written as, `data`."""
    return IndexEcho(epoch=index.epoch, sequence=index.sequence, digest=digest_of(data))
