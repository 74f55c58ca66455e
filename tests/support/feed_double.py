"""A server that answers as feeds of carbon intensity do, over a real socket, and misbehaves."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Any]


@dataclass
class FeedDouble:
    """Hourly figures of any zone, until they are replaced.

    Attributes:
        now: the time that figures end at.
        grams: the figure of an hour before now.
        status: of every answer.
        body: what is answered instead of figures; None: figures.
        has_forecasts: whether forecasts are part of the subscription.
        asked: path and query of each request, with the token.
    """

    now: datetime = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
    grams: Callable[[int], float] = lambda hours_ago: 300.0 + hours_ago
    status: int = 200
    body: bytes | None = None
    has_forecasts: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Serves on loopback as long as the context lasts; gives the address."""
        app = web.Application()
        app.router.add_get("/v3/carbon-intensity/{what}", self._electricity_maps)
        app.router.add_get("/emissions/bylocation", self._by_location)
        app.router.add_get("/emissions/forecasts/current", self._forecasts)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            yield self.url
        finally:
            await runner.cleanup()

    def _hours(self, first: int, count: int) -> list[tuple[str, float]]:
        return [
            ((self.now - timedelta(hours=ago)).isoformat(), self.grams(ago))
            for ago in range(first, first - count, -1)
        ]

    def _answer(self, request: web.Request, value: object) -> web.Response:
        headers = request.headers
        token = str(headers.get("auth-token") or headers.get("Authorization") or "")
        self.asked.append((request.path_qs, token))
        if self.status in {301, 302}:
            return web.Response(status=self.status, headers={"Location": f"{self.url}/elsewhere"})
        if self.body is not None or self.status != 200:
            return web.Response(status=self.status, body=self.body or b"")
        return web.json_response(value)

    async def _electricity_maps(self, request: web.Request) -> web.Response:
        what, zone = request.match_info["what"], request.query["zone"]
        if what == "forecast" and not self.has_forecasts:
            return web.json_response({"error": "not in your plan"}, status=401)
        hours = self._hours(24, 25) if what == "history" else self._hours(-1, 24)
        listed = [
            {"zone": zone, "carbonIntensity": grams, "datetime": at, "isEstimated": False}
            for at, grams in hours
        ]
        return self._answer(request, {"zone": zone, what: listed})

    async def _by_location(self, request: web.Request) -> web.Response:
        zone = request.query["location"]
        listed = [
            {"location": zone, "time": at, "rating": grams, "duration": "01:00:00"}
            for at, grams in self._hours(24, 25)
        ]
        return self._answer(request, listed)

    async def _forecasts(self, request: web.Request) -> web.Response:
        zone = request.query["location"]
        data = [{"timestamp": at, "value": grams} for at, grams in self._hours(-1, 24)]
        return self._answer(request, [{"location": zone, "forecastData": data}])
