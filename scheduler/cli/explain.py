"""`kapok explain`: why it runs there, why not elsewhere, and what would have to change."""

import argparse
import json
import sys
from typing import Any

from scheduler.cli.ledger import DATA_DIR_HELP
from scheduler.cli.moments import add_now, now_of
from scheduler.cli.world import Turn, WorldError, fleet_of, read_world, turns
from scheduler.ledger.errors import LedgerError
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import Record
from scheduler.ledger.replay import recorded_case
from scheduler.ledger.tables import LEDGER_FILE
from scheduler.model.canonical import digest_of_bytes
from scheduler.model.decision import Change, Explanation, SiteExplanation, decision_bytes
from scheduler.model.demand import NotAccepted
from scheduler.model.terms import DEFAULT_TERMS
from scheduler.placement import Fleet, explain
from scheduler.placement.moment import moment_of
from scheduler.placement.smallest import smallest_changes
from scheduler.settings import data_directory

EXIT_NO = 1
EXIT_USAGE = 2

_EPILOG = """examples:
  kapok explain health/appointment                   the last decision of the hub, from its record
  kapok explain health/appointment --decision 7-42   an earlier one
  kapok explain health/appointment --versus tianfu
  kapok explain health/appointment -f city/          offline, from files
  kapok explain health/appointment -f city/ --now 2026-11-23T08:00:00Z -o json

For every site: each rule's verdict with its sentence, how many more replicas fit there, and each
cost with its origin and age. For a workload that is not placed: the smallest changes that would
make it fit, each verified by running the decision with it.
Exit code: 0 it is placed, 1 it is not, 2 the call is wrong."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok explain`."""
    parser.description = "Explains where a workload runs, and why not elsewhere."
    parser.epilog = _EPILOG
    parser.add_argument("workload", metavar="NAMESPACE/NAME", help="the workload")
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE",
        help="explain offline, from files as `kapok place` takes them",
    )
    parser.add_argument("--versus", metavar="SITE", help="compare what was chosen with one site")
    parser.add_argument("--decision", metavar="ID", help="a recorded decision; default: the last")
    parser.add_argument("--data-dir", metavar="DIR", help=DATA_DIR_HELP)
    add_now(parser)
    parser.add_argument("-o", "--output", choices=["json"], help="one JSON object on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Explains one workload."""
    if not arguments.filename:
        return _from_record(arguments)
    try:
        world = read_world(arguments.filename)
        fleet = fleet_of(world)
    except WorldError as error:
        return _wrong(str(error))
    key = _key(arguments)
    now = now_of(arguments)
    for turn in turns(world, fleet, now=now):
        if turn.workload.metadata.key == key:
            return _explain(arguments, turn, fleet, now)
    known = ", ".join(sorted(each.metadata.key for each in world.workloads)) or "none"
    return _wrong(f"no workload {key}; the files hold {known}")


def _key(arguments: argparse.Namespace) -> str:
    named: str = arguments.workload
    return named if "/" in named else f"default/{named}"


def _from_record(arguments: argparse.Namespace) -> int:
    """Explains a decision of the hub, by deciding again on what its record holds."""
    key = _key(arguments)
    try:
        with LedgerReader(data_directory(arguments.data_dir) / LEDGER_FILE) as reader:
            record = reader.last_about(key)
            if arguments.decision:
                record = reader.find(arguments.decision)
            if record is None or record.subject != key:
                what = arguments.decision or "any decision"
                return _wrong(
                    f"no record of {what} about {key}; see `kapok ledger list --subject {key}`, "
                    "or explain offline with -f FILE"
                )
            told, is_placed = _recorded(reader, record)
    except LedgerError as error:
        return _wrong(str(error))
    return _say(arguments, told, is_placed=is_placed)


def _recorded(reader: LedgerReader, record: Record) -> tuple[dict[str, Any], bool]:
    if "decision" not in record.content:
        refusal = record.content.get("refusal") or {}
        told = _no(record.subject, record.at, str(refusal.get("message", "")))
        return told | {"decision": record.id}, False
    case = recorded_case(reader, record)
    now = case.decision.decided_at
    explanation = explain(
        case.demand, case.fleet, now=now, terms=case.terms, decision=case.decision
    )
    is_placed = case.decision.phase == "Placed"
    changes: tuple[Change, ...] = ()
    if not is_placed:
        changes = smallest_changes(case.demand, case.fleet, moment_of(now, case.terms))
    return _told(explanation, changes) | {"decision": record.id}, is_placed


def _explain(arguments: argparse.Namespace, turn: Turn, fleet: Fleet, now: Any) -> int:  # noqa: ANN401
    if isinstance(turn.demand, NotAccepted) or turn.decision is None:
        told = _not_accepted(turn, now.isoformat())
    else:
        explanation = explain(turn.demand, fleet, now=now, decision=turn.decision)
        changes: tuple[Change, ...] = ()
        if turn.decision.phase != "Placed":
            changes = smallest_changes(turn.demand, fleet, moment_of(now, DEFAULT_TERMS))
        told = _told(explanation, changes)
    is_placed = turn.decision is not None and turn.decision.phase == "Placed"
    return _say(arguments, told, is_placed=is_placed)


def _say(arguments: argparse.Namespace, told: dict[str, Any], *, is_placed: bool) -> int:
    """Prints an explanation; the exit code says whether the workload is placed."""
    known = sorted(each["name"] for each in told["sites"])
    if arguments.versus:
        told["sites"] = [
            each for each in told["sites"] if each["name"] == arguments.versus or each["replicas"]
        ]
        if not any(each["name"] == arguments.versus for each in told["sites"]):
            return _wrong(f"no site {arguments.versus}; there are {', '.join(known)}")
    if arguments.output == "json":
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    else:
        _print(told)
    return 0 if is_placed else EXIT_NO


def _wrong(message: str) -> int:
    sys.stderr.write(f"kapok explain: {message}\n")
    return EXIT_USAGE


def _told(explanation: Explanation, changes: tuple[Change, ...]) -> dict[str, Any]:
    decision = explanation.decision
    return {
        "workload": decision.workload,
        "decision": digest_of_bytes(decision_bytes(decision)),
        "decidedAt": decision.decided_at.isoformat().replace("+00:00", "Z"),
        "line": decision.line,
        "phase": decision.phase,
        "sites": [_site(each) for each in explanation.sites],
        "smallestChange": [
            {
                "kind": each.kind,
                "target": each.target,
                "from": each.from_,
                "to": each.to,
                "verified": each.verified,
            }
            for each in changes
        ],
        "notes": list(decision.notes),
    }


def _site(each: SiteExplanation) -> dict[str, Any]:
    return {
        "name": each.name,
        "admitted": each.admitted,
        "verdicts": [
            {
                "rule": verdict.rule,
                "reason": verdict.reason,
                "passed": verdict.passed,
                "sentence": verdict.sentence,
            }
            for verdict in each.verdicts
        ],
        "room": each.room,
        "costs": [
            {
                "term": cost.term,
                "cnyPerReplicaHour": cost.cny_per_replica_hour,
                "origin": cost.origin,
                "ageSeconds": cost.age_seconds,
            }
            for cost in each.costs
        ],
        "totalCnyPerReplicaHour": each.total_cny_per_replica_hour,
        "replicas": each.replicas,
    }


def _not_accepted(turn: Turn, decided_at: str) -> dict[str, Any]:
    message = turn.demand.message if isinstance(turn.demand, NotAccepted) else ""
    return _no(turn.workload.metadata.key, decided_at, message)


def _no(key: str, decided_at: str, message: str) -> dict[str, Any]:
    return {
        "workload": key,
        "decision": "",
        "decidedAt": decided_at.replace("+00:00", "Z"),
        "line": f"not accepted: {message}",
        "phase": "Refused",
        "sites": [],
        "smallestChange": [],
        "notes": [],
    }


def _print(told: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only when a table is drawn
    from rich.table import Table  # noqa: PLC0415 - only when a table is drawn

    console = Console()
    console.print(f"[bold]{told['workload']}[/bold]: {told['line']}")
    table = Table(box=None, pad_edge=False)
    for title in ("SITE", "REPLICAS", "ROOM", "CNY/REPLICA-HOUR", "WHY, OR WHY NOT"):
        table.add_column(title, overflow="fold")
    for site in told["sites"]:
        failed = [each for each in site["verdicts"] if not each["passed"]]
        total = site["totalCnyPerReplicaHour"]
        why = "; ".join(f"{each['reason']}: {each['sentence']}" for each in failed)
        table.add_row(
            site["name"],
            str(site["replicas"]),
            str(site["room"]),
            "unknown" if total is None else f"{total:.4f}",
            why or _terms(site["costs"]),
        )
    console.print(table)
    for change in told["smallestChange"]:
        console.print(
            f"would fit with {change['kind']} of {change['target']}: "
            f"{change['from'] or '(nothing)'} -> {change['to']}"
        )


def _terms(costs: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{each['term']} "
        + ("unknown" if each["cnyPerReplicaHour"] is None else f"{each['cnyPerReplicaHour']:.4f}")
        + f" ({each['origin']})"
        for each in costs
    )
