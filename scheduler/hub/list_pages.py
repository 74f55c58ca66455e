"""Decodes the pages of a list, whole or with the objects' identities and versions alone."""

from collections.abc import Callable
from typing import Any

import msgspec

from scheduler.control.ports.hub import Busy, Object
from scheduler.hub.responses import decode_object


class Page(msgspec.Struct, frozen=True):
    """A page of a list.

    Attributes:
        items: its objects.
        resource_version: the version of the list.
        token: with it the server goes on; "": this page is the last one.
    """

    items: list[Object]
    resource_version: str
    token: str


PageDecoder = Callable[[bytes, str], Page]
"""Decodes an answer; the text names the request in errors."""


def decode_page(data: bytes, action: str) -> Page:
    """A page of whole objects.

    Raises:
        Busy: it is no list, as from a broken proxy.
    """
    body = decode_object(data, action)
    meta: dict[str, Any] = body.get("metadata") or {}
    return Page(
        items=body.get("items") or [],
        resource_version=str(meta.get("resourceVersion", "")),
        token=meta.get("continue") or "",
    )


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class _Item(msgspec.Struct):
    metadata: _Metadata


class _ListMetadata(msgspec.Struct, rename="camel", frozen=True):
    resource_version: str = ""
    token: str = msgspec.field(name="continue", default="")


class _MetadataPage(msgspec.Struct):
    metadata: _ListMetadata = _ListMetadata()
    items: list[_Item] | None = None


_DECODER = msgspec.json.Decoder(_MetadataPage)


def decode_metadata_page(data: bytes, action: str) -> Page:
    """A page of objects with namespace, name, uid and resourceVersion alone.

    All else is skipped: thousands of objects are compared while a new leader decides nothing.

    Raises:
        Busy: it is no list, as from a broken proxy.
    """
    try:
        page = _DECODER.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Busy(f"{action}: the answer is no list of metadata: {error}") from error
    return Page(
        items=[{"metadata": _identity_of(one.metadata)} for one in page.items or ()],
        resource_version=page.metadata.resource_version,
        token=page.metadata.token,
    )


def _identity_of(metadata: _Metadata) -> Object:
    found: Object = {
        "name": metadata.name,
        "uid": metadata.uid,
        "resourceVersion": metadata.resource_version,
    }
    if metadata.namespace:
        found["namespace"] = metadata.namespace
    return found
