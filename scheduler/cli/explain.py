"""`kapok explain`: why it runs there, why not elsewhere, and what would have to change.

Of a running hub the last recorded decision is explained: from the record and the fleet that it
stood on, so that the answer is the one of that moment. With files the decision is made here.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from scheduler.cli.now_option import add_now, now_of
from scheduler.cli.offline_input import WorldError, fleet_of, read_world, turns
from scheduler.cli.versus import NoSuchSite, versus
from scheduler.ledger.errors import LedgerError
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.replay import read_recorded_decision
from scheduler.ledger.tables import LEDGER_FILE
from scheduler.model.canonical import digest_of_bytes
from scheduler.model.decision import (
    Decision,
    Explanation,
    SiteExplanation,
    SuggestedChange,
    decision_bytes,
)
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
from scheduler.placement.explain.explain import explain
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.fleet.context import moment_of
from scheduler.placement.fleet.fleet import Fleet
from scheduler.settings import data_directory

EXIT_NO = 1
EXIT_USAGE = 2

_EPILOG = """examples:
  kapok explain health/appointment                        the last decision of the hub
  kapok explain health/appointment --versus tianfu        compare what was chosen with one site
  kapok explain health/appointment -f city/ -o json       offline, from files
  kapok explain health/appointment -f city/ --now 2026-11-23T08:00:00Z

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
    parser.add_argument("--data-dir", metavar="DIR", help="data directory of the hub")
    add_now(parser)
    parser.add_argument("-o", "--output", choices=["json"], help="one JSON object on stdout")


class _Unanswerable(Exception):
    """There is nothing to explain; the message says why."""


@dataclass(frozen=True)
class _Question:
    """A decision with what it stood on."""

    key: str
    record_id: str
    now: datetime
    demand: Demand | NotAccepted
    decision: Decision | None
    fleet: Fleet
    terms: Terms


def run(arguments: argparse.Namespace) -> int:
    """Explains one workload."""
    key = arguments.workload if "/" in arguments.workload else f"default/{arguments.workload}"
    try:
        question = (_offline if arguments.filename else _recorded)(arguments, key)
        told = _answer(question)
        if arguments.versus is not None:
            told = versus(told, arguments.versus, question.demand)
    except (WorldError, LedgerError, NoSuchSite, _Unanswerable) as error:
        sys.stderr.write(f"kapok explain: {error}\n")
        return EXIT_USAGE
    if arguments.output == "json":
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    else:
        _print(told)
    return 0 if told["phase"] == "Placed" else EXIT_NO


def _offline(arguments: argparse.Namespace, key: str) -> _Question:
    world = read_world(arguments.filename)
    fleet = fleet_of(world)
    now = now_of(arguments)
    for turn in turns(world, fleet, now=now):
        if turn.workload.metadata.key == key:
            return _Question(key, "", now, turn.demand, turn.decision, fleet, DEFAULT_TERMS)
    known = ", ".join(sorted(each.metadata.key for each in world.workloads)) or "none"
    raise _Unanswerable(f"no workload {key}; the files hold {known}")


def _recorded(arguments: argparse.Namespace, key: str) -> _Question:
    with LedgerReader(data_directory(arguments.data_dir) / LEDGER_FILE) as reader:
        record = reader.last_about(key)
        if record is None:
            raise _Unanswerable(
                f"nothing was decided about {key} here; see `kapok get workloads`, or name files"
            )
        if "refusal" in record.content:
            refusal = msgspec.convert(record.content["refusal"], NotAccepted)
            at = datetime.fromisoformat(record.at)
            return _Question(key, record.id, at, refusal, None, Fleet(), DEFAULT_TERMS)
        case = read_recorded_decision(reader, record)
    return _Question(
        key,
        record.id,
        case.decision.decided_at,
        case.demand,
        case.decision,
        case.fleet,
        case.terms,
    )


def _answer(question: _Question) -> dict[str, Any]:
    demand, decision = question.demand, question.decision
    if isinstance(demand, NotAccepted) or decision is None:
        return _not_accepted(question)
    explanation = explain(
        demand, question.fleet, now=question.now, terms=question.terms, decision=decision
    )
    changes: tuple[SuggestedChange, ...] = ()
    is_kept_out = decision.phase != "Placed" and decision.start_at is None
    if is_kept_out:
        moment = moment_of(question.now, question.terms)
        changes = suggest_changes(demand, question.fleet, moment)
    told = _told(explanation, changes)
    if is_kept_out and not changes:
        told["notes"].append("none of the changes that were tried would make it fit")
    return told | ({"decision": question.record_id} if question.record_id else {})


def _told(explanation: Explanation, changes: tuple[SuggestedChange, ...]) -> dict[str, Any]:
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


def _not_accepted(question: _Question) -> dict[str, Any]:
    message = question.demand.message if isinstance(question.demand, NotAccepted) else ""
    return {
        "workload": question.key,
        "decision": question.record_id,
        "decidedAt": question.now.isoformat().replace("+00:00", "Z"),
        "line": f"not accepted: {message}",
        "phase": "Refused",
        "sites": [],
        "smallestChange": [],
        "notes": [],
    }


def _print(told: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only when a table is drawn
    from rich.table import Table  # noqa: PLC0415 - only when a table is drawn

    console = Console(markup=False, emoji=False)  # what people wrote is shown as it is
    console.print(f"{told['workload']}: {told['line']}", style="bold")
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
    if "versus" in told:
        console.print(told["versus"]["sentence"])
    for change in told["smallestChange"]:
        console.print(
            f"would fit with {change['kind']} of {change['target']}: "
            f"{change['from'] or '(nothing)'} -> {change['to'] or '(nothing)'}"
        )


def _terms(costs: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{each['term']} "
        + ("unknown" if each["cnyPerReplicaHour"] is None else f"{each['cnyPerReplicaHour']:.4f}")
        + f" ({each['origin']})"
        for each in costs
    )
