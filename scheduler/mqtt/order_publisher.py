"""Signs orders and indexes for sites, and puts them into the outbox.

Messages carry state, not events: a topic has one current payload, and a newer one replaces what is
not sent yet; a request replaces only one that asks for the same. When a new session finds an empty
broker, every index is published again, and the content of an order when a site lists it as missing.

A large index goes out whole once, as a base, and after that its changes go out as deltas of it
(`agents/protocol/index_delta.py`). Every delta names the digest of the complete index, which is
what the site echoes, and so every caller deals with complete indexes alone.

A hub that was restored from a backup has forgotten its latest indexes, but its sites work by them.
A site's word about that counts for nothing, signed or not; the index itself counts, because only
the holder of our key can have made it. It is read as agents read it: signed for this site's topic,
and for the uid that this site has at the hub.
"""

import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, NamedTuple

from agents.protocol.bounds import MAX_ORDERS
from agents.protocol.codec import Codec
from agents.protocol.diagnosis.question import Question
from agents.protocol.envelope import seal, unseal
from agents.protocol.errors import WireError
from agents.protocol.hub_requests import (
    HUB_REQUEST,
    WANT_FULL_REPORT,
    WANT_INDEX_PROOF,
    WANT_LEDGER_HEADS,
    WANT_STATUS,
    HigherBoot,
    HubNonce,
    HubRequest,
)
from agents.protocol.index import (
    DESIRED_INDEX,
    DesiredIndex,
    IndexEntry,
    LedgerHead,
    digest_of,
)
from agents.protocol.index_delta import (
    INDEX_DELTA,
    MAX_DELTA_BYTES,
    IndexBase,
    IndexDelta,
    base_of,
    compute_delta,
    encode_large_delta,
    encode_large_index,
    entry_text,
)
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.orders import (
    ORDER_CONTENT,
    OrderContent,
    PackedOrder,
    pack_content,
    seal_parts,
)
from agents.protocol.sealing.box import SealedBox, seal_content, sealing_secret_of
from agents.protocol.topics import TopicKind, order_topic, site_topic
from scheduler.control.ports.agents import (
    IndexVersion,
    OrderForSite,
    OrderNotPublishable,
    ProofRefused,
    ProvenIndex,
)
from scheduler.control.ports.ledger import SignedHead
from scheduler.model.packed_manifests import PackedManifests
from scheduler.mqtt.outbox import Outbox

_log = logging.getLogger(__name__)

_INDEX_ENTRY = Codec(IndexEntry)
_MAX_ENTRY_BYTES = 160
"""Bytes of an entry's JSON beside its id: names of fields, a digest and two numbers."""
_MAX_INDEX_BYTES = 5 * 1024 * 1024 - 32 * 1024  # less the names of node labels
"""Deflated and in base64 this fits into an envelope, even if all digests and names are random."""


MIN_BASE_BYTES: Final = 16 * 1024
"""A smaller index is always sent whole: it costs about as much as some contents."""

_MAX_PACKED: Final = 512
"""Enough for what is between its decision and its publication."""
_MAX_DELTA_SHARE: Final = 2
_MAX_DELTAS_SHARE: Final = 2
_QUESTION_EXPIRY_SECONDS: Final = 10
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
    """Sends the index of each site in the form that costs least, so that bytes grow with changes.

    A new base follows when a delta is half as large as its base, or when all deltas together are
    twice as large.

    Attributes:
        key: the hub's signing key.
        outbox: messages to publish.
    """

    key: SigningKey
    outbox: Outbox
    _sent: dict[str, _SentBase] = field(default_factory=dict, init=False)
    _has_delta: dict[str, bool] = field(default_factory=dict, init=False)
    _texts: dict[str, dict[str, tuple[IndexEntry, str]]] = field(default_factory=dict, init=False)

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
        texts = self._texts_of(index)
        data = encode_large_index(index, [text for _, text in texts.values()])
        digest, sent = digest_of(data), self._sent.get(index.site)
        # An index whose size changes around the bound must not change its form each time.
        least = MIN_BASE_BYTES // 2 if sent else MIN_BASE_BYTES
        if not takes_deltas or len(data) < least:
            self._send_whole(index.site, data, takes_deltas=takes_deltas)
            return digest
        delta = None if renews_base or sent is None else _delta_of(sent, index, digest, texts)
        if sent is None or delta is None:
            base = replace(index, is_base=True)
            data = encode_large_index(base, [text for _, text in texts.values()])
            sent = self._sent[index.site] = _SentBase(base_of(base, data))
            self._put(index.site, "desired", data)
            digest = sent.base.digest
            delta = encode_large_delta(compute_delta(sent.base, base, digest))
        sent.delta_bytes += len(delta)
        self._put(index.site, "desired/delta", delta)
        self._has_delta[index.site] = True
        return digest

    def _texts_of(self, index: DesiredIndex) -> dict[str, tuple[IndexEntry, str]]:
        """The entries of an index with their JSON, by id; of one that it had before, as it was.

        Most entries are as in the index before, and to write them again would cost each change by
        the number of orders.
        """
        known = self._texts.get(index.site, {})
        found: dict[str, tuple[IndexEntry, str]] = {}
        for one in index.orders:
            held = known.get(one.id)
            found[one.id] = held if held and held[0] is one else (one, entry_text(one))
        self._texts[index.site] = found
        return found

    def base_version(self, site: str) -> IndexVersion | None:
        """The version of the base that a site needs now; None: its index was sent whole."""
        sent = self._sent.get(site)
        return sent.base.index.version if sent else None

    def forget_site(self, site: str) -> None:
        """Drops what was sent to a site whose object is gone."""
        self._sent.pop(site, None)
        self._has_delta.pop(site, None)
        self._texts.pop(site, None)

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


