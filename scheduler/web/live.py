"""The page's stream: everything once, then what has changed, second by second.

Each reader keeps what it was sent, so nothing queues up: a slow reader misses moments, not facts.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

from scheduler.runtime.clock import Clock
from scheduler.web.views import DashboardView

_INTERVAL_SECONDS: Final = 1.0
_MAX_READERS: Final = 32
_DELETED_ROW: Final = b"null"


@dataclass(slots=True)
class SentRows:
    """What one reader has."""

    sites: dict[str, bytes] = field(default_factory=dict)
    workloads: dict[str, bytes] = field(default_factory=dict)

    def next_event(self, view: DashboardView) -> bytes:
        """What it has not got yet, as one server-sent event; rows that are gone are null."""
        body = {
            "summary": msgspec.Raw(msgspec.json.encode(view.summary)),
            "sites": _changed_rows(self.sites, view.sites),
            "workloads": _changed_rows(self.workloads, view.workloads),
        }
        self.sites, self.workloads = view.sites, view.workloads
        return b"data: " + msgspec.json.encode(body) + b"\n\n"


class LiveStream:
    """Serves /api/v1/live.

    Args:
        view: gives the newest view.
        clock: for the pace.
    """

    def __init__(self, view: Callable[[], Awaitable[DashboardView]], clock: Clock) -> None:
        self._view, self._clock = view, clock
        self._readers = 0
        self._is_closing = False

    def close(self) -> None:
        """Ends all streams within a second."""
        self._is_closing = True

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """One reader, until it goes or the server ends."""
        if self._readers >= _MAX_READERS:
            return web.Response(
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                text=f"{_MAX_READERS} readers are here already, the most that are served\n",
            )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self._readers += 1
        try:
            await response.prepare(request)
            sent = SentRows()
            while not self._is_closing:
                await response.write(sent.next_event(await self._view()))
                await self._clock.sleep(_INTERVAL_SECONDS)
        except ConnectionResetError:
            pass  # the reader went away
        finally:
            self._readers -= 1
        return response


def _changed_rows(
    before: Mapping[str, bytes], after: Mapping[str, bytes]
) -> dict[str, msgspec.Raw]:
    changed = {name: msgspec.Raw(row) for name, row in after.items() if before.get(name) != row}
    return changed | {name: msgspec.Raw(_DELETED_ROW) for name in before if name not in after}
