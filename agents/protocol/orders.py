"""The content of one order: what to apply, and how it is sent in parts.

The content is encoded and its digest put into the signed index. The deflated bytes are cut into
parts of at most 256 KiB: part 0 is retained on `orders/TOKEN`, the others on `orders/TOKEN/1` and
so on. Parts of different generations put together give a wrong digest, and are fetched again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

from agents.protocol.bounds import (
    MAX_CONTENT_BYTES,
    MAX_MANIFESTS,
    MAX_NEEDS,
    MAX_PART_BYTES,
    MAX_PARTS,
    AtMost,
    Count,
    NamespaceName,
    ObjectName,
    OrderId,
    PodCount,
    SiteName,
    Word,
)
from agents.protocol.codec import Codec
from agents.protocol.envelope import deflate, inflate, seal
from agents.protocol.errors import WireError
from agents.protocol.index import IndexEntry, digest_of
from agents.protocol.keys import SigningKey
from agents.protocol.sealing.box import SealedBox
from agents.protocol.shapes import Json
from agents.protocol.topics import order_topic

ORDER_LABEL: Final = "kapok.dev/order"
"""Label of an order's objects and pods at the member; its value is the order's token."""

ORDER_ID_ANNOTATION: Final = "kapok.dev/order-id"
"""Annotation of the same objects and pods with the order's whole id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderContent:
    """What one site shall run of one workload.

    Attributes:
        id: id of the order, as in the index.
        generation: generation of the content, as in the index.
        site: name of the site; the same as in the topic.
        namespace: namespace of the workload; manifests that name no namespace go there.
        name: name of the workload.
        manifests: Kubernetes objects to apply at this site, as JSON trees.
        replicas: this site's share of the replicas; the agent sets it on the object that `scales`
            names.
        scales: `KIND/NAME` of the manifest that `replicas` is for; None leaves the replicas of all
            manifests as they are.
        namespaces: further namespaces that the tenant may use.
        cluster_kinds: cluster-scoped kinds that the tenant may use, such as
            `rbac.authorization.k8s.io/ClusterRole`.
        needs: ids of the orders of objects that pods of this order refer to; the agent applies
            those first that its index lists.
        sealed: a JSON list of Secrets to apply, which only this site can read; it stays sealed on
            the disk.
        update_strategy: what happens when a field that cannot be changed is to change: `Recreate`
            deletes the object and creates it again, `Refuse` refuses the order before anything is
            changed; absent, it is an error of that object.
        on_drift: what happens when another writer at the site changes an object: `Report` leaves
            it as it is and names it in the status; absent, it is set back.
        pod_security: the level of Pod Security admission for a namespace that the agent makes;
            None leaves namespaces without it.
    """

    id: OrderId
    generation: Count
    site: SiteName
    namespace: NamespaceName
    name: ObjectName
    manifests: Annotated[
        tuple[Annotated[dict[str, Json], AtMost(256)], ...], AtMost(MAX_MANIFESTS)
    ] = ()
    replicas: PodCount | None = None
    scales: Annotated[str, AtMost(320)] | None = None
    namespaces: Annotated[tuple[str, ...], AtMost(64)] = ()
    cluster_kinds: Annotated[tuple[str, ...], AtMost(64)] = ()
    pod_security: Annotated[str, AtMost(63)] | None = None
    needs: Annotated[tuple[OrderId, ...], AtMost(MAX_NEEDS)] | None = None
    sealed: SealedBox | None = None
    update_strategy: Word | None = None
    on_drift: Word | None = None


ORDER_CONTENT: Final = Codec(OrderContent, max_bytes=MAX_CONTENT_BYTES)


@dataclass(frozen=True, slots=True)
class PackedOrder:
    """Content ready to be published.

    Attributes:
        entry: its entry in the index.
        parts: payloads for `envelope.seal(…, encoding="part")`.
    """

    entry: IndexEntry
    parts: tuple[bytes, ...] = field(repr=False)


def pack_content(content: OrderContent) -> PackedOrder:
    """Encodes and deflates content and cuts it into parts; equal content gives an equal entry.

    Raises:
        WireError: the content is larger than readers accept.
    """
    data = ORDER_CONTENT.encode(content)
    # What is sealed cannot be made smaller, and to try it hard takes long.
    packed = deflate(data, 1 if content.sealed else 6)
    parts = tuple(packed[at : at + MAX_PART_BYTES] for at in range(0, len(packed), MAX_PART_BYTES))
    if len(parts) > MAX_PARTS:
        raise WireError("too-large", f"{len(parts)} parts; at most {MAX_PARTS} are allowed")
    entry = IndexEntry(
        id=content.id, generation=content.generation, digest=digest_of(data), parts=len(parts)
    )
    return PackedOrder(entry, parts)


def seal_parts(packed: PackedOrder, *, site: str, key: SigningKey) -> tuple[tuple[str, bytes], ...]:
    """(topic, message) of every part, to be published retained."""
    topics = [order_topic(site, packed.entry.id, part) for part in range(len(packed.parts))]
    return tuple(
        (topic, seal(part, topic=topic, key=key, encoding="part"))
        for topic, part in zip(topics, packed.parts, strict=True)
    )


def unpack_content(entry: IndexEntry, parts: Sequence[bytes], *, site: str) -> OrderContent:
    """Puts parts together, checks them against the index and decodes the content.

    Args:
        entry: the order's entry in the index.
        parts: payloads of all parts, in order.
        site: name of this site.

    Raises:
        WireError: "digest": the parts are of another generation, to be fetched again; "wrong-site";
            or the content is malformed.
    """
    data = inflate(b"".join(parts), MAX_CONTENT_BYTES)
    if digest_of(data) != entry.digest:
        raise WireError("digest", f"the digest of {entry.id} differs from the one in the index")
    content = ORDER_CONTENT.decode(data)
    if content.site != site:
        raise WireError("wrong-site", f"the content is for site {content.site!r}, this is {site!r}")
    if (content.id, content.generation) != (entry.id, entry.generation):
        raise WireError("digest", "the content and the index name different orders or generations")
    return content


def api_group_of(api_version: str) -> str:
    """The group of an apiVersion: `apps` of `apps/v1`; empty for the core group, `v1`."""
    group, slash, _ = api_version.partition("/")
    return group if slash else ""


def format_group_kind(api_version: str, kind: str) -> str:
    """`apps/v1`, `Deployment` as `apps/Deployment`; a core kind by its name alone: `Pod`."""
    group = api_group_of(api_version)
    return f"{group}/{kind}" if group else kind
