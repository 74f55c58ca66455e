"""The placement of a workload on many sites, kept in slices beside it.

A status with 10,000 sites, and with the digest of each one's order, is 1 MB, of which etcd takes
1.5 MB for the whole object, and each change of one site would write all of it. Above `MAX_INLINE`
sites the groups and digests therefore stand in ControllerRevisions that the workload owns, some 300
sites in each, and the status names their digests. All else of Kapok sees a status that has its
groups: slices are put in where objects are read, and taken out where a status is written.

A slice is never changed: its name follows from its content. New ones are written before the status
that names them, and those that no status names any more are deleted after it, so that a scheduler
that is killed in between leaves the former status with the former slices. Which slice a site is in
follows from its name, so that a change of one site writes one slice.
"""

import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from zlib import crc32

import msgspec

from scheduler.control.ports.hub import (
    CONTROLLER_REVISIONS,
    WORKLOADS,
    ApiResource,
    Conflict,
    Hub,
    HubError,
    Listing,
    NotFound,
    Object,
    WatchEvent,
)
from scheduler.model.canonical import canonical_digest, canonical_json
from scheduler.model.kinds.fields import API_VERSION
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload

_log = logging.getLogger(__name__)

MAX_INLINE = 500
"""A placement on more sites is kept in slices."""
MAX_SLICES = 64
PLACEMENT_LABEL = "kapok.dev/placement"
"""Label of the ControllerRevisions that hold slices."""
STORED = "storedPlacement"
"""Key of an object whose slices are put in: the placement as the hub has it."""
_MAX_SITES_OF_A_SLICE = 400
"""On average: which slice a site is in follows from its name."""
_MAX_NAME_LENGTH, _DIGEST_DIGITS = 200, 16
_ATTEMPTS = 3
_DAMAGED = "a slice of the placement is lost; restore it from a backup of the hub"


class Slice(NamedTuple):
    """A part of a placement.

    Attributes:
        digest: of `content`.
        content: JSON with `groups` and `orders` of some sites.
    """

    digest: str
    content: str


def split(status: Object) -> tuple[Object, dict[str, Slice]]:
    """A status as the hub is to have it, and the slices that it names, by digest. Pure."""
    placement = status.get("placement") or {}
    groups, orders = placement.get("groups") or [], placement.get("orders") or {}
    sites = {*orders, *(site for one in groups for site in one["sites"])}
    if len(sites) <= MAX_INLINE:
        return status, {}
    count = 1
    while len(sites) > count * _MAX_SITES_OF_A_SLICE:
        count *= 2
    parts: list[dict[str, Any]] = [{"groups": [], "orders": {}} for _ in range(count)]
    number = {site: crc32(site.encode()) % count for site in sites}
    for group in groups:
        by_part: dict[int, list[str]] = defaultdict(list)
        for site in group["sites"]:
            by_part[number[site]].append(site)
        for part, some in by_part.items():
            parts[part]["groups"].append({**group, "sites": some})
    for site, digest in orders.items():
        parts[number[site]]["orders"][site] = digest
    slices = [
        Slice(canonical_digest(part), canonical_json(part).decode())
        for part in parts
        if part["groups"] or part["orders"]
    ]
    rest = {key: value for key, value in placement.items() if key not in ("groups", "orders")}
    rest |= {"slices": len(slices), "sliceDigests": [one.digest for one in slices]}
    return {**status, "placement": rest}, {one.digest: one for one in slices}


def join(placement: Object, parts: list[Object]) -> Object:
    """A placement with the groups and orders of its slices, as it was before `split`. Pure."""
    gathered: dict[bytes, tuple[Object, list[str]]] = {}
    orders: dict[str, str] = {}
    for part in parts:
        for group in part["groups"]:
            values = {key: value for key, value in group.items() if key != "sites"}
            gathered.setdefault(canonical_json(values), (values, []))[1].extend(group["sites"])
        orders |= part["orders"]
    groups = [{**values, "sites": sorted(sites)} for values, sites in gathered.values()]
    groups.sort(key=lambda one: (one["sites"][0], one.get("phase") == "Withdrawing"))
    rest = {k: v for k, v in placement.items() if k not in ("slices", "sliceDigests")}
    found: Object = {**rest, "groups": groups}
    return {**found, "orders": dict(sorted(orders.items()))} if orders else found


