"""A server of the page that answers with what a real one answered, with hostile text in it."""

import asyncio
import json
import re
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import web

from scheduler.web.auth import SECURITY_HEADERS
from scheduler.web.page_files import PageFiles

MARKUP: Final = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>&lt;b&gt;"
ESCAPES: Final = "\x1b[31m\u202e\x07"

_CHOSEN_BY_THE_PAGE: Final = frozenset({"phase", "outcome", "health", "passed"})
"""Words of closed lists by which the page chooses what to show."""
_FREE_TEXT: Final = frozenset(
    {"line", "message", "sentence", "problem", "city", "province", "tenant", "note", "cohort"}
    | {"target", "from", "to", "type", "kind", "value"}
)
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)")


def poisoned(value: Any, key: str = "") -> Any:  # noqa: ANN401 - any JSON value
    """A value with markup in every text, and terminal escapes in every text that users write."""
    if isinstance(value, dict):
        return {name: poisoned(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one, key) for one in value]
    if not isinstance(value, str) or key in _CHOSEN_BY_THE_PAGE or _INSTANT.fullmatch(value):
        return value
    return value + MARKUP + (ESCAPES if key in _FREE_TEXT else "")


class Reader:
    """Reads what a real server answers to a session.

    Args:
        url: the address that `kapok open` prints.
    """

    def __init__(self, url: str) -> None:
        self._root = url.partition("/login")[0]
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with self._opener.open(url, timeout=60) as answer:
            self._cookie = str(answer.headers["Set-Cookie"]).partition(";")[0]

    def _request(self, path: str) -> urllib.request.Request:
        return urllib.request.Request(self._root + path, headers={"Cookie": self._cookie})  # noqa: S310 - loopback

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """The JSON at a path."""
        with self._opener.open(self._request(path), timeout=60) as answer:
            return json.load(answer)

    def first_event(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """The first event of a stream."""
        with self._opener.open(self._request(path), timeout=60) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    return json.loads(line[6:])
        raise AssertionError("the stream has ended")


@contextmanager
def serving(answers: Mapping[str, Any], events: Mapping[str, Any]) -> Iterator[str]:
    """Serves the page with these answers by path, whatever the query; yields its address.

    Args:
        answers: JSON by path.
        events: the first event of the live stream of each view.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_started(answers, events), loop).result(20)
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _started(answers: Mapping[str, Any], events: Mapping[str, Any]) -> web.AppRunner:
    files = PageFiles()
    ended = asyncio.Event()

    async def document(_: web.Request) -> web.Response:
        return files.document("index.html")

    async def answer(request: web.Request) -> web.Response:
        if request.path not in answers:
            return web.Response(status=404, text=f"{MARKUP}{ESCAPES}")
        return web.json_response(answers[request.path])

    async def live(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        event = json.dumps(events[request.query["view"]])
        await response.write(b"data: " + event.encode() + b"\n\n")
        await ended.wait()
        return response

    async def end(_: web.Application) -> None:
        ended.set()

    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)

    app = web.Application()
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(end)
    app.add_routes([web.get("/", document), *files.routes(), web.get("/api/v1/live", live)])
    app.router.add_get("/api/{path:.+}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner
