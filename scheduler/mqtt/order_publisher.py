"""Signs orders and indexes for sites, and puts them into the outbox.

Messages carry state, not events: a topic has one current payload, and a newer one replaces what is
not sent yet. When a new session finds an empty broker, every index is published again, and the
content of an order when a site lists it as missing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agents.protocol.bounds import MAX_ORDERS
from agents.protocol.codec import Codec
from agents.protocol.envelope import seal
from agents.protocol.errors import WireError
from agents.protocol.hub_requests import (
    HUB_REQUEST,
    WANT_FULL_REPORT,
    WANT_INDEX_PROOF,
    WANT_LEDGER_HEADS,
    WANT_STATUS,
    HubRequest,
)
from agents.protocol.index import DesiredIndex, IndexEntry, LedgerHead, encode_index
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.orders import ORDER_CONTENT, OrderContent, pack_content, seal_parts
from agents.protocol.topics import order_topic, site_topic
from scheduler.control.ports.agents import (
    IndexVersion,
    OrderForSite,
    OrderNotPublishable,
    ProvenIndex,
)
from scheduler.control.ports.ledger import SignedHead
from scheduler.mqtt.index_proof import read_index_proof
from scheduler.mqtt.outbox import Outbox

_INDEX_ENTRY = Codec(IndexEntry)
_MAX_ENTRY_BYTES = 160
"""Bytes of an entry's JSON beside its id: names of fields, a digest and two numbers."""
_MAX_INDEX_BYTES = 5 * 1024 * 1024 - 32 * 1024  # less the names of node labels
"""Deflated and in base64 this fits into an envelope, even if all digests and names are random."""


@dataclass(slots=True, kw_only=True)
class OrderPublisher:
    """Implements `scheduler.control.ports.agents.OrderPublisherPort`.

    Attributes:
        key: the hub's signing key.
        outbox: messages to publish, one payload per topic.
        ledger_head: the signed head of the ledger at this moment; it goes out with every index, so
            that sites hold it.
        node_labels: names of the node labels that workloads ask for; they go out with every index.
    """

    key: SigningKey
    outbox: Outbox
    ledger_head: Callable[[], SignedHead | None] = lambda: None
    node_labels: Callable[[], Collection[str]] = tuple
    _heads_sent: dict[str, tuple[IndexVersion, SignedHead]] = field(
        default_factory=dict, init=False
    )
    _index_entries: dict[tuple[str, str], IndexEntry] = field(default_factory=dict, init=False)

    def publish_order(self, site: str, order: OrderForSite) -> str:
        """Publishes one order's content, retained.

        Returns:
            The content's digest.

        Raises:
            OrderNotPublishable: agents would not accept the content or its entry in an index.
        """
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
        )
        try:
            # An agent that cannot read one entry refuses the whole index, so it is read here first.
            ORDER_CONTENT.from_json(ORDER_CONTENT.to_json(content))
            packed = pack_content(content)
            _INDEX_ENTRY.from_json(_INDEX_ENTRY.to_json(packed.entry))
            sealed = seal_parts(packed, site=site, key=self.key)
        except WireError as error:
            raise OrderNotPublishable(f"the order cannot be sent: {error}") from error
        for part_topic, message in sealed:
            self.outbox.put(part_topic, message, retain=True)
        self._index_entries[site, order.id] = packed.entry
        return packed.entry.digest

    def count_that_fit(self, order_ids: Sequence[str]) -> int:
        """How many of these orders one index can list, from the first on."""
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
    ) -> str:
        """Publishes the complete index of a site, retained.

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
        data, echo = encode_index(index)
        if head:
            self._heads_sent[site] = (version, head)
        index_topic = site_topic(site, "desired")
        self.outbox.put(index_topic, seal(data, topic=index_topic, key=self.key), retain=True)
        return echo.digest

    def sent_head(self, site: str, version: IndexVersion | None = None) -> SignedHead | None:
        """The head in the newest index of a site; with a version, only if that index has it."""
        sent, head = self._heads_sent.get(site, (None, None))
        return head if version in (None, sent) else None

    def withdraw_content(self, site: str, order_id: str) -> None:
        """Clears the retained content of an order that the index no longer lists."""
        entry = self._index_entries.pop((site, order_id), None)
        for part in range(entry.parts if entry else 1):
            self.outbox.put(order_topic(site, order_id, part), b"", retain=True)

    def request_reports(
        self, site: str, epoch: int, *, want_status: bool, want_report: bool
    ) -> None:
        """Asks a site's agents to send their status, a full report, or both, at once."""
        wants = ((WANT_STATUS, want_status), (WANT_FULL_REPORT, want_report))
        self._request(site, epoch, *(word for word, is_wanted in wants if is_wanted))

    def request_heads(self, site: str, epoch: int) -> None:
        """Asks a site's agents for the heads of the ledger that they hold."""
        self._request(site, epoch, WANT_LEDGER_HEADS)

    def request_proof(self, site: str, epoch: int) -> None:
        """Asks a site's agents for the index that they work by, in the envelope of its hub."""
        self._request(site, epoch, WANT_INDEX_PROOF)

    def read_proof(self, site: str, site_uid: str, proof: str) -> ProvenIndex:
        """Reads such an index.

        Raises:
            ProofRefused: our key has not signed it, or not for this site.
        """
        own_keys = TrustedKeys([self.key.public])
        return read_index_proof(proof, site=site, site_uid=site_uid, own_keys=own_keys)

    def _request(self, site: str, epoch: int, *wants: str) -> None:
        request = HubRequest(site=site, epoch=epoch, wants=wants)
        request_topic = site_topic(site, "hub")
        data = HUB_REQUEST.encode(request)
        self.outbox.put(request_topic, seal(data, topic=request_topic, key=self.key), retain=False)


def _plain_dicts(manifests: Iterable[Mapping[str, object]]) -> tuple[dict[str, Any], ...]:
    return tuple(dict(one) for one in manifests)
