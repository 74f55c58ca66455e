"""`kapok drill`: a site is treated as lost for a while, and what that shows of each workload."""

import argparse
import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

from scheduler.cli.asking.question import answer_question, run_question
from scheduler.cli.moving.drill_words import (
    DrillNotBegun,
    DrillTalk,
    Report,
    as_running_report,
)
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_INTERRUPTED,
    EXIT_NO,
    EXIT_USAGE,
    add_now_option,
    add_output_option,
    parse_name,
)
from scheduler.cli.support.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.cli.support.ledger_access import add_ledger_options, open_ledger
from scheduler.cli.support.output import (
    print_error,
    print_json,
    print_notice,
    print_sentences,
    print_table,
)
from scheduler.cli.support.signals import leaf_errors, run_until_signalled
from scheduler.cli.support.web_access import add_server_option
from scheduler.control.drills.drill_word import MAX_WHY_CHARACTERS
from scheduler.control.ports.hub import HubError
from scheduler.hub.client import open_hub
from scheduler.ledger.errors import LedgerError
from scheduler.ledger.reader import RecordSource
from scheduler.ledger.record import DRILL_SUBJECT
from scheduler.model.drills.drill import DEFAULT_DRILL_SECONDS, MAX_DRILL_SECONDS
from scheduler.whatif.questions import DrillQuestion
from scheduler.whatif.survival.drill import ask_drill

_DESCRIPTION = """Practises the loss of a site. With --dry-run nothing happens: the engine says what
would go where, and when. Without it the site is treated as lost for a while: the scheduler takes
in nothing that the site sends, and sends nothing there, so the site falls silent and failover
replaces what its rules allow. What runs at the site runs on; work that was replaced then runs
twice until the site has its orders again. Detection, order and ready times are measured
against spec.recovery of each workload, and the report is kept in the ledger."""

