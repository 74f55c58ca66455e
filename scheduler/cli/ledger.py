"""`kapok ledger`: lists, shows and verifies recorded decisions, also while `kapok up` writes."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    add_output_option,
    parse_instant,
)
from scheduler.cli.support.hub_access import HubNotFound
from scheduler.cli.support.ledger_access import (
    add_ledger_options,
    add_place_options,
    named_place,
    open_ledger,
)
from scheduler.cli.support.ledger_witnesses import (
    WitnessError,
    collect_witnesses,
    trusted_keys_of,
)
from scheduler.cli.support.output import (
    format_table,
    print_error,
    print_json,
    print_notice,
    print_text,
    said_rows,
)
from scheduler.control.ports.hub import HubError
from scheduler.ledger.errors import LedgerCorruptError, LedgerError
from scheduler.ledger.filter import RecordFilter
from scheduler.ledger.move import MoveRefused, move_ledger
from scheduler.ledger.reader import LedgerReader, RecordSource
from scheduler.ledger.record import Record
from scheduler.ledger.storage.places import ledger_place
from scheduler.ledger.storage.postgres_url import PostgresUrl
from scheduler.ledger.verify import Anchor, Finding, VerificationResult, parse_anchor, verify
from scheduler.runtime.data_dir import DataDirectoryError, locked_data_directory
from scheduler.settings import data_directory

_VERIFY, _MOVE = "verify", "move"
_ON_STORAGE = (_VERIFY, _MOVE)
_DESCRIPTION = """Lists, shows and verifies the ledger. Every decision is appended to it before its
orders are sent. Each record holds the hash of the record before it, and runs of records are signed
with the hub's key, so `verify` finds a record that was edited, removed or moved. An owner of the
key could write all of it again, or cut the end: that is found up to the newest record that was
witnessed elsewhere, by the sites, which hold signed heads of the ledger, by the status.decision of
each workload, or by an anchor; `verify` says which record that is."""

_EPILOG = """examples:
  kapok ledger verify                   is every record as it was written?
  kapok ledger verify --kubeconfig FILE compare with a hub that is not in the data directory
  kapok-agent --config agent.yaml --print-heads > m1.json     at a site
  kapok ledger verify --witness m1.json                       compare with what that site holds
  kapok ledger anchor >> /elsewhere/anchors
                                        sequence number and hash of the newest record; keep
                                        them where the owner of the ledger cannot write
  kapok ledger verify --anchor "$(tail -1 /elsewhere/anchors)"
  kapok ledger list --workload health/appointment
  kapok ledger list --site gz-core --since 2026-11-23T00:00:00Z
  kapok ledger list --at 2026-11-23T08:00:00Z     what was in force then
  kapok ledger list --subject evictions           what held evictions back, since when, and why
  kapok ledger list --subject drills              which drills there were, and their reports
  kapok ledger list --config scheduler.yaml       the ledger that replicas share
  kapok ledger move --config scheduler.yaml       from the file into ledger.url (stop kapok first)
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
        if name in _ON_STORAGE:  # their --kubeconfig names witnesses, or there is none
            add_place_options(command)
        else:
            add_ledger_options(command)
        add_output_option(command)
        add_arguments(command)


def run(arguments: argparse.Namespace) -> int:
    """Runs verify, list, show or anchor."""
    handle = _COMMANDS[arguments.ledger_command][2]
    try:
        if arguments.ledger_command == _MOVE:
            return _move(arguments)
        if arguments.ledger_command == _VERIFY:
            with LedgerReader(named_place(arguments)) as storage:
                return handle(arguments, storage)
        with open_ledger(arguments) as reader:
            return handle(arguments, reader)
    except LedgerCorruptError as error:
        if arguments.ledger_command == "verify":
            return _print_verdict(arguments, VerificationResult(0, Finding(1, str(error), 0)))
        print_error("ledger", error)
        return EXIT_NO
    except (HubError, HubNotFound, LedgerError) as error:
        print_error("ledger", error)
        return EXIT_USAGE


def _verify(arguments: argparse.Namespace, reader: RecordSource) -> int:
    if not isinstance(reader, LedgerReader):
        raise TypeError("verify reads the ledger's own storage")  # `run` opens no other
    data_dir = data_directory(arguments.data_dir)
    trusted = trusted_keys_of(data_dir, arguments.key)
    try:
        # Before the ledger is read: what a status names is in the ledger by then.
        witnesses = collect_witnesses(
            data_dir,
            kubeconfig=arguments.kubeconfig,
            files=arguments.witness,
            trusted=trusted,
        )
    except (HubNotFound, WitnessError) as error:
        print_error("ledger", error)
        return EXIT_USAGE
    anchors = [*arguments.anchor, *witnesses.anchors]
    verdict = verify(reader, anchors, trusted_keys=trusted)
    return _print_verdict(arguments, verdict, notes=(*verdict.notes, *witnesses.notes))