def _delta_of(
    sent: _SentBase,
    index: DesiredIndex,
    digest: str,
    texts: Mapping[str, tuple[IndexEntry, str]],
) -> bytes | None:
    """The delta of an index; None if a new base is due."""
    base = sent.base.index
    if (base.site_uid, base.epoch) != (index.site_uid, index.epoch):
        return None
    delta = compute_delta(sent.base, index, digest)
    data = encode_large_delta(delta, [texts[one.id][1] for one in delta.orders])
    return None if sent.is_used_up(len(data)) else data


class _Prepared(NamedTuple):
    """The messages of an order, or why there are none, and what they were made of."""

    order: OrderForSite
    key: str
    packed: PackedOrder | None
    messages: tuple[tuple[str, bytes], ...]
    refusal: str


@dataclass(slots=True, kw_only=True)
class OrderPublisher:
    """Implements `scheduler.control.ports.agents.OrderPublisherPort`.

    Attributes:
        key: the hub's signing key.
        outbox: messages to publish.
        nonce_for: gives the nonce to send to a site when it is asked for a report; None: none.
        ledger_head: the signed head of the ledger at this moment; it goes out with every index, so
            that sites hold it.
        node_labels: names of the node labels that workloads ask for; they go out with every index.
        sealing_key_of: the public key for which Secrets of a site are sealed; "": unknown.
    """

    key: SigningKey
    outbox: Outbox
    nonce_for: Callable[[str], HubNonce | None] = lambda _site: None
    ledger_head: Callable[[], SignedHead | None] = lambda: None
    node_labels: Callable[[], Collection[str]] = tuple
    sealing_key_of: Callable[[str], str] = lambda _site: ""
    _heads_sent: dict[str, tuple[IndexVersion, SignedHead]] = field(
        default_factory=dict, init=False
    )
    _index_entries: dict[tuple[str, str], IndexEntry] = field(default_factory=dict, init=False)
    _packed: OrderedDict[tuple[str, str], tuple[OrderForSite, str, PackedOrder]] = field(
        default_factory=OrderedDict, init=False
    )
    _prepared: dict[tuple[str, str], _Prepared] = field(default_factory=dict, init=False)
    _index_sender: IndexSender = field(init=False)

    def __post_init__(self) -> None:
        self._index_sender = IndexSender(key=self.key, outbox=self.outbox)

    def publish_order(self, site: str, order: OrderForSite) -> str:
        """Publishes one order's content, retained.

        Returns:
            The content's digest.

        Raises:
            OrderNotPublishable: agents would not accept the content or its entry in an index.
        """
        if order.kept_digest:
            entry = _kept_entry(order)
            self._index_entries[site, order.id] = entry
            return entry.digest
        made = self._prepared.pop((site, order.id), None)
        if made is None or not self._is_made_of(made, site, order):
            made = self._prepare(site, order)
        self._packed.pop((site, order.id), None)
        packed = made.packed
        if packed is None:
            raise OrderNotPublishable(made.refusal)
        for part_topic, message in made.messages:
            self.outbox.put_state(part_topic, message)
        if self._index_entries.get((site, order.id)) != packed.entry:
            ids = {"order": order.id, "site": site, "workload": f"{order.namespace}/{order.name}"}
            _log.info("order %s, generation %s, to %s", order.id, order.generation, site, extra=ids)
        self._index_entries[site, order.id] = packed.entry
        return packed.entry.digest

    def is_slow(self, site: str, order: OrderForSite) -> bool:
        """Whether the content of an order is large, and not made yet."""
        if order.kept_digest or not _is_large(order):
            return False
        made = self._prepared.get((site, order.id))
        return made is None or not self._is_made_of(made, site, order)

    def prepare_order(self, site: str, order: OrderForSite) -> None:
        """Makes the messages of an order; `publish_order` takes them. A thread may call it."""
        self._prepared[site, order.id] = self._prepare(site, order)

    def _is_made_of(self, made: _Prepared, site: str, order: OrderForSite) -> bool:
        return made.key == self._key_for(site, order) and made.order == order

    def _prepare(self, site: str, order: OrderForSite) -> _Prepared:
        key = self._key_for(site, order)
        try:
            packed = self._pack(site, order)
            messages = seal_parts(packed, site=site, key=self.key)
        except OrderNotPublishable as error:
            return _Prepared(order, key, None, (), str(error))
        except WireError as error:
            return _Prepared(order, key, None, (), f"the order cannot be sent: {error}")
        return _Prepared(order, key, packed, messages, "")

    def digest_of(self, site: str, order: OrderForSite) -> str:
        """The digest that the index is to list for an order, and `/PARTS` if it has several.

        What is packed for it is kept until the order is published, which follows in most cases.

        Raises:
            OrderNotPublishable: agents would not accept the order.
        """
        if order.kept_digest:
            return order.kept_digest
        packed = self._pack(site, order)
        self._packed[site, order.id] = (order, self._key_for(site, order), packed)
        self._packed.move_to_end((site, order.id))
        while len(self._packed) > _MAX_PACKED:  # what a site has already is not published
            self._packed.popitem(last=False)
        parts = f"/{packed.entry.parts}" if packed.entry.parts > 1 else ""
        return packed.entry.digest + parts

    def _pack(self, site: str, order: OrderForSite) -> PackedOrder:
        known, key, packed = self._packed.get((site, order.id), (None, "", None))
        if packed is not None and known == order and key == self._key_for(site, order):
            return packed
        content = OrderContent(
            id=order.id,
            generation=order.generation,
            site=site,
            namespace=order.namespace,
            name=order.name,
            manifests=_plain_dicts(order.manifests),
            namespaces=order.namespaces,
            cluster_kinds=order.cluster_kinds,
            pod_security=order.pod_security,
            needs=order.needs or None,
            update_strategy=order.update_strategy or None,
            on_drift=order.on_drift or None,
            sealed=self._seal_secrets(site, order) if order.secrets else None,
        )
        try:
            # An agent that cannot read one entry refuses the whole index, so it is read here first.
            ORDER_CONTENT.from_json(ORDER_CONTENT.to_json(content))
            packed = pack_content(content)
            _INDEX_ENTRY.from_json(_INDEX_ENTRY.to_json(packed.entry))
        except WireError as error:
            raise OrderNotPublishable(f"the order cannot be sent: {error}") from error
        return packed

    def _key_for(self, site: str, order: OrderForSite) -> str:
        return self.sealing_key_of(site) if order.secrets else ""

    def _seal_secrets(self, site: str, order: OrderForSite) -> SealedBox:
        """The Secrets of an order as the site alone can read them.

        Raises:
            OrderNotPublishable: no key of the site is known.
        """
        try:
            return seal_content(
                json.dumps(order.secrets, sort_keys=True).encode(),
                recipient=self.sealing_key_of(site),
                site=site,
                order_id=order.id,
                secret=sealing_secret_of(self.key.raw()),
            )
        except WireError as error:
            raise OrderNotPublishable(f"the order cannot be sealed: {error}") from error

    def count_that_fit(self, order_ids: Sequence[str]) -> int:
        """How many of these orders one index can list, from the first on."""
        # Characters have at most four bytes; most indexes are far from the limit.
        most = sum(map(len, order_ids)) * 4 + len(order_ids) * _MAX_ENTRY_BYTES
        if len(order_ids) <= MAX_ORDERS and most <= _MAX_INDEX_BYTES:
            return len(order_ids)
        size = 0
        for number, order_id in enumerate(order_ids):
            size += len(order_id.encode()) + _MAX_ENTRY_BYTES
            if number >= MAX_ORDERS or size > _MAX_INDEX_BYTES:
                return number
        return len(order_ids)

    def publish_index(
        self,
        site: str,
        site_uid: str,
        version: IndexVersion,
        orders: Mapping[str, OrderForSite],
        *,
        purge: Collection[str] = (),
        takes_deltas: bool = False,
        renews_base: bool = False,
    ) -> str:
        """Publishes the complete index of a site, retained: whole, or as a delta of a base.

        The caller has published every order before.

        Returns:
            The digest that the site repeats in its status.
        """
        (epoch, sequence), head = version, self.ledger_head()
        index = DesiredIndex(
            site=site,
            site_uid=site_uid,
            epoch=epoch,
            sequence=sequence,
            orders=tuple(self._index_entries[site, order_id] for order_id in sorted(orders)),
            purge=tuple(sorted(purge)) or None,
            ledger_head=LedgerHead(**asdict(head)) if head else None,
            node_labels=tuple(self.node_labels()) or None,
        )
        digest = self._index_sender.send(index, takes_deltas=takes_deltas, renews_base=renews_base)
        if head:
            self._heads_sent[site] = (version, head)
        return digest

    def base_version(self, site: str) -> IndexVersion | None:
        """The version of the index that a site has to have; None: the newest was sent whole."""
        return self._index_sender.base_version(site)

    def forget_site(self, site: str) -> None:
        """Drops what was sent to a site whose object is gone."""
        self._index_sender.forget_site(site)
        for place in [one for one in self._prepared if one[0] == site]:
            del self._prepared[place]

    def sent_head(self, site: str, version: IndexVersion | None = None) -> SignedHead | None:
        """The head in the newest index of a site; with a version, only if that index has it."""
        sent, head = self._heads_sent.get(site, (None, None))
        return head if version in (None, sent) else None

    def withdraw_content(self, site: str, order_id: str) -> None:
        """Clears the retained content of an order that the index no longer lists."""
        entry = self._index_entries.pop((site, order_id), None)
        self._packed.pop((site, order_id), None)
        self._prepared.pop((site, order_id), None)
        if entry is not None:
            ids = {"order": order_id, "site": site}
            _log.info("order %s is withdrawn from %s", order_id, site, extra=ids)
        for part in range(entry.parts if entry else 1):
            self.outbox.put_state(order_topic(site, order_id, part), b"")

    def clear_content(self, site: str, order_id: str) -> None:
        """Clears the retained content of an order that the index goes on to list."""
        entry = self._index_entries.get((site, order_id))
        for part in range(entry.parts if entry else 1):
            self.outbox.put_state(order_topic(site, order_id, part), b"")

    def request_reports(
        self, site: str, epoch: int, *, want_status: bool, want_report: bool
    ) -> None:
        """Asks a site's agents to send their status, a full report, or both, now."""
        wants = ((WANT_STATUS, want_status), (WANT_FULL_REPORT, want_report))
        words = tuple(word for word, is_wanted in wants if is_wanted)
        self._request(HubRequest(site=site, epoch=epoch, wants=words, nonce=self.nonce_for(site)))

    def ask(
        self, site: str, epoch: int, *, wants_report: bool, higher_boot: HigherBoot | None = None
    ) -> None:
        """Asks a site's agents with a nonce; a report and a status answer it anyway.

        Args:
            site: the site.
            epoch: epoch of the hub's leader; 0: a scheduler that stands by.
            wants_report: the report has to be a full one.
            higher_boot: has an agent count its boots from a higher number.
        """
        wants = (WANT_FULL_REPORT,) if wants_report else ()
        nonce = self.nonce_for(site)
        self._request(
            HubRequest(site=site, epoch=epoch, wants=wants, nonce=nonce, higher_boot=higher_boot)
        )

    def put_question(self, site: str, epoch: int, agent: str, question: Question) -> None:
        """Asks one agent of a site about an order."""
        request = HubRequest(site=site, epoch=epoch, agent=agent, question=question)
        topic = site_topic(site, "hub")
        sealed = seal(HUB_REQUEST.encode(request), topic=topic, key=self.key)
        self.outbox.put_request(
            topic,
            sealed,
            kind=f"question {question.token}",
            expiry_seconds=_QUESTION_EXPIRY_SECONDS,
        )

    def drop_question(self, site: str, token: str) -> None:
        """Drops a question that was not sent yet."""
        self.outbox.drop_request(site_topic(site, "hub"), kind=f"question {token}")

    def request_heads(self, site: str, epoch: int) -> None:
        """Asks a site's agents for the heads of the ledger that they hold."""
        self._request(HubRequest(site=site, epoch=epoch, wants=(WANT_LEDGER_HEADS,)))

    def request_proof(self, site: str, epoch: int) -> None:
        """Asks a site's agents for the index that they work by, in the envelope of its hub."""
        self._request(HubRequest(site=site, epoch=epoch, wants=(WANT_INDEX_PROOF,)))

    def read_proof(self, site: str, site_uid: str, proof: str) -> ProvenIndex:
        """Reads such an index.

        Raises:
            ProofRefused: our key has not signed it, or not for this site.
        """
        own_keys = TrustedKeys([self.key.public])
        return read_index_proof(proof, site=site, site_uid=site_uid, own_keys=own_keys)

    def _request(self, request: HubRequest) -> None:
        request_topic = site_topic(request.site, "hub")
        data = HUB_REQUEST.encode(request)
        sealed = seal(data, topic=request_topic, key=self.key)
        self.outbox.put_request(request_topic, sealed, kind=_kind_of(request))


