"""Requests of commands to the web server of `kapok up`, by the rights of a kubeconfig's token."""

import argparse
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from scheduler.control.ports.hub import HubError
from scheduler.hub.client import open_hub
from scheduler.hub.kubeconfig import bearer_token_of
from scheduler.hub.web_address import check_web_address, find_web_address

_TIMEOUT_SECONDS = 30.0
_MAX_ANSWER_BYTES = 256 * 2**20
_MAX_REFUSAL_BYTES = 1000


class WebUnavailable(HubError):
    """The web server refuses or does not answer; the message says what to do.

    Attributes:
        code: the HTTP status; 0 if there was no answer.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


def add_server_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--server`."""
    parser.add_argument(
        "--server", metavar="URL", help="address of the web server, where the hub does not say it"
    )


async def connect_web(kubeconfig: Path, server: str | None) -> "WebClient":
    """A client of the web server that the hub of a kubeconfig names.

    Raises:
        WebUnavailable: the kubeconfig holds no token.
        HubError: the hub does not answer, or names no web server.
    """
    token = await bearer_token_of(kubeconfig)
    if not token:
        raise WebUnavailable(f"kubeconfig {kubeconfig} holds no token; name one that does")
    if server:
        return WebClient(check_web_address(server), token)
    async with open_hub(kubeconfig) as client:
        return WebClient(await find_web_address(client), token)


class WebClient:
    """Sends requests to one web server.

    Args:
        address: its address.
        token: a token of the hub.
    """

    def __init__(self, address: str, token: str) -> None:
        self.address, self._token = address, token
        # No proxy of the environment, which would see the token.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON value
        """The JSON at a path.

        Raises:
            WebUnavailable: the server refuses or does not answer.
        """
        return self._send(path, None)

    def post(self, path: str, body: object) -> Any:  # noqa: ANN401 - any JSON value
        """The JSON that answers a JSON body; raises like `get`."""
        return self._send(path, json.dumps(body).encode())

    def post_lines(self, path: str, body: bytes, *, timeout: float) -> Iterator[Any]:
        """The JSON values, one a line, that answer a JSON body as they come.

        Args:
            path: where to send it.
            body: JSON.
            timeout: seconds for which the server may say nothing.

        Raises:
            WebUnavailable: the server refuses, does not answer, or ends in the middle of a line.
        """
        yield from self._open(path, body, _lines_of, timeout)

    def _send(self, path: str, body: bytes | None) -> Any:  # noqa: ANN401 - any JSON value
        return next(self._open(path, body, _whole_of, _TIMEOUT_SECONDS))

    def _open(
        self,
        path: str,
        body: bytes | None,
        read: Callable[[HTTPResponse], Iterator[Any]],
        timeout: float,
    ) -> Iterator[Any]:
        headers = {"Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(  # noqa: S310 - http or https, see check_web_address
            self.address + path, data=body, headers=headers
        )
        try:
            with self._opener.open(request, timeout=timeout) as response:
                yield from read(response)
        except urllib.error.HTTPError as error:
            with error:
                raise WebUnavailable(self._refusal(error), error.code) from error
        except (OSError, ValueError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise WebUnavailable(
                f"{self.address} does not answer ({reason}); is `kapok up` running there?"
            ) from error

    def _refusal(self, error: urllib.error.HTTPError) -> str:
        text = error.read(_MAX_REFUSAL_BYTES).decode(errors="replace").strip()
        if error.code in (401, 403):
            return f"{self.address} refuses (HTTP {error.code}): {text}"
        return f"{self.address}: HTTP {error.code}: {text}"


def _whole_of(response: HTTPResponse) -> Iterator[Any]:
    yield json.loads(response.read(_MAX_ANSWER_BYTES))


def _lines_of(response: HTTPResponse) -> Iterator[Any]:
    while line := response.readline(_MAX_ANSWER_BYTES):
        yield json.loads(line)
