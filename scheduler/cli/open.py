"""`kapok open`: prints an address that opens the dashboard of a running `kapok up`."""

import argparse
import asyncio
import json
import ssl
import sys
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    add_data_dir_option,
    add_output_option,
)
from scheduler.cli.support.hub_access import HubNotFound, existing_kubeconfig
from scheduler.cli.support.output import print_error
from scheduler.control.ports.hub import Refused
from scheduler.hub.kubeconfig import bearer_token_of
from scheduler.runtime.data_dir import KUBECONFIG_FILE, recorded_web_server
from scheduler.settings import DATA_HOME, data_directory

_TIMEOUT_SECONDS = 10.0
_MAX_REFUSAL_BYTES = 500

_EPILOG = f"""examples:
  kapok open                         the `kapok up` of ${DATA_HOME}, else ~/.local/share/kapok
  kapok open --data-dir ./city       the `kapok up` of another data directory
  kapok open --token-file token      for a kubeconfig without a token: kubectl create token …

The address holds a code that works once, within two minutes. The dashboard is read-only, and shows
what the holder of the token may see: a tenant its own namespaces.
Exit code: 0 success, 1 the dashboard refused or did not answer, 2 no `kapok up` was found."""


class PageUnavailable(Exception):
    """There is no login code; the message says why and what to do."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok open`."""
    parser.epilog = _EPILOG
    add_data_dir_option(parser)
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="kubeconfig that holds the token to log in with (default: that of the data directory)",
    )
    parser.add_argument(
        "--token-file", metavar="FILE", type=Path, help="file that holds the token to log in with"
    )
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the address."""
    directory = data_directory(arguments.data_dir)
    server = recorded_web_server(directory)
    if server is None:
        print_error(
            "open",
            f"no `kapok up` has run in {directory}; name its data directory with --data-dir DIR",
        )
        return EXIT_USAGE
    try:
        token = _read_token(arguments, directory)
        answer = _request_code(*server, token)
    except (PageUnavailable, HubNotFound, Refused, OSError) as error:
        print_error("open", error)
        return EXIT_NO
    url = f"{server[0]}/login?code={answer['code']}"
    facts = {"url": url, "expiresInSeconds": answer["expiresInSeconds"]}
    sys.stdout.write((json.dumps(facts) if arguments.output == "json" else url) + "\n")
    return EXIT_GOOD


def _read_token(arguments: argparse.Namespace, directory: Path) -> str:
    if arguments.token_file:
        return str(arguments.token_file.read_text(encoding="utf-8")).strip()
    kubeconfig = existing_kubeconfig(arguments.kubeconfig or directory / KUBECONFIG_FILE)
    token = asyncio.run(bearer_token_of(kubeconfig))
    if not token:
        raise PageUnavailable(
            f"kubeconfig {kubeconfig} holds no token; name a file with one: --token-file FILE"
        )
    return token


def _request_code(address: str, certificate_file: str, token: str) -> dict[str, str]:
    request = urllib.request.Request(  # noqa: S310 - http or https, as `kapok up` recorded it
        f"{address}/login/codes",
        data=b"",
        headers={"Authorization": f"Bearer {token}"},
        method="POST",
    )
    # No proxy of the environment: 127.0.0.1 needs none, and a proxy must not see the token.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if certificate_file:
        handlers.append(urllib.request.HTTPSHandler(context=_trusting(certificate_file)))
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
            answer: dict[str, str] = json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            raise PageUnavailable(
                f"the dashboard at {address} refused the token (HTTP {error.code}); its hub does "
                "not know it, or the token has expired"
                if error.code == HTTPStatus.UNAUTHORIZED
                else f"the dashboard at {address} answers {error.code}: "
                + error.read(_MAX_REFUSAL_BYTES).decode(errors="replace").strip()
            ) from error
    except urllib.error.URLError as error:
        raise PageUnavailable(
            f"cannot connect to {address}: {error.reason}; is `kapok up` running?"
        ) from error
    return answer


def _trusting(certificate_file: str) -> ssl.SSLContext:
    """Trusts exactly the certificate that `kapok up` shows, by whatever address it is reached."""
    try:
        context = ssl.create_default_context(cafile=certificate_file)
    except OSError as error:
        raise PageUnavailable(f"certificate {certificate_file}: {error}") from error
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context
