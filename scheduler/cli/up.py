"""`kapok up`: runs the scheduler, with an embedded hub and broker or with real ones."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, get_args

from scheduler.apiserver.base.heavy_work import freeze_heap
from scheduler.apiserver.storage.sqlite import DataDirectoryInUse
from scheduler.app import run as run_scheduler
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    add_data_dir_option,
    add_output_option,
)
from scheduler.cli.support.output import print_error, print_json
from scheduler.cli.support.signals import leaf_errors, run_until_signalled
from scheduler.control.leader_election import EpochExhausted, LeadershipLost
from scheduler.control.ports.hub import HubError
from scheduler.control.replicas import StandbyRefused
from scheduler.ledger.errors import LedgerError
from scheduler.placement.kernel import loader as compiled
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.data_dir import DataDirectoryError
from scheduler.runtime.log_format import LogFormat, set_up_logging
from scheduler.runtime.log_limit import limit_log_rate
from scheduler.runtime.parent_death import tie_to_parent
from scheduler.services import Endpoints
from scheduler.settings import (
    DATA_HOME,
    SettingsError,
    check_settings_file,
    data_directory,
    load_settings,
)

_log = logging.getLogger(__name__)

_EPILOG = f"""examples:
  kapok up                            embedded hub and broker, data in ~/.local/share/kapok
  kapok up --data-dir ./city          all data in ./city; the next start uses the same ports
  kapok up --log-format json          the log as JSON, one object a line, for log collectors
  kapok up --config scheduler.yaml    settings: a real cluster as the hub, a real broker, limits

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
        settings = load_settings(arguments.config)
        log_format = arguments.log_format or settings.log.format
        set_up_logging(settings.log_level, log_format)
        limit_log_rate(SystemClock())
        logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
        for finding in check_settings_file(arguments.config):
            _log.warning("%s: %s", arguments.config, finding.line)
        _log.info("%s", compiled.MODE_SENTENCE)
        work = run_scheduler(
            settings,
            data_directory(arguments.data_dir),
            on_ready=lambda running: _print_ready(running, arguments.output, log_format),
        )
        report = _log_error if log_format == "json" else _print_error
        code = asyncio.run(run_until_signalled(_report_errors(work, report), name="scheduler"))
    except SettingsError as error:
        print_error("up", error)
        return EXIT_USAGE
    return EXIT_GOOD if code is None else code


def _print_error(error: BaseException) -> None:
    print_error("up", error)


def _log_error(error: BaseException) -> None:
    """Keeps a log of JSON objects free of other lines."""
    _log.error("%s", error)


async def _report_errors(
    work: Coroutine[Any, Any, None], report: Callable[[BaseException], None]
) -> int:
    """Runs `work`; reports each error that a user can do something about in one line."""
    code = EXIT_GOOD
    try:
        await work
    except* (
        DataDirectoryError,
        DataDirectoryInUse,
        EpochExhausted,
        HubError,
        LeadershipLost,
        LedgerError,
        OSError,
        SettingsError,
        StandbyRefused,
        ValueError,
    ) as group:
        for error in leaf_errors(group):
            report(error)
        code = EXIT_NO
    return code


def _print_ready(running: Endpoints, output: str | None, log_format: LogFormat) -> None:
    freeze_heap()
    if output == "json":
        facts = {
            "dataDir": str(running.data_dir),
            "hub": running.hub_url,
            "kubeconfig": str(running.kubeconfig),
            "broker": running.broker,
            "brokerKind": running.broker_kind,
            "hubKey": running.hub_key,
            "kernel": compiled.MODE,
            "metrics": running.metrics_url,
            "page": running.page_url,
        }
        print_json(facts)
        sys.stdout.flush()
        return
    if log_format == "json":
        _log.info("kapok is up: hub %s, data in %s", running.hub_url, running.data_dir)
        return
    sys.stderr.write(
        f"kapok is up\n"
        f"  hub      {running.hub_url}\n"
        f"  broker   {running.broker} ({running.broker_kind})\n"
        f"  metrics  {running.metrics_url}\n"
        f"  page     kapok open --data-dir {running.data_dir}\n"
        f"  hub key  {running.hub_key}\n"
        f"  data     {running.data_dir}\n\n"
        f"  export KUBECONFIG={running.kubeconfig}\n"
        f"  kubectl get sites,workloads.kapok.dev -A\n\n"
        f"Press Ctrl-C to stop.\n"
    )
