"""`kapok open`: an address that opens the page of a running `kapok up` in a browser."""

import argparse
import asyncio
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

from scheduler.control.ports.hub import Refused
from scheduler.hub.client import bearer_token_of
from scheduler.runtime.data_dir import KUBECONFIG_FILE, recorded_port
from scheduler.settings import DATA_HOME, data_directory

EXIT_GOOD, EXIT_NO, EXIT_USAGE = 0, 1, 2
_TIMEOUT_SECONDS = 10.0

_EPILOG = f"""examples:
  kapok open                         the `kapok up` of ${DATA_HOME}, else ~/.local/share/kapok
  kapok open --data-dir ./city       another one
  kapok open --token-file token      a hub whose kubeconfig holds no token: kubectl create token …

Prints an address with a code that works once, for two minutes. The page only reads."""


class PageUnavailable(Exception):
    """No code was to be had; the message says why and what to do."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok open`."""
    parser.epilog = _EPILOG
    parser.add_argument("--data-dir", metavar="DIR", help="of the `kapok up` to look at")
    parser.add_argument("--kubeconfig", metavar="FILE", help="whose token to use")
    parser.add_argument("--token-file", metavar="FILE", type=Path, help="a file with the token")
    parser.add_argument("-o", "--output", choices=["json"], help="one JSON object on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Prints the address."""
    directory = data_directory(arguments.data_dir)
    port = recorded_port(directory, "web")
    if port is None:
        sys.stderr.write(
            f"kapok open: {directory}: no `kapok up` has run there; name its --data-dir\n"
        )
        return EXIT_USAGE
    try:
        token = _read_token(arguments, directory)
        answer = _request_code(port, token)
    except (PageUnavailable, Refused, OSError) as error:
        sys.stderr.write(f"kapok open: {error}\n")
        return EXIT_NO
    url = f"http://127.0.0.1:{port}/login?code={answer['code']}"
    facts = {"url": url, "expiresInSeconds": answer["expiresInSeconds"]}
    sys.stdout.write((json.dumps(facts) if arguments.output == "json" else url) + "\n")
    return EXIT_GOOD


def _read_token(arguments: argparse.Namespace, directory: Path) -> str:
    if arguments.token_file:
        return str(arguments.token_file.read_text(encoding="utf-8")).strip()
    kubeconfig = Path(arguments.kubeconfig or directory / KUBECONFIG_FILE)
    if not kubeconfig.exists():
        raise PageUnavailable(f"{kubeconfig}: no kubeconfig there; name one with --kubeconfig FILE")
    token = asyncio.run(bearer_token_of(kubeconfig))
    if not token:
        raise PageUnavailable(
            f"{kubeconfig} logs in without a token; give one with --token-file FILE"
        )
    return token


def _request_code(port: int, token: str) -> dict[str, str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/login/codes",
        data=b"",
        headers={"Authorization": f"Bearer {token}"},
        method="POST",
    )
    # Loopback needs no proxy, and a proxy must not see the token.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
            answer: dict[str, str] = json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            raise PageUnavailable(
                f"the server at port {port} refuses the token: {error.code}; it must be allowed to "
                "list workloads.kapok.dev in all namespaces"
            ) from error
    except urllib.error.URLError as error:
        raise PageUnavailable(
            f"nobody answers at 127.0.0.1:{port}: {error.reason}; is `kapok up` running?"
        ) from error
    return answer