def _kind_of(request: HubRequest) -> str:
    """What a request asks for; of two that ask for the same, the newer one is enough."""
    boot = request.higher_boot
    asks = (*sorted(request.wants), *(("nonce",) if request.nonce else ()))
    return " ".join((*asks, f"higher-boot {boot.agent}") if boot else asks)


def read_index_proof(proof: str, *, site: str, site_uid: str, own_keys: TrustedKeys) -> ProvenIndex:
    """The version and digest of an index that one of our keys has signed for a site.

    Args:
        proof: the envelope, as the site keeps it.
        site: name of the site that sent it.
        site_uid: uid of the Site object of that name.
        own_keys: the keys that this hub signs with; no key of a site is among them.

    Raises:
        ProofRefused: it is not signed by us, was changed, or is an index of another site.
    """
    # Bounded where it comes in: it is one text of a message that was decoded.
    data = proof.encode(errors="replace")
    try:
        index, digest = _read_signed_version(data, site, own_keys)
    except WireError as error:
        raise ProofRefused(error.reason, str(error)) from error
    if (index.site, index.site_uid) != (site, site_uid):
        raise ProofRefused(
            "wrong-site",
            f"the index is of site {index.site!r} with uid {index.site_uid!r}; the hub has"
            f" {site!r} with uid {site_uid!r}",
        )
    return ProvenIndex(version=index.version, digest=digest)