_EPILOG = """examples:
  kapok drill lose gz-edge --dry-run        what would go where, and when it would be ordered
  kapok drill lose gz-edge --for 10m        the site is treated as lost for ten minutes
  kapok drill end                           ends the drill that runs; Ctrl-C of lose does too
  kapok drill show                          the drill that runs, else the last report
  kapok drill show 7-42                     a report in the ledger, by its record or its drill
  kapok ledger list --subject drills        all drills

A drill ends when its time is over, also when the command or the scheduler is killed. It is refused
for a site that does not report, in a freeze, while another one runs, and for a Site with the label
kapok.dev/runs-hub, where the hub, its broker or a scheduler runs.
Exit code: 0 all that ran there is ready elsewhere in its recovery time, 1 not all is, it was
refused, or no scheduler leads, 2 wrong usage, 130 ended by Ctrl-C."""

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_ROWS = 40
_PAGE = 200


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok drill`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    commands = parser.add_subparsers(dest="drill_command", metavar="COMMAND", required=True)
    lose = commands.add_parser("lose", help="treat a site as lost for a while")
    lose.add_argument("site", type=parse_name, metavar="SITE", help="the site")
    lose.add_argument(
        "--for",
        dest="seconds",
        type=parse_length,
        default=DEFAULT_DRILL_SECONDS,
        metavar="TIME",
        help="how long, as 90s, 5m or 2h (default: 5m)",
    )
    lose.add_argument("--why", default="", metavar="TEXT", help="the reason, for people")
    lose.add_argument(
        "--dry-run", action="store_true", help="say what would happen, and do nothing"
    )
    lose.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE",
        help="with --dry-run: the files of a fleet, such as those of kapok demo --export",
    )
    add_now_option(lose)
    add_hub_arguments(lose)
    add_server_option(lose)
    end = commands.add_parser("end", help="end the drill that runs")
    add_hub_arguments(end)
    show = commands.add_parser("show", help="show the drill that runs, or a report")
    show.add_argument("id", nargs="?", default="", metavar="ID", help="of a record or a drill")
    add_ledger_options(show)
    for one in (lose, end, show):
        add_output_option(one)


def parse_length(text: str) -> float:
    """A length of time such as 90s, 5m or 2h, in seconds.

    Raises:
        argparse.ArgumentTypeError: it is none, or out of bounds.
    """
    found = re.fullmatch(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)([smh]?)", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= MAX_DRILL_SECONDS:
        raise argparse.ArgumentTypeError(
            f"invalid duration {text[:40]!r}: write 90s, 5m or 2h, at most "
            f"{MAX_DRILL_SECONDS / 3600:g}h"
        )
    return seconds


def run(arguments: argparse.Namespace) -> int:
    """Runs lose, end or show."""
    if arguments.drill_command == "lose":
        if arguments.dry_run:
            return run_question("drill", lambda: _dry_run(arguments))
        if wrong := _wrong_usage(arguments):
            print_error("drill", wrong)
            return EXIT_USAGE
    return _answered(arguments)


def _wrong_usage(arguments: argparse.Namespace) -> str:
    if arguments.filename or arguments.now or arguments.server:
        return "-f, --now and --server belong to --dry-run"
    if len(arguments.why) > MAX_WHY_CHARACTERS:
        return f"--why: write at most {MAX_WHY_CHARACTERS} characters"
    return ""


def _answered(arguments: argparse.Namespace) -> int:
    try:
        return _show(arguments) if arguments.drill_command == "show" else _talk(arguments)
    except DrillNotBegun as error:
        print_error("drill", error)
        return EXIT_USAGE if error.is_usage else EXIT_NO
    except (HubNotFound, LedgerError) as error:
        print_error("drill", error)
        return EXIT_USAGE
    except HubError as error:
        print_error("drill", error)
        return EXIT_NO


# ---------------------------------------------------------------- what would happen


def _dry_run(arguments: argparse.Namespace) -> int:
    site, seconds = arguments.site, arguments.seconds
    answer = answer_question(
        "drill",
        arguments,
        arguments.filename,
        DrillQuestion(site=site, seconds=seconds),
        lambda copy, progress: ask_drill(copy, site, seconds, progress),
    )
    _print(arguments, answer)
    return _exit_code(answer)


# ---------------------------------------------------------------- what happens


def _talk(arguments: argparse.Namespace) -> int:
    """Says a word and follows it; the report is printed also when Ctrl-C ends the drill."""
    kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    kept: list[Report | None] = []

    async def talk() -> Report:
        async with open_hub(kubeconfig) as client:
            conversation = DrillTalk(client=client, show=print_notice)
            try:
                if arguments.drill_command == "end":
                    return await conversation.end()
                return await conversation.lose(arguments.site, arguments.seconds, arguments.why)
            finally:
                kept.append(conversation.report)

    try:
        report = asyncio.run(run_until_signalled(talk(), name="drill"))
    except BaseExceptionGroup as group:
        raise leaf_errors(group)[0] from None
    if report is not None:
        _print(arguments, report)
        return _exit_code(report)
    if kept and kept[0] is not None:
        _print(arguments, kept[0])
    return EXIT_INTERRUPTED


# ---------------------------------------------------------------- what happened


def _show(arguments: argparse.Namespace) -> int:
    report = None if arguments.id else _of_hub(arguments)
    if report is None:
        with open_ledger(arguments) as reader:
            report = _recorded(reader, arguments.id)
    if report is None:
        what = f"no report of a drill {arguments.id}" if arguments.id else "no drill was made yet"
        print_error("drill", f"{what}; kapok ledger list --subject drills lists all")
        return EXIT_NO
    _print(arguments, report)
    return _exit_code(report)


def _of_hub(arguments: argparse.Namespace) -> Report | None:
    """What the leader says of drills; None: no hub answers, and the ledger is read."""

    async def ask() -> Report | None:
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
        async with open_hub(kubeconfig) as client:
            state, _ = await DrillTalk(client=client, show=print_notice).state()
            return as_running_report(state.running) if state.running else state.last

    try:
        return asyncio.run(ask())
    except (HubError, HubNotFound):
        return None


def _recorded(reader: RecordSource, wanted: str) -> Report | None:
    """The newest report in the ledger, or the one of a record or a drill."""
    found: Report | None = None
    after = 0
    while page := reader.records(after, _PAGE, subject=DRILL_SUBJECT):
        for record in page:
            content = record.content
            if content.get("phase") != "ended":
                continue
            if not wanted or wanted in (record.id, content.get("id")):
                found = dict(content)
        after = page[-1].seq
    return found


# ---------------------------------------------------------------- output


def _exit_code(report: Mapping[str, Any]) -> int:
    """Whether all is ready elsewhere in time; of a drill that runs or would run: no "no" yet."""
    rto = report.get("rto") or {}
    late = any(one.get("readySeconds") is None for one in report.get("moves", ()))
    is_over = report.get("endedAt") is not None
    is_bad = bool(report.get("stuck")) or bool(rto.get("missed")) or (is_over and late)
    return EXIT_NO if is_bad else EXIT_GOOD


def _print(arguments: argparse.Namespace, report: Report) -> None:
    if arguments.output == "json":
        print_json(report)
        return
    moves = report.get("moves") or []
    if moves:
        rows: list[tuple[str, ...]] = [
            ("WORKLOAD", "REPLICAS", "TO", "ORDERED", "READY", "RTO", "RECOVERY")
        ]
        rows += [_row_of(one) for one in moves[:_MAX_ROWS]]
        print_table(rows)
        if len(moves) > _MAX_ROWS:
            print_sentences(f"and {len(moves) - _MAX_ROWS} more; -o json lists all")
    for one in (report.get("stuck") or [])[:_MAX_ROWS]:
        print_sentences(f"{one['workload']} stays: {one['reason']}")
    for one in (report.get("kept") or [])[:_MAX_ROWS]:
        print_sentences(f"{one['workload']} needs no other place: {one['reason']}")
    print_sentences(str(report.get("line", "")))
    for note in report.get("notes") or ():
        print_sentences(f"note: {note}")


def _row_of(one: Mapping[str, Any]) -> tuple[str, ...]:
    rto = one.get("rtoSeconds")
    return (
        str(one["workload"]),
        str(one["replicas"]),
        ", ".join(one["to"]),
        _seconds(one.get("orderSeconds")),
        _seconds(one.get("readySeconds")),
        "-" if rto is None else f"{rto:g} s",
        one.get("rto") or "-",
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
