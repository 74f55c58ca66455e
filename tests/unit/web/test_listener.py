"""By which names the web server is addressed, and what it serves beyond loopback."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from scheduler.web.auth import auth_middleware
from scheduler.web.listener import WebListener
from scheduler.web.sessions import Sessions
from tests.support.fake_clock import FakeClock
from tests.support.fake_reviewer import ALL, fake_reviewer

OPEN = WebListener(port=9000, host="0.0.0.0", allowed_hosts=("Kapok.example.org", "10.9.9.9"))  # noqa: S104 - what is tested
TLS = WebListener(port=9000, host="::", certificate_file="web.crt")


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9000", "localhost:9000", "[::1]:9000", "LOCALHOST:9000"]
)
def test_the_names_of_loopback_need_the_port(host: str) -> None:
    assert OPEN.is_addressed_by(host, "127.0.0.1")
    assert not OPEN.is_addressed_by(host.replace("9000", "9001"), "127.0.0.1")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("kapok.example.org", "10.0.0.5"),
        ("kapok.example.org:443", "127.0.0.1"),
        ("10.9.9.9:30080", "10.0.0.5"),
        ("10.0.0.5:9000", "10.0.0.5"),
        ("10.0.0.5:9000", "::ffff:10.0.0.5"),
        ("[fd00::5]:9000", "fd00:0::5"),
        ("[fe80::5]:9000", "fe80::5%eth0"),
    ],
)
def test_allowed_names_and_the_own_address_are_accepted(host: str, local: str) -> None:
    assert OPEN.is_addressed_by(host, local)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example:9000",
        "10.0.0.6:9000",
        "kapok.example.org.evil.example",
        "evil.example@10.0.0.5",
        "kapok.example.org/x",
        "kapok.example.org:x",
        "[10.0.0.5",
        "10.0.0.5:9000\n",
        " 10.0.0.5",
    ],
)
def test_every_other_name_is_refused(host: str) -> None:
    assert not OPEN.is_addressed_by(host, "10.0.0.5")


def test_only_tls_and_loopback_are_private() -> None:
    assert OPEN.is_private("127.0.0.1")
    assert OPEN.is_private("::ffff:127.0.0.1")
    assert not OPEN.is_private("10.0.0.5")
    assert not OPEN.is_private("")
    assert TLS.is_private("10.0.0.5")


def test_pages_of_its_own_names_are_its_origins_and_no_others() -> None:
    assert "http://10.0.0.5:9000" in OPEN.origins("10.0.0.5:9000")
    assert "https://10.0.0.5:9000" not in OPEN.origins("10.0.0.5:9000")
    assert "https://kapok.example.org" in OPEN.origins("kapok.example.org")
    assert "http://10.0.0.5:9000" not in TLS.origins("10.0.0.5:9000")


def test_addresses_are_printed_for_clients_here_and_elsewhere() -> None:
    assert (OPEN.url, OPEN.public_url) == (
        "http://127.0.0.1:9000",
        "http://Kapok.example.org:9000",
    )
    assert TLS.url == "https://127.0.0.1:9000"
    assert WebListener(port=1, host="fd00::5").url == "http://[fd00::5]:1"


def test_a_certificate_that_cannot_be_used_is_named() -> None:
    with pytest.raises(ValueError, match=r"web\.tls_certificate_file.*absent\.crt"):
        WebListener(port=1, certificate_file="absent.crt").make_context()


class _Connected(asyncio.Transport):
    """A connection to an address of this machine."""

    def __init__(self, address: str) -> None:
        super().__init__({"sockname": (address, 9000)})


async def _status(listener: WebListener, path: str, local_address: str) -> int:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response()

    headers = {"Host": f"{local_address}:9000", "Authorization": "Bearer good"}
    request = make_mocked_request("GET", path, headers=headers, transport=_Connected(local_address))
    check = auth_middleware(Sessions(FakeClock(), fake_reviewer({"good": [ALL]})), listener)
    return (await check(request, answer)).status


@pytest.mark.parametrize("path", ["/", "/login", "/page/app.js", "/api/v1/sites", "/api/v1/live"])
async def test_the_page_and_its_api_leave_the_machine_over_tls_only(path: str) -> None:
    assert await _status(OPEN, path, "10.0.0.5") == 403
    assert await _status(OPEN, path, "127.0.0.1") == 200
    assert await _status(TLS, path, "10.0.0.5") == 200


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_probes_and_metrics_need_no_tls(path: str) -> None:
    assert await _status(OPEN, path, "10.0.0.5") == 200
