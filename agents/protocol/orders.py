"""The content of one order: what to apply, and how it travels in parts.

Content is encoded once, its digest stands in the signed index, and its deflated bytes are cut into
parts of at most 256 kB: part 0 on `orders/TOKEN`, the others on `orders/TOKEN/1`, … Parts of
different generations that meet give a wrong digest and are asked for again.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

from agents.protocol.codec import Codec
from agents.protocol.envelope import inflate, seal
from agents.protocol.errors import WireError
from agents.protocol.index import MAX_PARTS, IndexEntry, digest_of
from agents.protocol.keys import SigningKey
from agents.protocol.report import Count
from agents.protocol.shapes import AtMost, Json
from agents.protocol.topics import order_topic

ORDER_LABEL: Final = "kapok.dev/order"
"""Label of an order's objects and pods at the member; its value is the order's token."""

ORDER_ID_ANNOTATION: Final = "kapok.dev/order-id"
"""Annotation of the same objects and pods with the order's whole id."""

MAX_PART_BYTES: Final = 256 * 1024
MAX_CONTENT_BYTES: Final = 8 * 1024 * 1024
MAX_MANIFESTS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderContent:
    """What one site shall run of one workload.

    Attributes:
        id: hub id / namespace / name / incarnation; as in the index.
        generation: as in the index.
        site: whose; must be the reader's.
        namespace: the workload's; every namespaced manifest goes there unless `namespaces` allows
            more.
        name: the workload's.
        manifests: ordinary Kubernetes objects, as they are to be applied at this site.
        replicas: this site's share; the agent sets it on the object that `scales` names.
        scales: `MemberKind/name` of the one manifest that `replicas` is for; None leaves manifests as
            they are.
        namespaces: further namespaces that the tenant may touch.
        cluster_kinds: cluster-scoped kinds that the tenant may touch, as
            `rbac.authorization.k8s.io/ClusterRole`.
    """

    id: str
    generation: Count
    site: Annotated[str, AtMost(253)]
    namespace: Annotated[str, AtMost(63)]
    name: Annotated[str, AtMost(253)]
    manifests: Annotated[
        tuple[Annotated[dict[str, Json], AtMost(256)], ...], AtMost(MAX_MANIFESTS)
    ] = ()
    replicas: Count | None = None
    scales: Annotated[str, AtMost(320)] | None = None
    namespaces: Annotated[tuple[str, ...], AtMost(64)] = ()
    cluster_kinds: Annotated[tuple[str, ...], AtMost(64)] = ()


ORDER_CONTENT: Final = Codec(OrderContent, max_bytes=MAX_CONTENT_BYTES)


@dataclass(frozen=True, slots=True)
class PackedOrder:
    """Content ready to be published.

    Attributes:
        entry: its line in the index.
        parts: payloads for `envelope.seal(…, encoding="part")`.
    """

    entry: IndexEntry
    parts: tuple[bytes, ...] = field(repr=False)


def pack_content(content: OrderContent) -> PackedOrder:
    """Encodes, deflates and cuts content; equal content gives an equal entry.

    Raises:
        WireError: more than readers take.
    """
    data = ORDER_CONTENT.encode(content)
    packed = zlib.compress(data, 6)
    parts = tuple(packed[at : at + MAX_PART_BYTES] for at in range(0, len(packed), MAX_PART_BYTES))
    if len(parts) > MAX_PARTS:
        raise WireError("too-large", f"{len(parts)} parts; at most {MAX_PARTS}")
    entry = IndexEntry(
        id=content.id, generation=content.generation, digest=digest_of(data), parts=len(parts)
    )
    return PackedOrder(entry, parts)


def seal_parts(packed: PackedOrder, *, site: str, key: SigningKey) -> tuple[tuple[str, bytes], ...]:
    """(topic, message) of every part, ready to be published retained."""
    topics = [order_topic(site, packed.entry.id, part) for part in range(len(packed.parts))]
    return tuple(
        (topic, seal(part, topic=topic, key=key, encoding="part"))
        for topic, part in zip(topics, packed.parts, strict=True)
    )


def unpack_content(entry: IndexEntry, parts: Sequence[bytes], *, site: str) -> OrderContent:
    """Puts the parts together and checks them against the index's line.

    Raises:
        WireError: "digest", not what the index names (a newer or older one: wait and fetch again);
            "wrong-site"; or malformed.
    """
    data = inflate(b"".join(parts), MAX_CONTENT_BYTES)
    if digest_of(data) != entry.digest:
        raise WireError("digest", f"content of {entry.id} is not what the index names")
    content = ORDER_CONTENT.decode(data)
    if content.site != site:
        raise WireError("wrong-site", f"content is for site {content.site!r}, this is {site!r}")
    if (content.id, content.generation) != (entry.id, entry.generation):
        raise WireError("digest", "content and index name different orders or generations")
    return content


def api_group_of(api_version: str) -> str:
    """The group of an apiVersion: `apps` of `apps/v1`; empty for the core group, `v1`."""
    group, slash, _ = api_version.partition("/")
    return group if slash else ""


def format_group_kind(api_version: str, kind: str) -> str:
    """`apps/v1`, `Deployment` as `apps/Deployment`; a core kind by its name alone: `Pod`."""
    group = api_group_of(api_version)
    return f"{group}/{kind}" if group else kind
