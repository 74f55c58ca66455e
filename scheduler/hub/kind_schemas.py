"""The schemas of kinds as the hub's API serves them: its core kinds and its custom resources.

The documents of OpenAPI v3 are read when a kind is first asked for, and again when the index shows
another hash. They are decoded and compiled off the event loop. A kind that the hub does not know
has no schema: the sites may serve it all the same.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from scheduler.control.ports.hub import HubError
from scheduler.hub.client import HubClient
from scheduler.hub.schema.manifest_checks import compile_kinds, find_problem
from scheduler.hub.schema.structural import SchemaNode
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

_INDEX_PATH = "/openapi/v3"
_INDEX_SECONDS = 60.0
_MAX_WAIT_SECONDS = 5.0
_MAX_DOCUMENT_BYTES = 16 * 2**20
_MAX_DOCUMENTS = 48


@dataclass(frozen=True, slots=True)
class _Document:
    """The compiled document of one group version; `url` has its hash."""

    url: str
    kinds: Mapping[str, SchemaNode]


@dataclass(slots=True, kw_only=True)
class KindSchemas:
    """Keeps the schemas of the kinds that manifests use.

    Attributes:
        client: reads the documents.
        clock: monotonic time.
    """

    client: HubClient
    clock: Clock
    _urls: dict[str, str] = field(default_factory=dict, init=False)
    _read_at: float | None = field(default=None, init=False)
    _documents: OrderedDict[str, _Document] = field(default_factory=OrderedDict, init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def refresh(self, versions: frozenset[str]) -> str:
        """Has the schemas of these versions ready, as far as the hub serves them.

        Args:
            versions: `apiVersion`s, such as `apps/v1`.

        Returns:
            What changes when one of the schemas does.
        """
        if self._is_ready(versions):
            return self._state_of(versions)
        async with self._lock:
            if not self._is_ready(versions):
                try:
                    async with asyncio.timeout(_MAX_WAIT_SECONDS):
                        await self._read(versions)
                except (HubError, TimeoutError, msgspec.DecodeError) as error:
                    # The hub is busy or has no such document: what it knew before still counts.
                    _log.info("the hub's schemas cannot be read now: %s", error)
                    self._give_up(versions)
        return self._state_of(versions)

    def find_problem(self, manifest: Mapping[str, Any]) -> str:
        """What the schema of its kind refuses of a manifest; empty if nothing or not known."""
        document = self._documents.get(_path_of(str(manifest.get("apiVersion", ""))))
        node = document.kinds.get(str(manifest.get("kind", ""))) if document else None
        if node is None:
            return ""
        try:
            return find_problem(node, dict(manifest))
        except Exception as error:  # noqa: BLE001 - as for a schema that cannot be compiled
            _log.warning("a %s is not checked by its schema: %r", manifest.get("kind"), error)
            return ""

    def _give_up(self, versions: frozenset[str]) -> None:
        """Does without what could not be read until the index is read again."""
        self._read_at = self.clock.monotonic()
        for path in map(_path_of, versions):
            if not self._is_current(path):
                del self._urls[path]

    def _is_ready(self, versions: frozenset[str]) -> bool:
        if self._read_at is None or self.clock.monotonic() - self._read_at > _INDEX_SECONDS:
            return False
        return all(self._is_current(_path_of(each)) for each in versions)

    def _is_current(self, path: str) -> bool:
        url, known = self._urls.get(path), self._documents.get(path)
        return url is None or (known is not None and known.url == url)

    def _state_of(self, versions: frozenset[str]) -> str:
        paths = sorted(map(_path_of, versions))
        return " ".join(self._documents[path].url for path in paths if path in self._documents)

    async def _read(self, versions: frozenset[str]) -> None:
        if self._read_at is None or self.clock.monotonic() - self._read_at > _INDEX_SECONDS:
            self._urls = _urls_of(await self.client.raw("GET", _INDEX_PATH))
            self._read_at = self.clock.monotonic()
            for path in self._documents.keys() - self._urls.keys():
                del self._documents[path]
        for path in map(_path_of, sorted(versions)):
            if not self._is_current(path):
                self._documents[path] = await self._read_document(self._urls[path])
            if path in self._documents:
                self._documents.move_to_end(path)
        while len(self._documents) > max(_MAX_DOCUMENTS, len(versions)):
            self._documents.popitem(last=False)

    async def _read_document(self, url: str) -> _Document:
        parts = urlsplit(url)
        data = await self.client.read_bytes(parts.path, dict(parse_qsl(parts.query)))
        if len(data) > _MAX_DOCUMENT_BYTES:
            _log.warning("%s: %d bytes are too much to check manifests by", url, len(data))
            return _Document(url, {})
        return _Document(url, await asyncio.to_thread(_compile, data, url))


def _path_of(api_version: str) -> str:
    """The path of a version's document below `/openapi/v3`."""
    return f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"


def _urls_of(index: Mapping[str, Any]) -> dict[str, str]:
    paths = index.get("paths")
    found = paths.items() if isinstance(paths, dict) else ()
    return {
        path: url
        for path, each in found
        if isinstance(each, dict) and isinstance(url := each.get("serverRelativeURL"), str)
    }


def _compile(data: bytes, url: str) -> Mapping[str, SchemaNode]:
    """The compiled kinds; none where the document cannot be read, since nothing is known then."""
    try:
        document = msgspec.json.decode(data)
        return compile_kinds(document) if isinstance(document, dict) else {}
    except Exception as error:  # noqa: BLE001 - no document keeps workloads from being decided
        _log.warning("%s: manifests are not checked by it: %r", url, error)
        return {}
