"""Sends the index of each site: whole, or as a base and what has changed since.

A large index goes out whole once, as a base, and after that its changes go out as deltas of this
base (`agents/protocol/index_delta.py`). A new base follows when a delta is half as large as its
base, or when all deltas together are twice as large: so the bytes grow with the changes, not with
the orders times the changes. Every delta names the digest of the complete index, which is what the
site echoes, and so every caller deals with complete indexes alone.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from agents.protocol.envelope import seal
from agents.protocol.index import DesiredIndex, digest_of
from agents.protocol.index_delta import (
    INDEX_DELTA,
    IndexBase,
    base_of,
    compute_delta,
    encode_large_index,
)
from agents.protocol.keys import SigningKey
from agents.protocol.topics import TopicKind, site_topic
from scheduler.control.ports.agents import IndexVersion
from scheduler.mqtt.outbox import Outbox

MIN_BASE_BYTES: Final = 16 * 1024
"""A smaller index is always sent whole: it costs about as much as some contents."""

_MAX_DELTA_SHARE: Final = 2
_MAX_DELTAS_SHARE: Final = 2
_SEAL_LATER_BYTES: Final = 64 * 1024
"""Deflating and signing more than this would hold up the event loop, so a thread does it."""


@dataclass(slots=True)
class _SentBase:
    """A base as it was sent, and the bytes of all deltas of it so far."""

    base: IndexBase
    delta_bytes: int = 0

    def is_used_up(self, delta_size: int) -> bool:
        """Whether a new base costs less than this delta and those that would follow it."""
        return (
            delta_size * _MAX_DELTA_SHARE > self.base.size
            or self.delta_bytes + delta_size > self.base.size * _MAX_DELTAS_SHARE
        )


@dataclass(slots=True, kw_only=True)
class IndexSender:
    """Signs indexes and puts them into the outbox.

    Attributes:
        key: the hub's signing key.
        outbox: messages to publish.
    """

    key: SigningKey
    outbox: Outbox
    _sent: dict[str, _SentBase] = field(default_factory=dict, init=False)
    _has_delta: dict[str, bool] = field(default_factory=dict, init=False)

    def send(self, index: DesiredIndex, *, takes_deltas: bool, renews_base: bool) -> str:
        """Sends a complete index in the form that costs least.

        Args:
            index: the index.
            takes_deltas: every agent of the site takes deltas.
            renews_base: the site may lack the base, so it is not built on.

        Returns:
            The digest of the complete index, which the site echoes.

        Raises:
            WireError: it is larger than agents accept.
        """
        data = encode_large_index(index)
        digest, sent = digest_of(data), self._sent.get(index.site)
        # An index whose size changes around the bound must not change its form each time.
        least = MIN_BASE_BYTES // 2 if sent else MIN_BASE_BYTES
        if not takes_deltas or len(data) < least:
            self._send_whole(index.site, data, takes_deltas=takes_deltas)
            return digest
        delta = None if renews_base or sent is None else _delta_of(sent, index, digest)
        if sent is None or delta is None:
            base = replace(index, is_base=True)
            data = encode_large_index(base)
            sent = self._sent[index.site] = _SentBase(base_of(base, data))
            self._put(index.site, "desired", data)
            digest = sent.base.digest
            delta = INDEX_DELTA.encode(compute_delta(sent.base, base, digest))
        sent.delta_bytes += len(delta)
        self._put(index.site, "desired/delta", delta)
        self._has_delta[index.site] = True
        return digest

    def base_version(self, site: str) -> IndexVersion | None:
        """The version of the base that a site needs now; None: its index was sent whole."""
        sent = self._sent.get(site)
        return sent.base.index.version if sent else None

    def forget_site(self, site: str) -> None:
        """Drops what was sent to a site whose object is gone."""
        self._sent.pop(site, None)
        self._has_delta.pop(site, None)

    def _send_whole(self, site: str, data: bytes, *, takes_deltas: bool) -> None:
        self._put(site, "desired", data)
        self._sent.pop(site, None)
        # A hub before this one may have left a delta; only agents that take them read it.
        if self._has_delta.get(site, takes_deltas):
            self.outbox.put_state(site_topic(site, "desired/delta"), b"")
        self._has_delta[site] = False

    def _put(self, site: str, kind: TopicKind, data: bytes) -> None:
        topic = site_topic(site, kind)
        if len(data) < _SEAL_LATER_BYTES:
            self.outbox.put_state(topic, seal(data, topic=topic, key=self.key))
        else:
            self.outbox.put_unsealed(topic, lambda: seal(data, topic=topic, key=self.key))


def _delta_of(sent: _SentBase, index: DesiredIndex, digest: str) -> bytes | None:
    """The delta of an index; None if a new base is due."""
    base = sent.base.index
    if (base.site_uid, base.epoch) != (index.site_uid, index.epoch):
        return None
    delta = INDEX_DELTA.encode(compute_delta(sent.base, index, digest))
    return None if sent.is_used_up(len(delta)) else delta
