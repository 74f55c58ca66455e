"""The paths that are not resources: discovery, OpenAPI, version and health."""

import asyncio

import msgspec

from scheduler.apiserver.base.errors import resource_not_found
from scheduler.apiserver.base.heavy_work import HeavyWork
from scheduler.apiserver.discovery import discovery, openapi
from scheduler.apiserver.kinds.resources import ResourceCatalog
from scheduler.hub.schema.json_types import JsonObject

_encode = msgspec.json.Encoder().encode
_JSON_CONTENT_TYPE = "application/json"
VERSION_INFO: JsonObject = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "gitVersion": "v1.36.0+kapok",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "",
}
ROOT_PATHS = ("/api", "/apis", "/healthz", "/openapi/v2", "/openapi/v3", "/version")
"""The paths that the root lists."""
PUBLIC_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})
"""Paths that need no token, as on a real server."""
_GROUP_PATH_PARTS = 2
_OPENAPI_BYTES = 1024 * 1024
"""About what the OpenAPI documents take."""
_VERSION_PATH_PARTS = 3


class NonResourceHandler:
    """Builds the responses of these paths; caches OpenAPI documents until the catalog changes."""

    def __init__(self, catalog: ResourceCatalog, heavy_work: HeavyWork) -> None:
        self._catalog = catalog
        self._heavy_work = heavy_work
        self._making = asyncio.Lock()
        self._seen_change_count = -1
        self._documents: dict[str, bytes] = {}

    async def response_of(self, path: str, accept: str) -> tuple[str, bytes]:
        """The content type and body of a path.

        Raises:
            ApiError: 404, there is no such path.
        """
        if path in {"/healthz", "/livez", "/readyz"}:
            return "text/plain", b"ok"
        if path == "/version":
            return _JSON_CONTENT_TYPE, _encode(VERSION_INFO)
        if path == "/openapi/v2":
            return openapi.encode_v2_document(accept)
        if path.startswith("/openapi/v3"):
            found = await self._openapi(path.removeprefix("/openapi/v3").strip("/"))
            return _JSON_CONTENT_TYPE, found
        return self._discovery(path.strip("/").split("/"), accept)

    async def _openapi(self, path: str) -> bytes:
        async with self._making:  # many clients ask at once after a change
            count = self._catalog.change_count
            if self._seen_change_count != count:
                resources = self._catalog.all()
                self._documents = await self._heavy_work.run(
                    _OPENAPI_BYTES, lambda: openapi.make_documents(resources)
                )
                self._seen_change_count = count
        if not path:
            return _encode(openapi.make_index(self._documents))
        if path not in self._documents:
            raise resource_not_found()
        return self._documents[path]

    def _discovery(self, parts: list[str], accept: str) -> tuple[str, bytes]:
        catalog = self._catalog
        found: JsonObject | None = None
        if parts in (["api"], ["apis"]):
            core = parts == ["api"]
            if discovery.accepts_aggregated(accept):
                body = _encode(discovery.make_group_discovery_list(catalog, is_core=core))
                return discovery.AGGREGATED_CONTENT_TYPE, body
            found = (
                discovery.make_api_versions() if core else discovery.make_api_group_list(catalog)
            )
        elif parts == [""]:
            found = {"paths": list(ROOT_PATHS)}
        elif parts[0] == "api" and len(parts) == _GROUP_PATH_PARTS:
            found = discovery.make_api_resource_list(catalog, "", parts[1])
        elif parts[0] == "apis" and len(parts) == _GROUP_PATH_PARTS:
            found = discovery.make_api_group(catalog, parts[1])
        elif parts[0] == "apis" and len(parts) == _VERSION_PATH_PARTS:
            found = discovery.make_api_resource_list(catalog, parts[1], parts[2])
        if found is None:
            raise resource_not_found()
        return _JSON_CONTENT_TYPE, _encode(found)
