"""`kapok demo`: runs a small city on this machine; `kapok demo poke` changes a running one."""

import argparse
import asyncio
import sys
import tempfile
from math import inf
from pathlib import Path
from typing import Any

from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_INTERRUPTED,
    EXIT_NO,
    EXIT_USAGE,
    add_output_option,
    seconds_between,
)
from scheduler.cli.support.output import print_error, print_json
from scheduler.cli.support.signals import leaf_errors, run_until_signalled
from scheduler.control.ports.hub import HubError
from scheduler.demo.children import ChildError
from scheduler.demo.poke import DemoActionError, add_poke_command, run_poke
from scheduler.demo.run import DemoOptions, run_demo
from scheduler.demo.samples import SamplesError, size_names
from scheduler.demo.view import view_for_stderr
from scheduler.ledger.errors import LedgerError
from scheduler.runtime.clock import SystemClock
from scheduler.settings import data_directory

FOLDER_PREFIX = "demo-"

_DESCRIPTION = """Runs "Guangzhou one cloud" on this machine: sites, each with a real kapok-agent
process and its own member cluster, the scheduler with its hub and broker, and the workloads of
such a city (manifests/samples). Most workloads run; some are refused or wait, each with a
reason worth reading. Only the nodes are simulated: orders, reports, signatures, decisions
and the ledger are real.

All servers listen on 127.0.0.1, and all files are in one folder. Ctrl-C stops everything."""

_EPILOG = """examples:
  kapok demo                        watch it; at the end it prints commands to paste
  kapok demo --size small           three sites, eight workloads
  kapok demo --exit-when-settled -o json
                                    stop when settled, print one JSON object
  kapok demo --exit-when-settled --export out
                                    write all objects, reports and decisions as files
  kapok demo --data-dir ./city      keep the folder; later: kapok demo --resume ./city

while it runs, in another terminal (see kapok demo poke --help):
  kapok demo poke silence gz-nansha-edge
  kapok demo poke submit workload.yaml

A demo has settled when every site reports and every workload runs, is completed, or waits or is
refused with a reason.
Exit code: 0 the workloads settled and no rule was violated, 1 they did not, 2 wrong usage,
130 stopped before the result."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok demo`."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.usage = "kapok demo [options] | kapok demo poke WHAT ARGUMENT"
    parser.add_argument(
        "--size",
        choices=size_names(),
        default="city",
        help="how many sites and workloads (default: %(default)s)",
    )
    parser.add_argument(
        "--exit-when-settled", action="store_true", help="stop when the demo has settled"
    )
    parser.add_argument(
        "--timeout",
        type=seconds_between(0.001, inf),
        default=120.0,
        metavar="S",
        help="stop waiting for the demo to settle after S seconds (default: %(default)g)",
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="DIR",
        help="when settled, write hub.yaml, members/SITE.yaml, reports/SITE.json and "
        "decisions/ID.json into DIR",
    )
    add_output_option(parser)
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="folder of the demo, kept at the end (default: a new one, deleted at the end)",
    )
    parser.add_argument(
        "--resume", type=Path, metavar="DIR", help="continue a demo whose folder was kept"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder at the end")
    commands = parser.add_subparsers(dest="demo_command", metavar="poke")
    add_poke_command(commands)


def run(arguments: argparse.Namespace) -> int:
    """Runs a demo, or changes a running one."""
    try:
        if arguments.demo_command == "poke":
            return asyncio.run(run_poke(arguments))
        session = _Session(_demo_options(arguments), as_json=arguments.output == "json")
        return asyncio.run(session.until_signalled())
    except (DemoActionError, SamplesError) as error:
        print_error("demo", error)
        return EXIT_USAGE


def _demo_options(arguments: argparse.Namespace) -> DemoOptions:
    if arguments.resume is not None and not (arguments.resume / "demo.json").exists():
        raise DemoActionError(
            f"{arguments.resume} holds no demo; start one that is kept with --data-dir DIR"
        )
    folder = arguments.resume or arguments.data_dir or _new_folder()
    named = arguments.resume or arguments.data_dir
    export = arguments.export and arguments.export.absolute()
    if export and (export == folder.absolute() or export in folder.absolute().parents):
        raise DemoActionError(
            f"--export {arguments.export}: exports are to be passed on, and the demo's keys would "
            "lie among them; name a folder that does not hold the demo's"
        )
    return DemoOptions(
        folder=folder.absolute(),  # its files name each other, also to processes elsewhere
        size=arguments.size,
        exit_when_settled=arguments.exit_when_settled,
        timeout_seconds=arguments.timeout,
        export_to=export,
        is_kept=named is not None or arguments.keep,
    )


def _new_folder() -> Path:
    home = data_directory(None)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=home))


class _Session:
    """One run of the command: runs the demo, prints its result, determines the exit code."""

    def __init__(self, options: DemoOptions, *, as_json: bool) -> None:
        self._options, self._as_json = options, as_json
        self._has_result = False
        self._code = EXIT_NO

    async def until_signalled(self) -> int:
        """Runs the demo until it ends or a signal comes; all its processes have ended then."""
        has_ended = await run_until_signalled(self._run(), name="demo")
        if not has_ended:
            sys.stderr.write("stopped; all processes have ended\n")
        if self._options.is_kept:
            folder = self._options.folder
            sys.stderr.write(f"kept in {folder}; continue with: kapok demo --resume {folder}\n")
        return self._code if self._has_result or has_ended else EXIT_INTERRUPTED

    async def _run(self) -> bool:
        """Runs the demo to its own end, and returns True; after a signal the caller gets None."""
        clock = SystemClock()
        try:
            await run_demo(
                self._options,
                view=view_for_stderr(clock),
                clock=clock,
                on_result=self._print_result,
            )
        except* (ChildError, HubError, LedgerError, OSError) as group:
            for error in leaf_errors(group):
                print_error("demo", error)
        return True

    def _print_result(self, value: dict[str, Any], *, is_good: bool) -> None:
        self._has_result = True
        self._code = EXIT_GOOD if is_good else EXIT_NO
        if self._as_json:
            print_json(value)
            sys.stdout.flush()  # the demo may run on; a reader of the pipe needs the result now
