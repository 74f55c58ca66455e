"""`kapok history NS/NAME`: what was decided about a workload, what moved, and why."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scheduler.cli.seeing.forms import CSV_HELP, Row, ShownColumn, add_form_option, print_listed
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    parse_instant,
    parse_workload_key,
)
from scheduler.cli.support.hub_access import HubNotFound
from scheduler.cli.support.ledger_access import add_ledger_options, open_ledger
from scheduler.cli.support.output import print_error, print_notice
from scheduler.control.ports.hub import HubError
from scheduler.inquiry.timeline import read_records, timeline
from scheduler.ledger.errors import LedgerError

MAX_RECORDS = 100_000
"""The most records that are read of one workload."""
_DEFAULT_LIMIT = 50
_SHOWN_SITES = 6
_EPILOG = f"""examples:
  kapok history health/appointment                 the last {_DEFAULT_LIMIT} changes, oldest first
  kapok history health/appointment --all           also decisions that changed nothing
  kapok history health/appointment --since 2026-11-23T08:00:00Z
  kapok history health/appointment --kubeconfig F  over the network, with the rights of F
  kapok history health/appointment -o csv > history.csv

events: Placed, Scaled, Moved (to other sites), FailedOver (replaced, as a site was silent, drained
or not ready), Ended (at once: site gone, taint, the authority), Kept (decided again, nothing
changed), Planned (starts later), Waiting, Refused, NotAccepted (the spec), NotCarriedOut (without
effect), Deleted

Without --kubeconfig the ledger of --data-dir is read, and no scheduler has to run.
{CSV_HELP}
Exit code: 0 there is history, 1 the ledger has none of it, 2 wrong usage or no ledger."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok history`."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "workload",
        metavar="NAMESPACE/NAME",
        type=parse_workload_key,
        help="the workload; NAME alone is default/NAME",
    )
    parser.add_argument("--all", action="store_true", help="also decisions that changed nothing")
    parser.add_argument(
        "--since", type=parse_instant, metavar="TIME", help="only what happened from this time on"
    )
    parser.add_argument(
        "--limit",
        type=_parse_limit,
        default=_DEFAULT_LIMIT,
        metavar="N",
        help="the newest N (default: %(default)s; 0: all)",
    )
    add_ledger_options(parser)
    add_form_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the history of one workload."""
    subject = "/".join(arguments.workload)
    try:
        with open_ledger(arguments) as ledger:
            records, is_cut = read_records(ledger, subject, MAX_RECORDS)
    except (HubError, HubNotFound, LedgerError) as error:
        print_error("history", error)
        return EXIT_USAGE
    if not records:
        print_error(
            "history",
            f"the ledger holds no record about {subject}; `kapok get kw` lists the workloads",
        )
        return EXIT_NO
    entries = [one for one in timeline(records) if _is_since(one, arguments.since)]
    _print(arguments, subject, entries, is_cut=is_cut)
    return EXIT_GOOD


def _print(
    arguments: argparse.Namespace, subject: str, entries: Sequence[Row], *, is_cut: bool
) -> None:
    changes = [one for one in entries if arguments.all or one["event"] != "Kept"]
    shown = changes[-arguments.limit :] if arguments.limit else changes
    answer = {
        "workload": subject,
        "entries": shown,
        "kept": len(entries) - len(changes),
        "leftOut": len(changes) - len(shown),
    }
    print_listed(
        arguments.output, answer, shown, _COLUMNS, name_of=lambda row: str(row["id"]), fixed=2
    )
    if arguments.output in (None, "wide"):
        _print_notices(answer, is_cut=is_cut)


def _print_notices(answer: Mapping[str, Any], *, is_cut: bool) -> None:
    if answer["kept"]:
        print_notice(
            f"{answer['kept']} decisions that changed nothing are left out; --all has them"
        )
    if answer["leftOut"]:
        print_notice(f"{answer['leftOut']} older entries are left out; --limit 0 has them")
    if is_cut:
        print_notice(f"only the first {MAX_RECORDS} records were read; --since does not go further")


def _is_since(entry: Row, since: Any) -> bool:  # noqa: ANN401 - an instant or None
    return since is None or parse_instant(str(entry["at"])) >= since


def _parse_limit(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:  # noqa: PLR2004 - digits
        raise argparse.ArgumentTypeError(f"invalid number {text!r}: expected 0 or more")
    return int(text)


def _reasons(row: Row) -> str:
    return ", ".join(f"{count} {slug}" for slug, count in row["reasons"].items())


def format_shares(shares: Sequence[Mapping[str, Any]] | None) -> str:
    """Sites and replicas for people: `m1 (2), m2 (1)`."""
    listed = [f"{one['name']} ({one['replicas']})" for one in shares or ()]
    more = len(listed) - _SHOWN_SITES
    return ", ".join(listed[:_SHOWN_SITES] + ([f"{more} more"] if more > 0 else []))


def format_at(text: object) -> str:
    """An instant for people, to the second: `2026-11-24 12:00:00Z`."""
    instant = str(text)
    zone = "Z" if instant.endswith(("+00:00", "Z")) else instant[-6:]
    return instant[:19].replace("T", " ") + zone


_COLUMNS = (
    ShownColumn("AT", lambda row: row["at"], format_at),
    ShownColumn("EVENT", lambda row: row["event"]),
    ShownColumn("FROM", lambda row: format_shares(row.get("from"))),
    ShownColumn("TO", lambda row: format_shares(row.get("to"))),
    ShownColumn("REPLICAS", lambda row: row.get("replicas")),
    ShownColumn("LINE", lambda row: row["line"]),
    ShownColumn("ID", lambda row: row["id"], is_wide=True),
    ShownColumn("PHASE", lambda row: row["phase"], is_wide=True),
    ShownColumn("SITES", lambda row: format_shares(row.get("sites")), is_wide=True),
    ShownColumn("REASONS", _reasons, is_wide=True),
)
