"""The middleware that checks each request: its Host, its Origin, and who sends it.

Pages in a browser on this machine reach loopback too. So the Host header must name this server
(against DNS rebinding), Origin must be absent or this server, and everything that shows data of the
hub needs a token that the hub knows, or a session that stands for one. A session only reads: what
changes anything takes a token in a header, which no page of another origin can send. The handlers
of `_SCOPED_PATHS` show what the holder of the token may see; all others need the right to read all
workloads. /metrics, /healthz and /readyz are open to every process that can connect. All else is
served to other machines over TLS only.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from scheduler.control.ports.access import ALL_WORKLOADS
from scheduler.web.listener import WebListener
from scheduler.web.page_files import PREFIX
from scheduler.web.sessions import Sessions

_OPEN_PATHS: Final = frozenset({"/metrics", "/healthz", "/readyz"})
_PUBLIC_PATHS: Final = _OPEN_PATHS | frozenset(
    {"/login", "/icon.svg", "/favicon.ico", "/openapi.json"}
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
    "/api/v1/live",
    "/api/v1/sites",
    "/api/v1/workloads",
    "/api/v1/links",
    "/api/v1/queue",
    "/api/v1/tenants",
    "/api/v1/words/",
)
"""Their handlers ask for the rights to what they show; catalogues show nothing of the hub."""

_token: ContextVar[str] = ContextVar("token")
"""The token of the request that the running task handles."""

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
        refusal = _refusal_of_address(request, listener)
        if refusal:
            return _error_response(403, refusal)
        if _is_public(request.path):
            return await handler(request)
        token = _header_token(request) or _session_token(request, sessions, cookie)
        if not token or not await sessions.knows_token(token):
            return _unauthorized(request)
        if not _is_scoped(request.path) and not await sessions.admits_token(token):
            return _error_response(403, f"the token may not {ALL_WORKLOADS.right}\n")
        _token.set(token)
        return await handler(request)

    return check


def _refusal_of_address(request: web.Request, listener: WebListener) -> str:
    """Why a request is not served here at all; "": it is."""
    host, local_address = request.headers.get("Host", ""), _local_address_of(request)
    if not listener.is_addressed_by(host, local_address):
        return (
            f"unknown Host header; use {listener.url}, or add the name to the setting "
            "web.allowed_hosts\n"
        )
    if request.headers.get("Origin", "") not in {"", *listener.origins(host)}:
        return "requests from pages of other origins are not served\n"
    if request.path not in _OPEN_PATHS and not listener.is_private(local_address):
        return (
            "without TLS other machines get /metrics, /healthz and /readyz only; set "
            "web.tls_certificate_file\n"
        )
    return ""


def _is_public(path: str) -> bool:
    """Whether what is served there holds no data of the hub."""
    return path in _PUBLIC_PATHS or path.startswith(PREFIX)


def cookie_name(port: int) -> str:
    """The cookie's name, with the port: browsers share cookies between the ports of a host."""
    return f"kapok-{port}"


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Adds `SECURITY_HEADERS` to a response, also to errors that aiohttp makes itself."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)


def _local_address_of(request: web.Request) -> str:
    """The address of this machine that the client is connected to; "" once it is gone."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return str(name[0]) if name else ""


def _is_scoped(path: str) -> bool:
    return path in ("/", "/login/codes") or path.startswith(_SCOPED_PATHS)


def _session_token(request: web.Request, sessions: Sessions, cookie: str) -> str:
    """The token that the request's session stands for; "": it has none, or does more than read."""
    session = request.cookies.get(cookie, "")
    is_safe = request.method in ("GET", "HEAD")
    return sessions.token_of_session(session) if is_safe and session else ""


def _header_token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def bearer_token_of(_request: web.Request) -> str:
    """The token that a request acts for: its own, or that of its session. The hub knows it.

    It is of the request that the calling task handles.
    """
    return _token.get()


def _unauthorized(request: web.Request) -> web.Response:
    if request.path == "/":
        return _error_response(
            401,
            "This page is for users who may read the hub.\n\n"
            "Run  kapok open  on this machine (with the --data-dir of `kapok up`) and open the "
            "address that it prints; from another machine  kapok open --kubeconfig FILE.\n",
        )
    response = _error_response(
        401, "send a bearer token of the hub, or open a session with `kapok open`\n"
    )
    response.headers["WWW-Authenticate"] = 'Bearer realm="kapok"'
    return response


def _error_response(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)
