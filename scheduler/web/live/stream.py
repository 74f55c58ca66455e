"""Serves /api/v1/live: the document of a view, then what changes in it.

Nothing queues up for a reader: it is sent what it has not got, and a slow one gets the whole of the
newest document. What it may see is asked of the hub again and again, and a stream ends when the hub
no longer knows its token.
"""

import asyncio
import re
from collections import Counter
from hashlib import sha256
from http import HTTPStatus
from typing import Final

from aiohttp import web

from scheduler.runtime.clock import Clock
from scheduler.web.auth import bearer_token_of
from scheduler.web.live.document import SharedView
from scheduler.web.live.feed import LiveFeed, ViewKey
from scheduler.web.live.views import VIEWS
from scheduler.web.sessions import Sessions, Sight

_MAX_READERS: Final = 256
_MAX_READERS_OF_ONE_TOKEN: Final = 96
_RIGHTS_SECONDS: Final = 10.0
"""How often the rights of a reader are asked again; the hub's answer counts for a while longer."""

_WRITE_SECONDS: Final = 30.0
"""A reader that takes nothing for so long is gone."""

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class LiveStream:
    """Serves readers.

    Args:
        feed: what they read.
        sessions: says what each may see.
        clock: for the intervals.
    """

    def __init__(self, feed: LiveFeed, sessions: Sessions, clock: Clock) -> None:
        self._feed, self._sessions, self._clock = feed, sessions, clock
        self._readers = Counter[bytes]()
        self._closing = False

    def close(self) -> None:
        """Ends all streams."""
        self._closing = True
        self._feed.close()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Serves one reader until it disconnects or the server ends."""
        view, name = request.query.get("view", "overview"), request.query.get("name", "")
        if view not in VIEWS:
            text = f"view: write one of {', '.join(VIEWS)}\n"
            return web.Response(status=HTTPStatus.BAD_REQUEST, text=text)
        name = name if view == "site" else ""
        if view == "site" and not _NAME.fullmatch(name):
            text = "name: the view site needs the name of a site\n"
            return web.Response(status=HTTPStatus.NOT_FOUND, text=text)
        token = bearer_token_of(request)
        who = sha256(token.encode()).digest()
        if self._readers.total() >= _MAX_READERS or self._readers[who] >= _MAX_READERS_OF_ONE_TOKEN:
            return web.Response(
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                text=f"{_MAX_READERS_OF_ONE_TOKEN} pages of one token, and {_MAX_READERS} in all, "
                "are the most that are served\n",
            )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self._readers[who] += 1
        try:
            await response.prepare(request)
            await self._follow(response, view, name, token)
        except (ConnectionError, TimeoutError):
            pass  # the reader has gone
        finally:
            self._readers[who] -= 1
            if not self._readers[who]:
                del self._readers[who]
        return response

    async def _follow(self, response: web.StreamResponse, view: str, name: str, token: str) -> None:
        """Sends the view; begins it again whenever the reader's rights change."""
        while not self._closing and await self._sessions.knows_token(token):
            sight = await self._sight_of(token)
            with self._feed.watching(ViewKey(view, name, sight)) as shared:
                await self._feed.prepare(shared)
                await self._send(response, shared, token, sight)

    async def _sight_of(self, token: str) -> Sight:
        return await self._sessions.sight_of(token, self._feed.namespaces())

    async def _send(
        self, response: web.StreamResponse, shared: SharedView, token: str, sight: Sight
    ) -> None:
        """Sends changes until the server ends or the rights are others."""
        version, asked = 0, self._clock.monotonic()
        while not self._closing:
            if self._clock.monotonic() - asked >= _RIGHTS_SECONDS:
                asked = self._clock.monotonic()
                if not await self._sessions.knows_token(token):
                    return
                if await self._sight_of(token) != sight:
                    return
            if shared.version:
                events, version = shared.since(version, self._feed.now), shared.version
                async with asyncio.timeout(_WRITE_SECONDS):
                    await response.write(events)
            if shared.version == version and not self._closing:
                await shared.wait()
