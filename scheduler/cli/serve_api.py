"""`kapok serve-api`: the embedded Kubernetes API server alone, for example as member clusters."""

import argparse
import asyncio
import ctypes
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from scheduler.apiserver.server import ApiServer, ApiServerOptions, serve
from scheduler.apiserver.storage.sqlite import DataDirectoryInUse

DESCRIPTION = """\
Runs the embedded Kubernetes API server: one instance a --name, each with a data directory, a port
and a kubeconfig of its own. Prints one line a server, then "ready".

examples:
  kapok serve-api --data-dir ./hub                      one server, port chosen and recorded
  kapok serve-api --data-dir ./m --name m1 --name m2    two member clusters in one process
  kapok serve-api --data-dir ./hub --host 0.0.0.0 --host-name hub.example.org
  KUBECONFIG=./m/m1/kubeconfig kubectl get namespaces
"""
_PR_SET_PDEATHSIG = 1


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data-dir", type=Path, required=True, help="where everything is kept")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="run an instance of this name in DATA-DIR/NAME; may be repeated (default: one, 'hub')",
    )
    parser.add_argument(
        "--port", type=int, default=0, help="first port; 0 chooses free ones (default: %(default)s)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; others than loopback let the network in (default: %(default)s)",
    )
    parser.add_argument(
        "--host-name",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name by which clients call the server; certified; may be repeated",
    )
    parser.add_argument(
        "--no-crds", action="store_true", help="do not apply the kinds of kapok.dev at the start"
    )
    parser.add_argument(
        "--parent-pid", type=int, default=0, help="end when the process that started this one ends"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the servers until SIGINT or SIGTERM; 2 if one could not be started."""
    if arguments.parent_pid:
        end_with_parent(arguments.parent_pid)
    try:
        asyncio.run(_run(_options(arguments)))
    except DataDirectoryInUse as error:
        sys.stderr.write(f"kapok serve-api: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"kapok serve-api: the server cannot start: {error}\n")
        return 2
    return 0


def _options(arguments: argparse.Namespace) -> list[ApiServerOptions]:
    crds = [] if arguments.no_crds else _load_crds()
    if not arguments.name:
        return [_server_options(arguments, "hub", arguments.data_dir, 0, crds)]
    return [
        _server_options(arguments, name, arguments.data_dir / name, index, crds)
        for index, name in enumerate(arguments.name)
    ]


def _server_options(
    arguments: argparse.Namespace,
    name: str,
    folder: Path,
    index: int,
    crds: list[dict[str, object]],
) -> ApiServerOptions:
    return ApiServerOptions(
        data_dir=folder,
        name=name,
        port=arguments.port + index if arguments.port else 0,
        host=arguments.host,
        host_names=arguments.host_name,
        crds=crds,
    )


def _load_crds() -> list[dict[str, object]]:
    from scheduler.hub.crds.generate import make_crds  # noqa: PLC0415 - needs the model, which takes a moment

    return make_crds()


async def _run(options: list[ApiServerOptions]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        servers: list[ApiServer] = [await stack.enter_async_context(serve(one)) for one in options]
        for server in servers:
            sys.stdout.write(f"{server.name} {server.url} {server.kubeconfig_path}\n")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stop.wait()


def end_with_parent(parent: int) -> None:
    """Asks the kernel to end this process with its parent, also when that one is killed.

    Where the kernel cannot (not Linux), nothing happens: the parent ends its children itself.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(0)