def stored_status(body: Mapping[str, Any]) -> Object:
    """The status of an object as the hub has it, whether its slices are put in or not. Pure."""
    status: Object = body.get("status") or {}
    return {**status, "placement": body[STORED]} if STORED in body else status


def _digests_in(body: Object) -> list[str]:
    placement = (body.get("status") or {}).get("placement")
    digests = placement.get("sliceDigests") if isinstance(placement, Mapping) else None
    return [str(one) for one in digests[:MAX_SLICES]] if isinstance(digests, list) else []


class _Reads(Protocol):
    """What is used of a hub to read slices."""

    async def get(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object:
        """Reads one object."""
        ...


@dataclass(slots=True)
class PlacementSlices:
    """Puts slices into objects that are read, and writes those of a status.

    Attributes:
        reads: where slices are read.
    """

    reads: _Reads
    _known: dict[WorkKey, dict[str, Object]] = field(default_factory=dict, init=False)

    async def filled(self, body: Object) -> Object:
        """An object with the slices of its placement; any other object as it is.

        A slice that is gone or damaged makes the placement unreadable, so that the object counts as
        one that does not decode: what runs stays.

        Raises:
            HubError: the hub does not answer now.
        """
        for attempt in range(_ATTEMPTS):
            digests = _digests_in(body)
            if not digests:
                return body
            key = _key_of(body)
            found = await self._parts(key, digests)
            if None not in found:
                parts = [one for one in found if one is not None]
                self._known[key] = dict(zip(digests, parts, strict=True))
                placement = body["status"]["placement"]
                status = {**body["status"], "placement": join(placement, parts)}
                return {**body, "status": status, STORED: placement}
            if attempt < _ATTEMPTS - 1:  # a later status has other slices, and these are deleted
                body = await self._read_again(body, key)
        status = {**body["status"], "placement": _DAMAGED}
        return {**body, "status": status, STORED: body["status"]["placement"]}

    async def _read_again(self, body: Object, key: WorkKey) -> Object:
        try:
            return await self.reads.get(WORKLOADS, key[1], key[0])
        except NotFound:
            return body

    async def _parts(self, key: WorkKey, digests: list[str]) -> list[Object | None]:
        known = self._known.get(key, {})
        return [
            known.get(digest) or await self._read(slice_name(key[1], digest), key[0], digest)
            for digest in digests
        ]

    async def _read(self, name: str, namespace: str, digest: str) -> Object | None:
        try:
            revision = await self.reads.get(CONTROLLER_REVISIONS, name, namespace)
        except NotFound:
            return None
        try:
            part: Object = msgspec.json.decode(_content_of(revision))
            return part if canonical_digest(part) == digest else None
        except msgspec.DecodeError:
            return None

    async def store(self, hub: Hub, base: Mapping[str, Any], slices: Mapping[str, Slice]) -> None:
        """Writes the slices that the hub does not have; the status that names them comes after.

        Args:
            hub: where they are written.
            base: the workload as it was read.
            slices: by digest.

        Raises:
            HubError: the hub refused a write or could not do it.
        """
        former = set((base.get(STORED) or {}).get("sliceDigests") or ())
        key = _key_of(base)
        for digest, one in slices.items():
            if digest not in former:
                await _write(hub, _revision_of(base, one))
        if slices:
            parts = {digest: msgspec.json.decode(one.content) for digest, one in slices.items()}
            self._known[key] = {**self._known.get(key, {}), **parts}

    async def remove_former(
        self, hub: Hub, base: Mapping[str, Any], slices: Mapping[str, Slice]
    ) -> None:
        """Deletes what a written status does not name any more; else it goes with the workload."""
        namespace, name = _key_of(base)
        for digest in (base.get(STORED) or {}).get("sliceDigests") or ():
            if digest in slices:
                continue
            try:
                await hub.delete(CONTROLLER_REVISIONS, slice_name(name, digest), namespace)
            except HubError as error:
                _log.warning("a slice of %s/%s stays until it goes: %s", namespace, name, error)

    def forget(self, key: WorkKey) -> None:
        """Drops what is known of a workload that is gone."""
        self._known.pop(key, None)


def slice_name(workload: str, digest: str) -> str:
    """The name of the ControllerRevision that holds a slice."""
    digits = digest.removeprefix("sha256:")[:_DIGEST_DIGITS]
    return f"{workload[:_MAX_NAME_LENGTH].rstrip('-.')}-sites-{digits}"


class FollowedSlices(Protocol):
    """What an informer uses of a hub, as `scheduler.hub.informer.FollowedHub`."""

    async def get(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object:
        """Reads one object."""
        ...

    def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        """Yields the collection in parts."""
        ...

    async def list_metadata(self, resource: ApiResource) -> Listing:
        """Lists the metadata alone."""
        ...

    async def collection_version(self, resource: ApiResource) -> str:
        """The version at which a list would be now."""
        ...

    def watch(self, resource: ApiResource, resource_version: str) -> AsyncIterator[WatchEvent]:
        """Yields changes until the server ends the stream."""
        ...


@dataclass(frozen=True, slots=True)
class HubWithSlices:
    """The hub as the informer of workloads sees it: what it reads has its slices.

    Attributes:
        hub: where is read.
        slices: puts slices in.
    """

    hub: FollowedSlices
    slices: PlacementSlices

    async def get(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object:
        """Reads one object."""
        return await self.slices.filled(await self.hub.get(resource, name, namespace))

    async def list_metadata(self, resource: ApiResource) -> Listing:
        """Lists the metadata alone."""
        return await self.hub.list_metadata(resource)

    async def collection_version(self, resource: ApiResource) -> str:
        """The version at which a list would be now."""
        return await self.hub.collection_version(resource)

    async def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        """Yields the collection in parts."""
        async for page in self.hub.list_pages(resource):
            items = [await self.slices.filled(one) for one in page.items]
            yield Listing(items, page.resource_version)

    async def watch(
        self, resource: ApiResource, resource_version: str
    ) -> AsyncIterator[WatchEvent]:
        """Yields changes until the server ends the stream."""
        async for change in self.hub.watch(resource, resource_version):
            if change.type == "DELETED":
                self.slices.forget(_key_of(change.object))
            if change.type in ("ADDED", "MODIFIED") and _digests_in(change.object):
                yield WatchEvent(change.type, await self.slices.filled(change.object))
            else:
                yield change


async def _write(hub: Hub, body: Object) -> None:
    try:
        await hub.create(CONTROLLER_REVISIONS, body)
    except Conflict:  # an attempt whose status was not written
        meta = body["metadata"]
        found = await hub.get(CONTROLLER_REVISIONS, meta["name"], meta["namespace"])
        owners = [one.get("uid") for one in found["metadata"].get("ownerReferences") or ()]
        is_ours = owners == [one["uid"] for one in meta["ownerReferences"]]
        if is_ours and _content_of(found) == _content_of(body):
            return
        await hub.delete(CONTROLLER_REVISIONS, meta["name"], meta["namespace"])
        await hub.create(CONTROLLER_REVISIONS, body)


def _revision_of(base: Mapping[str, Any], one: Slice) -> Object:
    meta = base["metadata"]
    owner = {
        "apiVersion": API_VERSION,
        "kind": Workload.KIND,
        "name": meta["name"],
        "uid": meta["uid"],
    }
    return {
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": {
            "name": slice_name(meta["name"], one.digest),
            "namespace": meta["namespace"],
            "labels": {PLACEMENT_LABEL: "true", "app.kubernetes.io/managed-by": "kapok"},
            "ownerReferences": [owner],
        },
        "data": {"content": one.content},
        "revision": 1,
    }


def _content_of(body: Object) -> str:
    data = body.get("data")
    content = data.get("content") if isinstance(data, dict) else None
    return content if isinstance(content, str) else ""


def _key_of(body: Mapping[str, Any]) -> WorkKey:
    meta = body["metadata"]
    return (meta.get("namespace", ""), meta["name"])
