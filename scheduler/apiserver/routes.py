"""The paths that are not resources: discovery, OpenAPI, version and health."""

import msgspec

from scheduler.apiserver.base.errors import resource_not_found
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
PUBLIC_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})
"""Paths that need no token, as on a real server."""
_GROUP_PATH_PARTS = 2
_VERSION_PATH_PARTS = 3


class NonResourceHandler:
    """Builds the responses of these paths; caches OpenAPI documents until the catalog changes."""

    def __init__(self, catalog: ResourceCatalog) -> None:
        self._catalog = catalog
        self._seen_change_count = -1
        self._documents: dict[str, bytes] = {}

    def response_of(self, path: str, accept: str) -> tuple[str, bytes]:
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
            return _JSON_CONTENT_TYPE, self._openapi(path.removeprefix("/openapi/v3").strip("/"))
        return self._discovery(path.strip("/").split("/"), accept)

    def _openapi(self, path: str) -> bytes:
        if self._seen_change_count != self._catalog.change_count:
            self._documents = openapi.make_documents(self._catalog)
            self._seen_change_count = self._catalog.change_count
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
            found = {
                "paths": ["/api", "/apis", "/healthz", "/openapi/v2", "/openapi/v3", "/version"]
            }
        elif parts[0] == "api" and len(parts) == _GROUP_PATH_PARTS:
            found = discovery.make_api_resource_list(catalog, "", parts[1])
        elif parts[0] == "apis" and len(parts) == _GROUP_PATH_PARTS:
            found = discovery.make_api_group(catalog, parts[1])
        elif parts[0] == "apis" and len(parts) == _VERSION_PATH_PARTS:
            found = discovery.make_api_resource_list(catalog, parts[1], parts[2])
        if found is None:
            raise resource_not_found()
        return _JSON_CONTENT_TYPE, _encode(found)
