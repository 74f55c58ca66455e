"""Which proxy is used, and what one may answer."""

import socket
import threading
from contextlib import suppress

import pytest

from agents.mqtt.proxy import HttpProxy, proxy_for

ENVIRONMENT = {
    "HTTPS_PROXY": "http://user:p%40ss@proxy.example.org:8080",
    "NO_PROXY": "localhost, .internal.example.org,10.0.0.0/8,fd00::/8,*.svc",
}


@pytest.mark.parametrize(
    ("host", "is_direct"),
    [
        ("broker.example.org", False),
        ("broker.internal.example.org", True),
        ("internal.example.org", True),
        ("notinternal.example.org", False),
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("fd00::1", True),
        ("kapok.svc", True),
        ("127.0.0.1", True),
        ("::1", True),
    ],
)
def test_no_proxy_means_what_it_means_elsewhere(host: str, is_direct: bool) -> None:  # noqa: FBT001 - a table
    assert (proxy_for(host, "", ENVIRONMENT) is None) is is_direct


def test_the_setting_wins_and_lower_case_wins() -> None:
    given = {"https_proxy": "low:1", "HTTPS_PROXY": "high:2"}
    found = [
        proxy_for("a", "", given),
        proxy_for("a", "http://own", given),
        proxy_for("a", "none", given),
        proxy_for("a", "", {}),
        proxy_for("a", "", {"HTTPS_PROXY": "x", "NO_PROXY": "*"}),
    ]
    hosts = [one and (one.host, one.port) for one in found]
    assert hosts == [("low", 1), ("own", 3128), None, None, None]


def test_a_password_is_decoded_and_never_shown() -> None:
    proxy = proxy_for("a", "", ENVIRONMENT)
    assert proxy is not None
    assert proxy.authorization == "Basic dXNlcjpwQHNz"
    assert "dXNl" not in repr(proxy)
    with pytest.raises(OSError, match="HTTPS_PROXY") as caught:
        HttpProxy.parse("https://user:hidden@proxy")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "socks5://a:1", "http://", "http://a:b", "http://[", "://"])
def test_what_is_no_proxy_is_refused(url: str) -> None:
    with pytest.raises(OSError, match="no http://HOST:PORT"):
        HttpProxy.parse(url)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"HTTP/1.1 407 Auth\r\n\r\n", "user and a password"),
        (b"HTTP/1.1 403 No\r\n\r\n", "does not connect"),
        (b"HTTP/1.1\r\n\r\n", "does not connect"),
        (b"\r\n\r\n", "does not connect"),
        (b"", "ended"),
        (b"x" * 20_000, "no HTTP answer"),
    ],
)
def test_a_proxy_that_does_not_connect_is_named(answer: bytes, word: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            one, _ = server.accept()
            with one, suppress(OSError):
                one.recv(1000)
                one.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        with pytest.raises(OSError, match=word) as caught:
            HttpProxy("127.0.0.1", port, "Basic hidden").connect("b", 1)
        thread.join()
    assert f"proxy 127.0.0.1:{port}" in str(caught.value)
    assert "hidden" not in str(caught.value)
