"""A small HTTP server on loopback for Prometheus and for whoever asks whether we are well."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@asynccontextmanager
async def serve_web(
    port: int,
    *,
    look: Callable[[], None],
    render: Callable[[], bytes],
    why_not_ready: Callable[[], str],
) -> AsyncIterator[None]:
    """Serves /metrics, /healthz and /readyz on 127.0.0.1 for the time of the context.

    Args:
        port: a free port.
        look: takes the snapshot to be rendered; called on the event loop.
        render: gives the exposition text; called off the event loop.
        why_not_ready: "" when ready, else what is missing.
    """

    async def metrics(_: web.Request) -> web.Response:
        look()
        body = await asyncio.to_thread(render)
        return web.Response(body=body, headers={"Content-Type": _TEXT})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        missing = why_not_ready()
        return web.Response(text=(missing or "ok") + "\n", status=503 if missing else 200)

    app = web.Application()
    app.add_routes(
        [web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield
    finally:
        await runner.cleanup()
