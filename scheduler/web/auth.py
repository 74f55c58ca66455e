"""The middleware that checks each request: its Host, its Origin, and who sends it.

Pages in a browser on this machine reach loopback too. So the Host header must name this server
(against DNS rebinding), Origin must be absent or this server, and everything that shows data of the
hub needs a token of the hub or a session. A token that may not read all workloads reaches the
records of decisions, and pods and logs at sites, only: their handlers ask for the right to the
namespace. /metrics, /healthz and
/readyz are open to every process that can connect. All else is served to other machines over TLS
only.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from scheduler.web.listener import WebListener
from scheduler.web.sessions import Sessions

_OPEN_PATHS: Final = frozenset({"/metrics", "/healthz", "/readyz"})
_PUBLIC_PATHS: Final = _OPEN_PATHS | frozenset(
    {
        "/login",
        "/page.js",
        "/page.css",
        "/icon.svg",
        "/favicon.ico",
        "/openapi.json",
    }
)
_CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Headers of every response: no other host is contacted, no framing, no caching."""

_SCOPED_PATHS: Final = (
    "/api/v1/ledger/",
    "/api/v1/decisions/",
    "/api/v1/status/",
    "/api/v1/logs/",
)
"""Their handlers ask for the right to the namespace of what they show."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def auth_middleware(sessions: Sessions, listener: WebListener) -> Middleware:
    """Returns the middleware.

    Args:
        sessions: decides on tokens and cookies.
        listener: knows which names Host and Origin may have.
    """
    cookie = cookie_name(listener.port)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        host, local_address = request.headers.get("Host", ""), _local_address_of(request)
        if not listener.is_addressed_by(host, local_address):
            return _error_response(
                403,
                f"unknown Host header; use {listener.url}, or add the name to the setting "
                "web.allowed_hosts\n",
            )
        if request.headers.get("Origin", "") not in {"", *listener.origins(host)}:
            return _error_response(403, "requests from pages of other origins are not served\n")
        if request.path not in _OPEN_PATHS and not listener.is_private(local_address):
            return _error_response(
                403,
                "without TLS other machines get /metrics, /healthz and /readyz only; set "
                "web.tls_certificate_file\n",
            )
        if request.path in _PUBLIC_PATHS or await _is_authenticated(request, sessions, cookie):
            return await handler(request)
        if bearer_token_of(request) and request.path.startswith(_SCOPED_PATHS):
            return await handler(request)
        return _unauthorized(request)

    return check


def cookie_name(port: int) -> str:
    """The cookie's name, with the port: browsers share cookies between the ports of a host."""
    return f"kapok-{port}"


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Adds `SECURITY_HEADERS` to a response, also to errors that aiohttp makes itself."""
    response.headers.update(SECURITY_HEADERS)


def _local_address_of(request: web.Request) -> str:
    """The address of this machine that the client is connected to; "" once it is gone."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return str(name[0]) if name else ""


async def _is_authenticated(request: web.Request, sessions: Sessions, cookie: str) -> bool:
    token = bearer_token_of(request)
    if token:
        return await sessions.admits_token(token)
    session = request.cookies.get(cookie, "")
    is_safe = request.method in ("GET", "HEAD")  # a session only reads
    return is_safe and bool(session) and sessions.admits_session(session)


def bearer_token_of(request: web.Request) -> str:
    """The bearer token of a request; "": it has none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _unauthorized(request: web.Request) -> web.Response:
    if request.path == "/":
        return _error_response(
            401,
            "This page is for users who may read the hub.\n\n"
            "Run  kapok open  on this machine (with the --data-dir of `kapok up`) and open the "
            "address that it prints.\n",
        )
    response = _error_response(
        401, "send a bearer token of the hub, or open a session with `kapok open`\n"
    )
    response.headers["WWW-Authenticate"] = 'Bearer realm="kapok"'
    return response


def _error_response(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)
