"""`kapok up`: the scheduler with all that it needs, on this machine or against a real cluster."""

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from scheduler.apiserver.storage.sqlite import DataDirectoryInUse
from scheduler.app import run as run_scheduler
from scheduler.control.leader_election import LeadershipLost
from scheduler.control.ports.hub import HubError
from scheduler.placement.kernel import loader as compiled
from scheduler.runtime.data_dir import DataDirectoryError
from scheduler.runtime.parent_death import tie_to_parent
from scheduler.services import Endpoints
from scheduler.settings import DATA_HOME, SettingsError, data_directory, load_settings

_log = logging.getLogger(__name__)

EXIT_NO, EXIT_USAGE = 1, 2

_EPILOG = f"""examples:
  kapok up                            hub and broker embedded, data in ~/.local/share/kapok
  kapok up --data-dir ./city          everything in one directory; the same ports next time
  kapok up --config scheduler.yaml    a real cluster as the hub, a real broker, other limits

The data directory comes from --data-dir, else ${DATA_HOME}, else ~/.local/share/kapok. It holds the
hub's objects, the decision ledger, the hub's signing key and the kubeconfig. One instance at a
time.
Ctrl-C ends everything cleanly; what was accepted is there at the next start."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok up`."""
    parser.epilog = _EPILOG
    parser.add_argument("--data-dir", metavar="DIR", help="where everything is kept")
    parser.add_argument("--config", metavar="FILE", type=Path, help="settings, YAML")
    parser.add_argument(
        "-o", "--output", choices=["json"], help="when ready, one JSON object on stdout"
    )
    parser.add_argument("--parent-pid", type=int, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Runs until a signal, or until something that cannot be repaired."""
    if arguments.parent_pid:
        tie_to_parent(arguments.parent_pid)
    try:
        settings = load_settings(arguments.config)
        logging.basicConfig(
            level=settings.log_level,
            stream=sys.stderr,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        )
        logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
        _log.info("%s", compiled.MODE_SENTENCE)
        return asyncio.run(
            _until_signalled(
                run_scheduler(
                    settings,
                    data_directory(arguments.data_dir),
                    on_ready=lambda running: _print_ready(running, arguments.output),
                )
            )
        )
    except SettingsError as error:
        sys.stderr.write(f"kapok up: {error}\n")
        return EXIT_USAGE


async def _until_signalled(work: Coroutine[Any, Any, None]) -> int:
    """Runs `work` until SIGINT or SIGTERM; says in one line what ended it otherwise."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_report_errors(work), name="scheduler")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            return await task
    return 0


async def _report_errors(work: Coroutine[Any, Any, None]) -> int:
    code = 0
    try:
        await work
    except* (
        DataDirectoryError,
        DataDirectoryInUse,
        HubError,
        LeadershipLost,
        OSError,
        SettingsError,
        ValueError,
    ) as group:
        for error in _leaf_errors(group):
            sys.stderr.write(f"kapok up: {error}\n")
        code = EXIT_NO
    return code


def _leaf_errors(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for one in group.exceptions:
        leaves.extend(_leaf_errors(one) if isinstance(one, BaseExceptionGroup) else [one])
    return leaves


def _print_ready(running: Endpoints, output: str | None) -> None:
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
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
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
        f"Ctrl-C ends it.\n"
    )