def _read_signed_version(
    data: bytes, site: str, own_keys: TrustedKeys
) -> tuple[DesiredIndex | IndexDelta, str]:
    """The index or delta in an envelope, and the digest of the complete index.

    A site keeps the message by which its index came to be. The topic is signed, but not in the
    envelope, so the signature is tried for both.
    """
    try:
        payload = unseal(data, topic=site_topic(site, "desired"), trusted=own_keys)
    except WireError as error:
        if error.reason != "signature":
            raise
        not_an_index = error
    else:
        return DESIRED_INDEX.decode(payload), digest_of(payload)
    topic = site_topic(site, "desired/delta")
    try:
        payload = unseal(data, topic=topic, trusted=own_keys, max_payload_bytes=MAX_DELTA_BYTES)
    except WireError:
        raise not_an_index from None
    delta = INDEX_DELTA.decode(payload)
    return delta, delta.digest


def _kept_entry(order: OrderForSite) -> IndexEntry:
    """The entry of an order whose content is at the site already.

    Raises:
        OrderNotPublishable: the digest is none.
    """
    digest, _, parts = order.kept_digest.partition("/")
    entry = IndexEntry(
        id=order.id, generation=order.generation, digest=digest, parts=int(parts or 1)
    )
    try:
        return _INDEX_ENTRY.from_json(_INDEX_ENTRY.to_json(entry))
    except WireError as error:
        raise OrderNotPublishable(f"the order cannot be listed: {error}") from error


def _is_large(order: OrderForSite) -> bool:
    """Whether the content holds more text than is encoded and signed in passing."""
    left: list[object] = [*order.secrets]
    size = 0
    if isinstance(order.manifests, PackedManifests):
        size = order.manifests.size
    else:
        left += order.manifests
    while left and size <= _SEAL_LATER_BYTES:
        one = left.pop()
        if isinstance(one, str):
            size += len(one)
        elif isinstance(one, Mapping):
            left += one.values()
            size += sum(map(len, one))
        elif isinstance(one, list | tuple):
            left += one
    return size > _SEAL_LATER_BYTES


def _plain_dicts(manifests: Iterable[Mapping[str, object]]) -> tuple[dict[str, Any], ...]:
    return tuple(dict(one) for one in manifests)
