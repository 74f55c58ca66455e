"""`kapok ledger`: lists, shows and verifies recorded decisions, also while `kapok up` writes."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    add_data_dir_option,
    add_output_option,
)
from scheduler.cli.support.output import format_table, print_error, print_json, print_text
from scheduler.ledger.errors import LedgerCorruptError, LedgerError
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import Record
from scheduler.ledger.tables import LEDGER_FILE
from scheduler.ledger.verify import Anchor, Finding, VerificationResult, parse_anchor, verify
from scheduler.settings import data_directory

_DESCRIPTION = """Lists, shows and verifies the ledger. Every decision is appended to it before its
orders are sent. Each record holds the hash of the record before it, so `verify` finds a record that
was edited, removed or moved. Records cut off at the end are found with an anchor that was kept
elsewhere, or with the hash in each workload's status.decision."""

_EPILOG = """examples:
  kapok ledger verify                   is every record as it was written?
  kapok ledger anchor >> /elsewhere/anchors
                                        sequence number and hash of the newest record; keep
                                        them where the owner of the ledger cannot write
  kapok ledger verify --anchor "$(tail -1 /elsewhere/anchors)"
  kapok ledger list --subject health/appointment
  kapok ledger show 7-42 -o json        one record, as it was hashed
  kapok replay 7-42                     repeat the decision from the record, and compare

Exit code: 0 success, 1 verification failed or record not found, 2 wrong usage or no ledger."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok ledger`."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(dest="ledger_command", metavar="COMMAND", required=True)
    for name, (purpose, add_arguments, _) in _COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        add_data_dir_option(command)
        add_output_option(command)
        add_arguments(command)


def run(arguments: argparse.Namespace) -> int:
    """Runs verify, list, show or anchor."""
    handle = _COMMANDS[arguments.ledger_command][2]
    try:
        with LedgerReader(data_directory(arguments.data_dir) / LEDGER_FILE) as reader:
            return handle(arguments, reader)
    except LedgerCorruptError as error:
        if arguments.ledger_command == "verify":
            return _print_verdict(arguments, VerificationResult(0, Finding(1, str(error))))
        print_error("ledger", error)
        return EXIT_NO
    except LedgerError as error:
        print_error("ledger", error)
        return EXIT_USAGE


def _verify(arguments: argparse.Namespace, reader: LedgerReader) -> int:
    return _print_verdict(arguments, verify(reader, arguments.anchor))


def _print_verdict(arguments: argparse.Namespace, verdict: VerificationResult) -> int:
    bad = verdict.first_finding
    if arguments.output == "json":
        print_json(
            {
                "records": verdict.records,
                "ok": verdict.is_ok,
                "first_bad": None if bad is None else bad.seq,
                "sentence": None if bad is None else bad.sentence,
            }
        )
    elif bad is None:
        print_text(f"{verdict.records} records verified, none was changed")
    else:
        print_text(
            f"record {bad.seq} of {verdict.records} failed verification: {bad.sentence}\n"
            f"All records before record {bad.seq} are as they were written."
        )
    return EXIT_GOOD if verdict.is_ok else EXIT_NO


def _list(arguments: argparse.Namespace, reader: LedgerReader) -> int:
    records = reader.records(arguments.after, arguments.limit, subject=arguments.subject)
    if arguments.output == "json":
        print_json({"records": [_record_as_json(record) for record in records]})
        return EXIT_GOOD
    rows: list[tuple[str, ...]] = [("ID", "AT", "KIND", "SUBJECT", "LINE")]
    rows += [(r.id, r.at, r.kind, r.subject, _line_of(r.content)) for r in records]
    sys.stdout.writelines(format_table(rows, gap="  "))
    if len(records) == arguments.limit:
        sys.stderr.write(f"there may be more; continue with --after {records[-1].seq}\n")
    return EXIT_GOOD


def _show(arguments: argparse.Namespace, reader: LedgerReader) -> int:
    record = reader.find(arguments.id)
    if record is None:
        print_error(
            "ledger", f"record {arguments.id} not found; `kapok ledger list` lists all records"
        )
        return EXIT_NO
    if arguments.output == "json":
        print_json({"hash": record.hash, "record": record.fields})
    else:
        print_text(json.dumps(record.fields, ensure_ascii=False, indent=2))
        sys.stderr.write(f"hash {record.hash}\n")
    return EXIT_GOOD


def _anchor(arguments: argparse.Namespace, reader: LedgerReader) -> int:
    last = reader.last()
    if last is None:
        print_error("ledger", "the ledger has no record yet, so there is nothing to anchor")
        return EXIT_NO
    if arguments.output == "json":
        print_json({"seq": last.seq, "hash": last.hash, "anchor": last.anchor})
    else:
        print_text(last.anchor)
    return EXIT_GOOD


def _verify_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--anchor",
        action="append",
        default=[],
        type=_anchor_argument,
        metavar="SEQ:HASH",
        help="an anchor printed by `kapok ledger anchor` earlier; may be repeated",
    )


def _anchor_argument(text: str) -> Anchor:
    try:
        return parse_anchor(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _list_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--after",
        type=int,
        default=0,
        metavar="SEQ",
        help="list records with a higher sequence number (default: all)",
    )
    command.add_argument(
        "--limit",
        type=int,
        default=100,
        metavar="N",
        help="list at most N records (default: %(default)s)",
    )
    command.add_argument(
        "--subject", metavar="NAMESPACE/NAME", help="list records about this workload only"
    )


def _show_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("id", metavar="ID", help="record ID; a workload's status.decision.id")


def _no_arguments(_command: argparse.ArgumentParser) -> None:
    """`anchor` has no arguments of its own."""


_Handler = Callable[[argparse.Namespace, LedgerReader], int]
_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], _Handler]] = {
    "verify": ("check that no record was changed or removed", _verify_arguments, _verify),
    "list": ("list records, oldest first", _list_arguments, _list),
    "show": ("show one record", _show_arguments, _show),
    "anchor": ("print sequence number and hash of the newest record", _no_arguments, _anchor),
}


def _record_as_json(record: Record) -> dict[str, str | int]:
    return {
        "seq": record.seq,
        "id": record.id,
        "hash": record.hash,
        "at": record.at,
        "kind": record.kind,
        "subject": record.subject,
        "line": _line_of(record.content),
    }


def _line_of(content: Mapping[str, Any]) -> str:
    decision = content.get("decision")
    return str(decision.get("line", "")) if isinstance(decision, Mapping) else ""
