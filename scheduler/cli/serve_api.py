"""`kapok serve-api`: runs the embedded Kubernetes API server alone, for example as member clusters.

A program may start it and wait for the line "ready" on stdout.
"""

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from scheduler.apiserver.base.errors import DamagedFile
from scheduler.apiserver.base.heavy_work import freeze_heap
from scheduler.apiserver.server import ApiServer, ApiServerOptions, serve
from scheduler.apiserver.storage.sqlite import DataDirectoryInUse
from scheduler.cli.support.arguments import EXIT_GOOD, EXIT_USAGE
from scheduler.cli.support.output import print_error
from scheduler.cli.support.signals import leaf_errors, run_until_signalled
from scheduler.runtime.parent_death import tie_to_parent

_DESCRIPTION = """Runs the embedded Kubernetes API server without the scheduler: one server, or one
for each --name, each with its own data directory, port and kubeconfig. Prints one line for each
server (name, URL, kubeconfig), then "ready"."""

_EPILOG = """examples:
  kapok serve-api --data-dir ./hub                      one server; it keeps its port
  kapok serve-api --data-dir ./m --name m1 --name m2    two member clusters in one process
  kapok serve-api --data-dir ./hub --host 0.0.0.0 --host-name hub.example.org
  KUBECONFIG=./m/m1/kubeconfig kubectl get namespaces

Ctrl-C or SIGTERM stops it. Exit code: 0 stopped, 2 a server could not start."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok serve-api`."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument(
        "--data-dir",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for objects, certificates, tokens and kubeconfigs",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="run a server of this name in DIR/NAME; may be repeated (default: one, 'hub', in DIR)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        help="port of the first server, the next one gets the next port; 0: free ports, the same "
        "at the next start (default: %(default)s)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 opens the server to the network (default: %(default)s)",
    )
    parser.add_argument(
        "--host-name",
        action="append",
        default=[],
        metavar="NAME",
        help="another host name of the server, for its certificate; may be repeated",
    )
    parser.add_argument(
        "--no-crds", action="store_true", help="do not install the CRDs of kapok.dev at the start"
    )
    parser.add_argument(
        "--parent-pid",
        type=int,
        default=0,
        metavar="PID",
        help="stop when the parent process, which must have this PID, ends",
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the servers until SIGINT or SIGTERM."""
    if arguments.parent_pid:
        tie_to_parent(arguments.parent_pid)
    code = EXIT_GOOD
    try:
        asyncio.run(run_until_signalled(_serve(_options(arguments)), name="servers"))
    except* (DamagedFile, DataDirectoryInUse) as group:
        print_error("serve-api", leaf_errors(group)[0])
        code = EXIT_USAGE
    except* OSError as group:
        print_error("serve-api", f"cannot start the server: {leaf_errors(group)[0]}")
        code = EXIT_USAGE
    return code


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
        data_dir=folder.absolute(),
        name=name,
        port=arguments.port + index if arguments.port else 0,
        host=arguments.host,
        host_names=arguments.host_name,
        crds=crds,
    )


def _load_crds() -> list[dict[str, object]]:
    from scheduler.hub.crds.generate import make_crds  # noqa: PLC0415 - the model is slow to import

    return make_crds()


async def _serve(options: list[ApiServerOptions]) -> None:
    """Runs the servers until cancelled."""
    async with AsyncExitStack() as stack:
        servers: list[ApiServer] = [await stack.enter_async_context(serve(one)) for one in options]
        for server in servers:
            sys.stdout.write(f"{server.name} {server.url} {server.kubeconfig_path}\n")
        freeze_heap()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()  # for ever: nothing sets the event
