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
from scheduler.demo.poke import PokeError, add_pokes, poke
from scheduler.demo.run import Wish, run_demo
from scheduler.demo.samples import SamplesError, sizes
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
        "--size", choices=sizes(), default="city", help="how much (default: %(default)s)"
    )
    parser.add_argument(
        "--exit-when-settled", action="store_true", help="end when nothing more is to be expected"
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
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
    add_pokes(commands)


def run(arguments: argparse.Namespace) -> int:
    """Runs a demo, or pokes one that runs."""
    try:
        if arguments.demo_command == "poke":
            return asyncio.run(poke(arguments))
        session = _Session(_wish(arguments), as_json=arguments.output == "json")
        return asyncio.run(session.until_signalled())
    except (PokeError, SamplesError) as error:
        sys.stderr.write(f"kapok demo: {error}\n")
        return EXIT_USAGE


def _wish(arguments: argparse.Namespace) -> Wish:
    if arguments.resume is not None and not (arguments.resume / "demo.json").exists():
        raise PokeError(
            f"{arguments.resume}: no demo was kept there; begin one with --data-dir DIR"
        )
    folder = arguments.resume or arguments.data_dir or _new_folder()
    named = arguments.resume or arguments.data_dir
    return Wish(
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

    def __init__(self, wish: Wish, *, as_json: bool) -> None:
        self._wish, self._as_json = wish, as_json
        self._has_answered = False
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
        if self._wish.is_kept:
            folder = self._wish.folder
            sys.stderr.write(f"kept in {folder}; go on with: kapok demo --resume {folder}\n")
        return self._code if self._has_answered or not task.cancelled() else EXIT_INTERRUPTED

    async def _run(self) -> None:
        clock = SystemClock()
        try:
            await run_demo(self._wish, view_for_stderr(clock), clock, self._answer)
        except* (ChildError, HubError, LedgerError, OSError) as group:
            for error in _leaves(group):
                sys.stderr.write(f"kapok demo: {error}\n")

    def _answer(self, value: dict[str, Any], *, is_good: bool) -> None:
        self._has_answered = True
        self._code = EXIT_GOOD if is_good else EXIT_NO
        if self._as_json:
            sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
            sys.stdout.flush()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for one in group.exceptions:
        leaves.extend(_leaves(one) if isinstance(one, BaseExceptionGroup) else [one])
    return leaves


def _seconds(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text}: write seconds, more than 0")
    return value
