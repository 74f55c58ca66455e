"""The bodies of responses with objects: plain, as a Table, metadata only, as JSON or YAML.

A list is encoded in parts, of which none takes long, and sent while it is encoded.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import msgspec

from scheduler.apiserver.base.heavy_work import MIN_STEP_BYTES, HeavyWork, LoopSlices
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.apiserver.read.lists import (
    ListPage,
    ObjectRepresentation,
    decode_in_version,
    encode_in_version,
)
from scheduler.apiserver.read.tables import make_partial_metadata, make_row, make_table
from scheduler.apiserver.storage.stored_object import StoredObject
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.yaml_writer import dump_yaml

_encode = msgspec.json.Encoder().encode


def needs_decoding(resource: ServerResource, representation: ObjectRepresentation) -> bool:
    """Whether objects have to be decoded, instead of being sent as they are stored."""
    return representation.needs_decoding or resource.from_storage_version is not None


def encode_object(
    resource: ServerResource,
    stored: StoredObject,
    representation: ObjectRepresentation,
    now: datetime,
) -> bytes:
    """A single object in the requested representation."""
    if representation.is_yaml:
        return dump_yaml(decode_in_version(resource, stored))
    if not representation.as_kind:
        return encode_in_version(resource, stored)
    item = decode_in_version(resource, stored)
    if representation.as_kind != "Table":
        return _encode(make_partial_metadata(item))
    metadata = {"resourceVersion": item["metadata"]["resourceVersion"]}
    included = representation.include_object
    return _encode(make_table(resource, [item], metadata, include_object=included, now=now))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEncoder:
    """Encodes a page of a list in the requested representation."""

    resource: ServerResource
    page: ListPage
    representation: ObjectRepresentation
    now: datetime
    heavy_work: HeavyWork

    async def parts(self) -> AsyncIterator[bytes]:
        """The parts of the body, in order."""
        head, separator, tail = self._frame()
        slices = LoopSlices()
        size = self.page.size_bytes if needs_decoding(self.resource, self.representation) else 0
        yield head
        for number, batch in enumerate(_split_batches(self.page.items)):
            work = partial(self._encode_items, batch, separator)
            text = await self.heavy_work.run_step(size, work)
            yield separator + text if number else text
            await slices.count(len(text))
        yield tail

    def _frame(self) -> tuple[bytes, bytes, bytes]:
        """What stands before, between and after the objects."""
        form, resource = self.representation, self.resource
        body: JsonObject = {
            "kind": resource.list_kind,
            "apiVersion": resource.api_version,
            "metadata": self._metadata(),
        }
        if form.is_yaml:
            version, rest = {"apiVersion": body.pop("apiVersion")}, dump_yaml(body)
            return (
                dump_yaml(version) + (b"items:\n" if self.page.items else b"items: []\n"),
                b"",
                rest,
            )
        if not form.as_kind:
            return _encode(body)[:-1] + b',"items":[', b",", b"]}\n"
        if form.as_kind != "Table":
            body |= {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
            return _encode(body)[:-1] + b',"items":[', b",", b"]}"
        table = make_table(resource, (), body["metadata"], include_object="None", now=self.now)
        return _encode(table).removesuffix(b"]}"), b",", b"]}"

    def _metadata(self) -> JsonObject:
        page = self.page
        metadata: JsonObject = {"resourceVersion": str(page.revision)}
        if self.resource.is_custom:
            metadata["continue"] = ""  # always present for custom resources, as on a real server
        if page.continue_token:
            metadata["continue"] = page.continue_token
            if page.remaining_count is not None:
                metadata["remainingItemCount"] = page.remaining_count
        return metadata

    def _encode_items(self, batch: list[StoredObject], separator: bytes) -> bytes:
        return separator.join([self._encode_item(stored) for stored in batch])

    def _encode_item(self, stored: StoredObject) -> bytes:
        form, resource = self.representation, self.resource
        if form.is_yaml:
            return dump_yaml([decode_in_version(resource, stored)])
        if not form.as_kind:
            return encode_in_version(resource, stored)
        item = decode_in_version(resource, stored)
        if form.as_kind == "Table":
            return _encode(make_row(resource, item, form.include_object, self.now))
        return _encode(make_partial_metadata(item))


def _split_batches(objects: list[StoredObject]) -> Iterator[list[StoredObject]]:
    """Objects of about as many bytes as one step of a request processes."""
    batch: list[StoredObject] = []
    size = 0
    for stored in objects:
        batch.append(stored)
        size += stored.size
        if size >= MIN_STEP_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
