"""All that the server answers besides resources: discovery, OpenAPI, version, health."""

import msgspec

from scheduler.apiserver.base.errors import no_route
from scheduler.apiserver.discovery import discovery, openapi, openapi_v2
from scheduler.apiserver.kinds.resources import Catalog
from scheduler.hub.schema.json_types import JsonObject

_encode = msgspec.json.Encoder().encode
_JSON = "application/json"
VERSION: JsonObject = {
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
PUBLIC = frozenset({"/healthz", "/livez", "/readyz", "/version"})
"""Answered without a token, as on a real server."""
_GROUP_PARTS = 2
_VERSION_PARTS = 3


class Routes:
    """Answers derived from the catalog, cached until it changes."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._stamp = -1
        self._documents: dict[str, bytes] = {}

    def answer(self, path: str, accept: str) -> tuple[str, bytes]:
        """Content type and body.

        Raises:
            ApiError: 404.
        """
        if path in {"/healthz", "/livez", "/readyz"}:
            return "text/plain", b"ok"
        if path == "/version":
            return _JSON, _encode(VERSION)
        if path == "/openapi/v2":
            return openapi_v2.answer(accept)
        if path.startswith("/openapi/v3"):
            return _JSON, self._openapi(path.removeprefix("/openapi/v3").strip("/"))
        return self._discovery(path.strip("/").split("/"), accept)

    def _openapi(self, path: str) -> bytes:
        if self._stamp != self._catalog.stamp:
            self._documents = openapi.documents(self._catalog)
            self._stamp = self._catalog.stamp
        if not path:
            return _encode(openapi.index(self._documents))
        if path not in self._documents:
            raise no_route()
        return self._documents[path]

    def _discovery(self, parts: list[str], accept: str) -> tuple[str, bytes]:
        catalog = self._catalog
        found: JsonObject | None = None
        if parts in (["api"], ["apis"]):
            core = parts == ["api"]
            if discovery.wants_aggregated(accept):
                body = _encode(discovery.aggregated(catalog, core=core))
                return discovery.AGGREGATED, body
            found = discovery.core_versions() if core else discovery.groups(catalog)
        elif parts == [""]:
            found = {
                "paths": ["/api", "/apis", "/healthz", "/openapi/v2", "/openapi/v3", "/version"]
            }
        elif parts[0] == "api" and len(parts) == _GROUP_PARTS:
            found = discovery.resources(catalog, "", parts[1])
        elif parts[0] == "apis" and len(parts) == _GROUP_PARTS:
            found = discovery.group(catalog, parts[1])
        elif parts[0] == "apis" and len(parts) == _VERSION_PARTS:
            found = discovery.resources(catalog, parts[1], parts[2])
        if found is None:
            raise no_route()
        return _JSON, _encode(found)
