"""`kapok ledger`: read and verify the recorded decisions, also while `kapok up` is writing."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from scheduler.ledger.errors import LedgerCorruptError, LedgerError
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import Record
from scheduler.ledger.tables import LEDGER_FILE
from scheduler.ledger.verify import Anchor, Finding, VerificationResult, parse_anchor, verify
from scheduler.settings import data_directory

EXIT_GOOD, EXIT_NO, EXIT_USAGE = 0, 1, 2

DATA_DIR_HELP = "data directory of the hub (default: $KAPOK_DATA_HOME, else ~/.local/share/kapok)"

_DESCRIPTION = """Every decision is appended here before its order goes out. Each record holds the
hash of the one before it, so an edit, a gap or a new order is found. A cut end is found with an
anchor that was kept elsewhere, and by the hash in each workload's status.decision."""

_EPILOG = """examples:
  kapok ledger verify                   is the record still what was written? exit 1: no
  kapok ledger anchor >> /elsewhere/anchors
                                        sequence and hash of the newest record; keep them
                                        where the keeper of the ledger cannot write
  kapok ledger verify --anchor "$(tail -1 /elsewhere/anchors)"
  kapok ledger list --subject health/appointment
  kapok ledger show 7-42 -o json        one record, as it was hashed
  kapok replay 7-42                     decide again from the record, and compare"""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok ledger`."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(dest="ledger_command", metavar="COMMAND", required=True)
    for name, (purpose, add_arguments, _) in _COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument("--data-dir", metavar="DIR", help=DATA_DIR_HELP)
        command.add_argument("-o", "--output", choices=["json"], help="one JSON object on stdout")
        add_arguments(command)


def run(arguments: argparse.Namespace) -> int:
    """Runs one of verify, list, show and anchor."""
    answer = _COMMANDS[arguments.ledger_command][2]
    try:
        with LedgerReader(data_directory(arguments.data_dir) / LEDGER_FILE) as reader:
            return answer(arguments, reader)
    except LedgerCorruptError as error:
        if arguments.ledger_command == "verify":
            return _print_verdict(arguments, VerificationResult(0, Finding(1, str(error))))
        sys.stderr.write(f"kapok ledger: {error}\n")
        return EXIT_NO
    except LedgerError as error:
        sys.stderr.write(f"kapok ledger: {error}\n")
        return EXIT_USAGE


def _verify(arguments: argparse.Namespace, reader: LedgerReader) -> int:
    return _print_verdict(arguments, verify(reader, arguments.anchor))


def _print_verdict(arguments: argparse.Namespace, verdict: VerificationResult) -> int:
    bad = verdict.first_finding
    if arguments.output == "json":
        _print_json(
            {
                "records": verdict.records,
                "ok": verdict.is_ok,
                "first_bad": None if bad is None else bad.seq,
                "sentence": None if bad is None else bad.sentence,
            }
        )
    elif bad is None:
        sys.stdout.write(f"{verdict.records} records: all as they were written\n")
    else:
        sys.stdout.write(
            f"record {bad.seq} of {verdict.records} does not hold: {bad.sentence}\n"
            f"What stands before record {bad.seq} is as it was written.\n"
        )
    return EXIT_GOOD if verdict.is_ok else EXIT_NO


def _list(arguments: argparse.Namespace, reader: LedgerReader) -> int:
    records = reader.records(arguments.after, arguments.limit, subject=arguments.subject)
    if arguments.output == "json":
        _print_json({"records": [_record_as_json(record) for record in records]})
        return EXIT_GOOD
    rows: list[tuple[str, ...]] = [("ID", "AT", "KIND", "SUBJECT", "LINE")]
    rows += [(r.id, r.at, r.kind, r.subject, _line_of(r.content)) for r in records]
    _print_table(rows)
    if len(records) == arguments.limit:
        sys.stderr.write(f"more may follow: --after {records[-1].seq}\n")
    return EXIT_GOOD


def _show(arguments: argparse.Namespace, reader: LedgerReader) -> int:
    record = reader.find(arguments.id)
    if record is None:
        sys.stderr.write(f"kapok ledger: no record {arguments.id} here; see `kapok ledger list`\n")
        return EXIT_NO
    if arguments.output == "json":
        _print_json({"hash": record.hash, "record": record.fields})
    else:
        sys.stdout.write(json.dumps(record.fields, ensure_ascii=False, indent=2) + "\n")
        sys.stderr.write(f"hash {record.hash}\n")
    return EXIT_GOOD


def _anchor(arguments: argparse.Namespace, reader: LedgerReader) -> int:
    last = reader.last()
    if last is None:
        sys.stderr.write("kapok ledger: no record yet, so there is nothing to anchor\n")
        return EXIT_NO
    if arguments.output == "json":
        _print_json({"seq": last.seq, "hash": last.hash, "anchor": last.anchor})
    else:
        sys.stdout.write(last.anchor + "\n")
    return EXIT_GOOD


def _verify_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--anchor",
        action="append",
        default=[],
        type=_anchor_argument,
        metavar="SEQ:HASH",
        help="what `kapok ledger anchor` printed once; may be given several times",
    )


def _anchor_argument(text: str) -> Anchor:
    try:
        return parse_anchor(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _list_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--after", type=int, default=0, metavar="SEQ", help="start behind this one"
    )
    command.add_argument(
        "--limit", type=int, default=100, metavar="N", help="at most so many (100)"
    )
    command.add_argument("--subject", metavar="NAMESPACE/NAME", help="only about this workload")


def _show_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("id", metavar="ID", help="as in status.decision.id of a workload")


def _no_arguments(_command: argparse.ArgumentParser) -> None:
    """`anchor` has none of its own."""


_Handler = Callable[[argparse.Namespace, LedgerReader], int]
_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], _Handler]] = {
    "verify": ("is the record still what was written?", _verify_arguments, _verify),
    "list": ("the records, oldest first", _list_arguments, _list),
    "show": ("one record", _show_arguments, _show),
    "anchor": ("sequence and hash of the newest record, to keep elsewhere", _no_arguments, _anchor),
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


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def _print_json(value: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
