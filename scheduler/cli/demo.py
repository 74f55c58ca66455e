"""`kapok demo`: a small city on this machine; `kapok demo poke`: make something happen to it."""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from scheduler.control.ports.hub import HubError
from scheduler.demo.children import ChildError
from scheduler.demo.poke import DemoActionError, add_poke_command, run_poke
from scheduler.demo.run import DemoOptions, run_demo
from scheduler.demo.samples import SamplesError, size_names
from scheduler.demo.view import view_for_stderr
from scheduler.ledger.errors import LedgerError
from scheduler.runtime.clock import SystemClock
from scheduler.settings import data_directory

EXIT_GOOD, EXIT_NO, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
FOLDER_PREFIX = "demo-"

_DESCRIPTION = """"Guangzhou one cloud" on this machine: sites, each with a real kapok-agent
process and a member cluster of its own, the scheduler with its hub and broker, and
the workloads that such a city runs (manifests/samples). Most run; some are refused
or wait, each for a reason worth reading. Only the nodes are played: what is applied,
reported, signed, decided and recorded is real.

Everything listens on 127.0.0.1 and lives in one folder. Ctrl-C ends it all."""

_EPILOG = """examples:
  kapok demo                        watch it; its last lines are commands to paste
  kapok demo --size small           three sites, eight workloads
  kapok demo --exit-when-settled -o json
                                    one JSON object on stdout; exit 0: every workload
                                    runs, is done or says why not; no rule is broken
  kapok demo --exit-when-settled --export out
                                    everything as files, for your own checker
  kapok demo --data-dir ./city      the folder stays; later: kapok demo --resume ./city

while it runs, in another terminal (kapok demo poke --help):
  kapok demo poke silence gz-nansha-edge
  kapok demo poke submit workload.yaml"""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok demo`."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.usage = "kapok demo [options] | kapok demo poke WHAT ARGUMENT"
    parser.add_argument(
        "--size", choices=size_names(), default="city", help="how much (default: %(default)s)"
    )
    parser.add_argument(
        "--exit-when-settled", action="store_true", help="end when nothing more is to be expected"
    )
    parser.add_argument(
        "--timeout",
        type=_parse_seconds,
        default=120.0,
        metavar="S",
        help="to settle (default: %(default)g)",
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="DIR",
        help="write hub.yaml, members/SITE.yaml, reports/SITE.json, decisions/ID.json when settled",
    )
    parser.add_argument("-o", "--output", choices=["json"], help="one JSON object on stdout")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where it lives; stays after the end"
    )
    parser.add_argument(
        "--resume", type=Path, metavar="DIR", help="take up a demo whose folder was kept"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder after the end")
    commands = parser.add_subparsers(dest="demo_command", metavar="poke")
    add_poke_command(commands)


def run(arguments: argparse.Namespace) -> int:
    """Runs a demo, or pokes one that runs."""
    try:
        if arguments.demo_command == "poke":
            return asyncio.run(run_poke(arguments))
        session = _Session(_demo_options(arguments), as_json=arguments.output == "json")
        return asyncio.run(session.until_signalled())
    except (DemoActionError, SamplesError) as error:
        sys.stderr.write(f"kapok demo: {error}\n")
        return EXIT_USAGE


def _demo_options(arguments: argparse.Namespace) -> DemoOptions:
    if arguments.resume is not None and not (arguments.resume / "demo.json").exists():
        raise DemoActionError(
            f"{arguments.resume}: no demo was kept there; begin one with --data-dir DIR"
        )
    folder = arguments.resume or arguments.data_dir or _new_folder()
    named = arguments.resume or arguments.data_dir
    return DemoOptions(
        folder=folder,
        size=arguments.size,
        exit_when_settled=arguments.exit_when_settled,
        timeout_seconds=arguments.timeout,
        export_to=arguments.export,
        is_kept=named is not None or arguments.keep,
    )


def _new_folder() -> Path:
    home = data_directory(None)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=home))


class _Session:
    """One run of the command: the demo, its answer on stdout, and how it ends."""

    def __init__(self, options: DemoOptions, *, as_json: bool) -> None:
        self._options, self._as_json = options, as_json
        self._has_result = False
        self._code = EXIT_NO

    async def until_signalled(self) -> int:
        """Runs the demo. Ctrl-C and SIGTERM end it; everything is ended before this returns."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._run(), name="demo")
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, task.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if task.cancelled():
            sys.stderr.write("ended; nothing is left running\n")
        if self._options.is_kept:
            folder = self._options.folder
            sys.stderr.write(f"kept in {folder}; go on with: kapok demo --resume {folder}\n")
        return self._code if self._has_result or not task.cancelled() else EXIT_INTERRUPTED

    async def _run(self) -> None:
        clock = SystemClock()
        try:
            await run_demo(self._options, view_for_stderr(clock), clock, self._print_result)
        except* (ChildError, HubError, LedgerError, OSError) as group:
            for error in _leaf_errors(group):
                sys.stderr.write(f"kapok demo: {error}\n")

    def _print_result(self, value: dict[str, Any], *, is_good: bool) -> None:
        self._has_result = True
        self._code = EXIT_GOOD if is_good else EXIT_NO
        if self._as_json:
            sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
            sys.stdout.flush()


def _leaf_errors(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for one in group.exceptions:
        leaves.extend(_leaf_errors(one) if isinstance(one, BaseExceptionGroup) else [one])
    return leaves


def _parse_seconds(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text}: write seconds, more than 0")
    return value