def _print_verdict(
    arguments: argparse.Namespace, verdict: VerificationResult, notes: tuple[str, ...] = ()
) -> int:
    bad, witnessed = verdict.first_finding, verdict.newest_witnessed
    if arguments.output == "json":
        print_json(
            {
                "records": verdict.records,
                "ok": verdict.is_ok,
                "first_bad": None if bad is None else bad.seq,
                "sentence": None if bad is None else bad.sentence,
                "signed": asdict(verdict.signed),
                "witnessed": None
                if witnessed is None
                else {
                    "seq": witnessed.seq,
                    "at": witnessed.at or None,
                    "witnessed_by": witnessed.witness,
                },
                "notes": notes,
            }
        )
        return EXIT_GOOD if verdict.is_ok else EXIT_NO
    if bad is None:
        print_text(f"{verdict.records} records verified, none was changed")
    else:
        intact = f"All records up to record {bad.intact_to} are as they were written."
        print_text(
            f"record {bad.seq} of {verdict.records} failed verification: {bad.sentence}\n"
            + (intact if bad.intact_to else "No record is known to be as it was written.")
        )
    for sentence in (_signed_sentence(verdict), _witness_sentence(verdict), *notes):
        print_text(sentence)
    return EXIT_GOOD if verdict.is_ok else EXIT_NO


def _signed_sentence(verdict: VerificationResult) -> str:
    signed = verdict.signed
    if not signed.segments:
        return (
            "no record is signed: the ledger began within the last minute, is of a version before"
            " segments, or was replaced"
        )
    keys = ", ".join(signed.keys)
    sentence = (
        f"records up to {signed.signed_to} are signed in {signed.segments} segments by key {keys}"
    )
    if signed.unsigned_before:
        sentence += (
            f"; records 1 to {signed.unsigned_before} were written before, without a signature"
        )
    return sentence


def _witness_sentence(verdict: VerificationResult) -> str:
    witnessed = verdict.newest_witnessed
    if witnessed is None:
        return "no record is witnessed: an owner of the hub's key could have rewritten all of them"
    at = f" at {witnessed.at}" if witnessed.at else ""
    return (
        f"a rewrite is found up to record {witnessed.seq}, witnessed by {witnessed.witness}{at};"
        f" {max(verdict.records - witnessed.seq, 0)} records follow it"
    )


def _list(arguments: argparse.Namespace, reader: RecordSource) -> int:
    wanted = RecordFilter(since=arguments.since, at=arguments.at, site=arguments.site)
    pages = partial(reader.records, subject=arguments.subject)
    records = wanted.select(pages, arguments.after, arguments.limit)
    if arguments.output == "json":
        print_json({"records": [_record_as_json(record) for record in records]})
        return EXIT_GOOD
    rows: list[tuple[str, ...]] = [("ID", "AT", "KIND", "SUBJECT", "LINE")]
    rows += [(r.id, r.at, r.kind, r.subject, _line_of(r.content)) for r in records]
    sys.stdout.writelines(format_table(said_rows(rows), gap="  "))
    if len(records) == arguments.limit:
        print_notice(f"there may be more; continue with --after {records[-1].seq}")
    return EXIT_GOOD


def _show(arguments: argparse.Namespace, reader: RecordSource) -> int:
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


def _move(arguments: argparse.Namespace) -> int:
    target = named_place(arguments)
    if not isinstance(target, PostgresUrl):
        print_error("ledger", "name the database with --ledger-url URL, or --config FILE")
        return EXIT_USAGE
    root = data_directory(arguments.data_dir)
    try:
        with locked_data_directory(root):
            last = move_ledger(ledger_place(root, None), target)
    except (DataDirectoryError, MoveRefused) as error:
        print_error("ledger", error)
        return EXIT_NO
    if arguments.output == "json":
        print_json({"records": last.seq, "hash": last.hash, "to": str(target)})
    else:
        print_text(
            f"{last.seq} records moved to {target}, each as it was; write ledger.url into the"
            " settings of every replica. The file is kept, and no longer used"
        )
    return EXIT_GOOD


def _no_handler(_arguments: argparse.Namespace, _reader: RecordSource) -> int:
    """`move` opens two ledgers by itself."""
    return EXIT_USAGE


def _anchor(arguments: argparse.Namespace, reader: RecordSource) -> int:
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
    command.add_argument(
        "--witness",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="heads printed by `kapok-agent --print-heads` at a site; may be repeated",
    )
    command.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="compare with the hub of this kubeconfig (default: the embedded hub of --data-dir)",
    )
    command.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="ed25519:BASE64",
        help="a public key of the hub, beside those in the data directory; may be repeated",
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
        "--workload",
        "--subject",
        dest="subject",
        metavar="NAMESPACE/NAME",
        help="list records about this workload only",
    )
    command.add_argument("--site", metavar="SITE", help="list what placed replicas at this site")
    command.add_argument(
        "--since", type=parse_instant, metavar="TIME", help="list records from this time on"
    )
    command.add_argument(
        "--at",
        type=parse_instant,
        metavar="TIME",
        help="list what was in force at this time: the newest record then, for each workload",
    )


def _show_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("id", metavar="ID", help="record ID; a workload's status.decision.id")


def _no_arguments(_command: argparse.ArgumentParser) -> None:
    """`anchor` and `move` have no arguments of their own."""


_Handler = Callable[[argparse.Namespace, RecordSource], int]
_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], _Handler]] = {
    "verify": ("check that no record was changed or removed", _verify_arguments, _verify),
    "list": ("list records, oldest first", _list_arguments, _list),
    "show": ("show one record", _show_arguments, _show),
    "move": ("copy the file's records into ledger.url", _no_arguments, _no_handler),
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
    decision, refusal = content.get("decision"), content.get("refusal")
    if isinstance(refusal, Mapping):
        return f"{refusal.get('reason', '')}: {refusal.get('message', '')}"
    return str((decision if isinstance(decision, Mapping) else content).get("line", ""))
