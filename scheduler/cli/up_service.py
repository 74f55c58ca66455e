"""What `kapok up` does once the process of the embedded hub is started.

A module of its own, because importing it imports the whole scheduler.
"""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from scheduler.apiserver.base.heavy_work import freeze_heap
from scheduler.apiserver.storage.sqlite import DataDirectoryInUse
from scheduler.app import run as run_scheduler
from scheduler.cli.support.arguments import EXIT_GOOD, EXIT_NO
from scheduler.cli.support.output import print_json
from scheduler.cli.support.signals import leaf_errors
from scheduler.control.leader_election import EpochExhausted, LeadershipLost
from scheduler.control.ports.hub import HubError
from scheduler.control.replicas import StandbyRefused
from scheduler.hub_process.launch import HubChild
from scheduler.ledger.errors import LedgerError
from scheduler.pki.authority import AuthorityError
from scheduler.placement.kernel import loader as compiled
from scheduler.runtime.data_dir import DataDirectoryError
from scheduler.runtime.log_format import LogFormat
from scheduler.services import Endpoints
from scheduler.settings import Settings, SettingsError

_log = logging.getLogger(__name__)


async def serve(
    settings: Settings,
    data_path: Path,
    *,
    hub_child: HubChild | None,
    output: str | None,
    log_format: LogFormat,
    report: Callable[[BaseException], None],
) -> int:
    """Runs until cancelled; reports each error that a user can do something about in one line.

    Args:
        settings: all settings.
        data_path: the data directory.
        hub_child: becomes the embedded hub; None: one is started if it is needed.
        output: the form of what is printed when everything runs.
        log_format: the form of the log.
        report: called with each error.

    Returns:
        The exit code.
    """
    _log.info("%s", compiled.MODE_SENTENCE)
    code = EXIT_GOOD
    try:
        await run_scheduler(
            settings,
            data_path,
            on_ready=lambda running: _print_ready(running, output, log_format),
            hub_child=hub_child,
        )
    except* (
        AuthorityError,
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
            "hubKind": running.hub_kind,
            "kubeconfig": str(running.kubeconfig),
            "broker": running.broker,
            "brokerKind": running.broker_kind,
            "hubKey": running.hub_key,
            "kernel": compiled.MODE,
            "metrics": running.metrics_url,
            "page": running.page_url,
            "join": running.join_url,
        }
        print_json(facts)
        sys.stdout.flush()
        return
    if log_format == "json":
        hub = f"{running.hub_url} ({running.hub_kind})"
        _log.info("kapok is up: hub %s, data in %s", hub, running.data_dir)
        return
    join = f"  join     {running.join_url}: kapok site join NAME\n" if running.join_url else ""
    sys.stderr.write(
        f"kapok is up\n"
        f"  hub      {running.hub_url} ({running.hub_kind})\n"
        f"  broker   {running.broker} ({running.broker_kind})\n"
        f"{join}"
        f"  metrics  {running.metrics_url}\n"
        f"  page     kapok open --data-dir {running.data_dir}\n"
        f"  hub key  {running.hub_key}\n"
        f"  data     {running.data_dir}\n\n"
        f"  export KUBECONFIG={running.kubeconfig}\n"
        f"  kubectl get sites,workloads.kapok.dev -A\n\n"
        f"Press Ctrl-C to stop.\n"
    )
