"""The files of the page: its own modules, words and styles, and the vendored libraries.

All are read once at start, and a request finds its file in a table: no path comes from a request.
They hold no data of the hub, so they are served without a session, and browsers keep them until
their content changes.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

from aiohttp import web

PREFIX: Final = "/page/"
"""Where the files are served, each under its path in the folder `page`."""

_KINDS: Final = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".html": "text/html",
}
_ALIASES: Final = {
    "/icon.svg": "icon.svg",
    "/favicon.ico": "icon.svg",  # browsers request it on text pages
}


class PageFile(NamedTuple):
    """One file: its bytes, its type, and the tag that changes with its content."""

    body: bytes
    kind: str
    tag: str


class PageFiles:
    """Serves the files of the page."""

    def __init__(self) -> None:
        self._files = dict(_read_files(files("scheduler.web").joinpath("page")))
        self._name_modules()

    def routes(self) -> list[web.RouteDef]:
        """The routes; each file is public."""
        return [
            web.get(PREFIX + "{path:.+}", self._get_file),
            *(web.get(path, self._get_alias) for path in _ALIASES),
        ]

    def _name_modules(self) -> None:
        """Names every module in the document; else each is found when another one has come."""
        links = "\n".join(
            f'<link rel="modulepreload" href="{PREFIX}{name}">'
            for name in sorted(self._files)
            if name.endswith(".js") and not name.startswith("vendor/")
        )
        document = self._files["index.html"]
        body = re.sub(rb"<!-- modules: .*? -->", links.encode(), document.body)
        self._files["index.html"] = document._replace(body=body)

    def document(self, name: str) -> web.Response:
        """A whole document, which no browser keeps."""
        found = self._files[name]
        return web.Response(body=found.body, content_type=found.kind, charset="utf-8")

    async def _get_file(self, request: web.Request) -> web.Response:
        return self._answer(request, request.match_info["path"])

    async def _get_alias(self, request: web.Request) -> web.Response:
        return self._answer(request, _ALIASES[request.path])

    def _answer(self, request: web.Request, name: str) -> web.Response:
        found = self._files.get(name)
        if found is None or found.kind == "text/html":  # documents have addresses of their own
            raise web.HTTPNotFound(text="no such file of the page\n")
        headers = {"ETag": found.tag, "Cache-Control": "no-cache"}  # asks whether it changed
        if request.headers.get("If-None-Match") == found.tag:
            return web.Response(status=304, headers=headers)
        return web.Response(
            body=found.body, content_type=found.kind, charset="utf-8", headers=headers
        )


def _read_files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, PageFile]]:
    """Every file whose type the page uses, by its path; licences stay in the package."""
    for one in folder.iterdir():
        if one.is_dir():
            yield from _read_files(one, f"{prefix}{one.name}/")
            continue
        kind = _KINDS.get("." + one.name.rpartition(".")[2])
        if kind:
            body = one.read_bytes()
            yield prefix + one.name, PageFile(body, kind, f'"{sha256(body).hexdigest()[:20]}"')
