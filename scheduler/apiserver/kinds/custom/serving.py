"""Serves the resources of CustomResourceDefinitions.

To compile the schema of a large definition takes longer than other requests may wait. Therefore the
check of a write, which runs beside the event loop, also compiles; once the write is on disk, its
resources are ready. A change that leaves the spec as it was, such as a mark for deletion, compiles
nothing.
"""

import hashlib
from collections import OrderedDict
from dataclasses import replace

import msgspec

from scheduler.apiserver.kinds.custom.definitions import custom_resources_of
from scheduler.apiserver.kinds.resources import ResourceCatalog, ServerResource
from scheduler.hub.schema.json_types import JsonObject

_MAX_PREPARED = 8
_Digest = bytes


class DefinitionServer:
    """Adds and removes the resources of definitions.

    Args:
        catalog: the resources that are served.
    """

    def __init__(self, catalog: ResourceCatalog) -> None:
        self._catalog = catalog
        self._served: dict[str, _Digest] = {}
        """The digest of each definition that is served, by its name."""
        self._prepared: OrderedDict[_Digest, list[ServerResource]] = OrderedDict()
        """Resources that were compiled for writes that are not on disk yet."""

    def prepare(self, item: JsonObject, old: JsonObject | None) -> None:
        """Compiles the resources of a definition that is valid and is about to be written."""
        if old is None or item["spec"] != old.get("spec"):
            self._prepared[_digest_of(item)] = custom_resources_of(item)
            while len(self._prepared) > _MAX_PREPARED:
                self._prepared.popitem(last=False)

    def serve(self, definition: JsonObject) -> None:
        """Serves the resources of a stored definition."""
        name, digest = definition["metadata"]["name"], _digest_of(definition)
        resources = self._prepared.pop(digest, None)
        if resources is None and self._served.get(name) == digest:
            resources = [one for one in self._catalog.all() if one.crd_name == name]
        if resources is None:
            resources = custom_resources_of(definition)
        self._catalog.remove_crd(name)
        is_terminating = bool(definition["metadata"].get("deletionTimestamp"))
        for resource in resources:
            self._catalog.add(replace(resource, is_terminating=is_terminating))
        self._served[name] = digest

    def remove(self, name: str) -> None:
        """Ends serving the resources of a definition."""
        self._catalog.remove_crd(name)
        self._served.pop(name, None)


def _digest_of(definition: JsonObject) -> _Digest:
    key = (definition["metadata"]["name"], definition["spec"])
    return hashlib.sha256(msgspec.json.encode(key, order="sorted")).digest()
