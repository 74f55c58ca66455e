"""The way down: signs orders and indexes, and keeps for each topic the newest message to publish.

State, not events: a topic has one current payload. What could not be sent yet is replaced by what
is newer; a new session with an empty broker gets every index again, and contents when sites miss
them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.protocol.envelope import seal
from agents.protocol.errors import WireError
from agents.protocol.hub_requests import HUB_REQUEST, WANT_FULL_REPORT, WANT_STATUS, HubRequest
from agents.protocol.index import DesiredIndex, IndexEntry, encode_index
from agents.protocol.keys import SigningKey
from agents.protocol.orders import OrderContent, pack_content, seal_parts
from agents.protocol.topics import order_topic, site_topic
from scheduler.control.ports.agents import IndexVersion, OrderForSite
from scheduler.mqtt.outbox import Outbox


class OrderTooLarge(ValueError):
    """An order that no message can hold; the message names the limit."""


@dataclass(slots=True)
class OrderPublisher:
    """Implements `scheduler.control.ports.agents.Speaker`.

    Attributes:
        key: the hub's signing key.
        outbox: what is to be published, one payload per topic.
    """

    key: SigningKey
    outbox: Outbox
    _index_entries: dict[tuple[str, str], IndexEntry] = field(default_factory=dict)

    def publish_order(self, site: str, order: OrderForSite) -> str:
        """Publishes one order's content, retained.

        Returns:
            The content's digest.

        Raises:
            Unspeakable: the content is larger than sites take.
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
        )
        try:
            packed = pack_content(content)
            sealed = seal_parts(packed, site=site, key=self.key)
        except WireError as error:
            raise OrderTooLarge(f"{order.namespace}/{order.name}: {error}") from error
        for part_topic, message in sealed:
            self.outbox.put(part_topic, message, retain=True)
        self._index_entries[site, order.id] = packed.entry
        return packed.entry.digest

    def publish_index(
        self, site: str, site_uid: str, version: IndexVersion, orders: Mapping[str, OrderForSite]
    ) -> str:
        """Publishes the complete index of a site, retained.

        Every order must have been published before; the caller does so.

        Returns:
            The digest that the site is to echo.
        """
        epoch, sequence = version
        index = DesiredIndex(
            site=site,
            site_uid=site_uid,
            epoch=epoch,
            sequence=sequence,
            orders=tuple(self._index_entries[site, order_id] for order_id in sorted(orders)),
        )
        data, echo = encode_index(index)
        index_topic = site_topic(site, "desired")
        self.outbox.put(index_topic, seal(data, topic=index_topic, key=self.key), retain=True)
        return echo.digest

    def withdraw_content(self, site: str, order_id: str) -> None:
        """Clears the retained content of an order that the index no longer lists."""
        entry = self._index_entries.pop((site, order_id), None)
        for part in range(entry.parts if entry else 1):
            self.outbox.put(order_topic(site, order_id, part), b"", retain=True)

    def request_reports(
        self, site: str, epoch: int, *, want_status: bool, want_report: bool
    ) -> None:
        """Asks a site's agents for what would come anyway."""
        wants = _selected_wants((WANT_STATUS, want_status), (WANT_FULL_REPORT, want_report))
        request = HubRequest(site=site, epoch=epoch, wants=wants)
        request_topic = site_topic(site, "hub")
        data = HUB_REQUEST.encode(request)
        self.outbox.put(request_topic, seal(data, topic=request_topic, key=self.key), retain=False)


def _selected_wants(*wants: tuple[str, bool]) -> tuple[str, ...]:
    return tuple(word for word, is_wanted in wants if is_wanted)


def _plain_dicts(manifests: Iterable[Mapping[str, object]]) -> tuple[dict[str, Any], ...]:
    return tuple(dict(one) for one in manifests)
