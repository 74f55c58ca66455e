"""The index: the signed, complete list of what a site shall run. Only it withdraws an order."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final

from agents.protocol.bounds import (
    MAX_LABELS,
    MAX_ORDERS,
    MAX_PARTS,
    AtMost,
    Between,
    Count,
    Digest,
    Epoch,
    OrderId,
    SiteName,
    Uid,
)
from agents.protocol.codec import Codec


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One order that the site shall run.

    Attributes:
        id: `HUB/NAMESPACE/NAME/INCARNATION`. Not the workload's uid, which changes when a hub is
            restored from a backup, whose orders must keep their ids.
        generation: generation of the content; grows when the content changes.
        digest: digest of the content: `sha256:` and 64 hex digits (`digest_of`).
        parts: number of messages that hold the content; see `orders.py`.
    """

    id: OrderId
    generation: Count
    digest: Digest
    parts: Annotated[int, Between(1, MAX_PARTS)] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerHead:
    """The end of the hub's ledger at one moment, signed by the hub; sites keep it as witnesses.

    An agent does not check it: it is in an index that the hub has signed.

    Attributes:
        first: the first record that no earlier segment of the ledger covers.
        seq: sequence of the newest record.
        hash: its hash, which covers every record before it.
        previous: hash of the newest segment.
        at: when it was signed, ISO 8601.
        key: the hub's public key.
        signature: Ed25519, in base64.
    """

    first: Count
    seq: Count
    hash: Digest
    previous: Digest
    at: Annotated[str, AtMost(64)]
    key: Annotated[str, AtMost(128)]
    signature: Annotated[str, AtMost(128)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldHead:
    """A head of the hub's ledger that a site holds, with the version of the index it came in."""

    head: LedgerHead
    epoch: Epoch
    sequence: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredIndex:
    """Everything that the site shall run; the agent withdraws orders that are not listed.

    (epoch, sequence) orders all indexes of a site: a new leader of the hub takes a higher epoch and
    starts a new sequence.

    Attributes:
        site: name of the site; the same as in the topic.
        site_uid: uid of the Site object; it differs when a site is deleted and created again.
        epoch: epoch of the hub's leader.
        sequence: grows with every change within an epoch.
        orders: the orders, sorted by id.
        ledger_head: the end of the hub's ledger when the index was made.
        purge: ids of orders that are not listed and of which the claims, the data, go too. Without
            this word an agent keeps the claims of an order that it withdraws.
        node_labels: names of node labels that workloads ask for; a report gives these first.
        is_base: a delta on `desired/delta` completes this index, see `index_delta.py`; an agent
            that takes deltas does not act on it without one. Others ignore this field, and get no
            such index.
    """

    site: SiteName
    site_uid: Uid
    epoch: Epoch
    sequence: Count
    orders: Annotated[tuple[IndexEntry, ...], AtMost(MAX_ORDERS)] = ()
    ledger_head: LedgerHead | None = None
    purge: Annotated[tuple[OrderId, ...], AtMost(MAX_ORDERS)] | None = None
    node_labels: Annotated[tuple[Annotated[str, AtMost(256)], ...], AtMost(MAX_LABELS)] | None = (
        None
    )
    is_base: bool | None = None

    @property
    def version(self) -> tuple[int, int]:
        """(epoch, sequence); the higher is the newer."""
        return (self.epoch, self.sequence)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEcho:
    """The index that an agent applies, as its status names it; shows the hub a roll-back."""

    epoch: Epoch
    sequence: Count
    digest: Digest


KEPT_AS_IT_IS: Final = "sha256:" + "0" * 64
"""Digest of an order of which the site keeps what it has; no content has it."""

DESIRED_INDEX: Final = Codec(DesiredIndex)


def digest_of(data: bytes) -> str:
    """The digest of an encoded index or content, as `sha256:HEX`."""
    return "sha256:" + sha256(data).hexdigest()


def encode_index(index: DesiredIndex) -> tuple[bytes, IndexEcho]:
    """Encodes an index; returns the bytes to seal and the echo to expect in the site's status.

    Raises:
        WireError: the index is larger than readers accept.
    """
    data = DESIRED_INDEX.encode(index)
    return data, echo_of(index, data)


def echo_of(index: DesiredIndex, data: bytes) -> IndexEcho:
    """The echo of an index whose encoded bytes are `data`."""
    return IndexEcho(epoch=index.epoch, sequence=index.sequence, digest=digest_of(data))
