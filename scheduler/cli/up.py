"""`kapok up`: runs the scheduler, with an embedded hub and broker or with real ones.

Half of a start is imports. The embedded hub's process is started first and imports its modules
beside those of the scheduler, which are therefore imported in `_serve` and not here.
"""

import argparse
import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

import msgspec

from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    add_data_dir_option,
    add_output_option,
)
from scheduler.cli.support.hub_choice import choose_hub
from scheduler.cli.support.output import print_error
from scheduler.cli.support.signals import run_until_signalled
from scheduler.hub_process.launch import HubChild, child_launched_early
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.log_format import LogFormat, set_up_logging
from scheduler.runtime.log_limit import PeerFaults, limit_log_rate
from scheduler.runtime.parent_death import tie_to_parent
from scheduler.settings import (
    DATA_HOME,
    Settings,
    SettingsError,
    check_settings_file,
    data_directory,
    load_settings,
    settings_from,
)

_log = logging.getLogger(__name__)

_EPILOG = f"""examples:
  kapok up                            embedded hub and broker, data in ~/.local/share/kapok
  kapok up --data-dir ./city          all data in ./city; the next start uses the same ports
  kapok up --log-format json          the log as JSON, one object a line, for log collectors
  kapok up --listen 10.1.2.3          machines of sites can join: kapok site join NAME
  kapok up --listen 0.0.0.0 --advertise hub.example.cn
  kapok up --config scheduler.yaml    settings: a real cluster as the hub, a real broker, limits
  kapok up --kubeconfig real.yaml     a real cluster as the hub

The hub is the embedded one unless --kubeconfig, the setting hub.kubeconfig or the service account
of the Pod that this runs in (hub.in_cluster) names a real one. $KUBECONFIG and ~/.kube/config are
never read for this. The log and kapok version say which hub it is.

The data directory is --data-dir, else ${DATA_HOME}, else ~/.local/share/kapok. It holds the hub's
objects, the decision ledger, the hub's signing key and the kubeconfig. Only one `kapok up` can
use it at a time.
Ctrl-C or SIGTERM stops everything cleanly; the next start continues with the same objects.
Exit code: 0 stopped, 1 it could not start or go on, 2 invalid settings."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok up`."""
    parser.description = (
        "Runs the scheduler. Without settings it starts an embedded hub (a Kubernetes API server) "
        "and an\nembedded MQTT broker, and prints how to reach them."
    )
    parser.epilog = _EPILOG
    add_data_dir_option(parser)
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="settings in YAML (default: built-in values)"
    )
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="kubeconfig of a real cluster that is the hub (default: the setting hub.kubeconfig)",
    )
    parser.add_argument(
        "--listen",
        metavar="ADDRESS[:PORT]",
        help="let machines of sites join: mosquitto with TLS at this address of this machine "
        "(default port: 8883), and joining at the port after it (default: the setting "
        "joining.listen, else none can)",
    )
    parser.add_argument(
        "--advertise",
        metavar="HOST",
        action="append",
        default=[],
        help="a name or address that other machines reach this one by; may be repeated (default: "
        "the address of --listen)",
    )
    parser.add_argument(
        "--log-format",
        choices=get_args(LogFormat),
        help="json: one JSON object a line on stderr (default: the setting log.format)",
    )
    add_output_option(parser)
    parser.add_argument("--parent-pid", type=int, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Runs until a signal, or until an error that the scheduler cannot recover from."""
    if arguments.parent_pid:
        tie_to_parent(arguments.parent_pid)
    try:
        settings = _with_listen(load_settings(arguments.config), arguments)
        log_format = arguments.log_format or settings.log.format
        set_up_logging(settings.log_level, log_format)
        limit_log_rate(SystemClock())
        logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
        for finding in check_settings_file(arguments.config):
            _log.warning("%s: %s", arguments.config, finding.line)
        data_path = data_directory(arguments.data_dir)
        choice = choose_hub(settings, data_path, kubeconfig=arguments.kubeconfig)
        _log.info("%s", choice.sentence)
        work = _serve(choice.settings, data_path, arguments.output, log_format)
        code = asyncio.run(run_until_signalled(work, name="scheduler"))
    except SettingsError as error:
        print_error("up", error)
        return EXIT_USAGE
    return EXIT_GOOD if code is None else code


def _with_listen(settings: Settings, arguments: argparse.Namespace) -> Settings:
    """The settings with what the command line says about joining.

    Raises:
        SettingsError: that contradicts the others.
    """
    joining = settings.joining
    changed = msgspec.structs.replace(
        joining,
        listen=arguments.listen or joining.listen,
        advertise=tuple(arguments.advertise) or joining.advertise,
    )
    if changed == joining:
        return settings
    raw = {**msgspec.to_builtins(settings), "joining": msgspec.to_builtins(changed)}
    return settings_from(raw, source="--listen, --advertise")


async def _serve(
    settings: Settings, data_path: Path, output: str | None, log_format: LogFormat
) -> int:
    """Runs the scheduler; returns the exit code."""
    report = _log_error if log_format == "json" else _print_error
    try:
        async with _hub_launched_early(settings) as hub_child:
            from aiohttp.http_exceptions import HttpProcessingError  # noqa: PLC0415 - as below

            from scheduler.cli.up_service import serve  # noqa: PLC0415 - after the hub's process

            logging.getLogger("aiohttp.server").addFilter(PeerFaults(HttpProcessingError))
            return await serve(
                settings,
                data_path,
                hub_child=hub_child,
                output=output,
                log_format=log_format,
                report=report,
            )
    except OSError as error:
        report(error)
        return EXIT_NO


@asynccontextmanager
async def _hub_launched_early(settings: Settings) -> AsyncIterator[HubChild | None]:
    """The process that becomes the embedded hub; None: the settings name another hub."""
    if settings.hub.kubeconfig:
        yield None
        return
    async with child_launched_early() as child:
        yield child


def _print_error(error: BaseException) -> None:
    print_error("up", error)


def _log_error(error: BaseException) -> None:
    """Keeps a log of JSON objects free of other lines."""
    _log.error("%s", error)
