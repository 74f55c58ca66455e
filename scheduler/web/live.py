"""The page's event stream: all rows first, then the changed rows once a second.

Each reader keeps the rows that it was sent, and each event holds the difference to the newest view.
So nothing queues up: a slow reader skips intermediate states and still gets the newest.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

from scheduler.runtime.clock import Clock
from scheduler.web.search import Search, words_of
from scheduler.web.views import DashboardView

_INTERVAL_SECONDS: Final = 1.0
_MAX_READERS: Final = 32
_DELETED_ROW: Final = b"null"


@dataclass(slots=True)
class SentRows:
    """The rows that one reader has been sent."""

    sites: dict[str, bytes] = field(default_factory=dict)
    workloads: dict[str, bytes] = field(default_factory=dict)
    is_first: bool = True

    def next_event(self, view: DashboardView) -> bytes:
        """The rows that differ from those sent, as one server-sent event; deleted rows are null."""
        body = {
            "first": self.is_first,
            "values": view.summary,
            "tables": {
                "sites": _changed_rows(self.sites, view.sites),
                "workloads": _changed_rows(self.workloads, view.workloads),
            },
        }
        self.sites, self.workloads, self.is_first = view.sites, view.workloads, False
        return b"data: " + msgspec.json.encode(body) + b"\n\n"


class LiveStream:
    """Serves /api/v1/live.

    Args:
        view: returns the newest view of what is searched.
        clock: the clock for the interval.
    """

    def __init__(self, view: Callable[[Search], Awaitable[DashboardView]], clock: Clock) -> None:
        self._view, self._clock = view, clock
        self._readers = 0
        self._is_closing = False

    def close(self) -> None:
        """Ends all streams, each after at most one interval."""
        self._is_closing = True

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Serves one reader until it disconnects or the server ends."""
        if self._readers >= _MAX_READERS:
            return web.Response(
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                text=f"{_MAX_READERS} pages are connected already, the most that are served\n",
            )
        search = Search(*(words_of(request.query.get(name, "")) for name in Search._fields))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self._readers += 1
        try:
            await response.prepare(request)
            sent = SentRows()
            while not self._is_closing:
                await response.write(sent.next_event(await self._view(search)))
                await self._clock.sleep(_INTERVAL_SECONDS)
        except ConnectionResetError:
            pass  # the reader has disconnected
        finally:
            self._readers -= 1
        return response


def _changed_rows(
    before: Mapping[str, bytes], after: Mapping[str, bytes]
) -> dict[str, msgspec.Raw]:
    changed = {name: msgspec.Raw(row) for name, row in after.items() if before.get(name) != row}
    return changed | {name: msgspec.Raw(_DELETED_ROW) for name in before if name not in after}
