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

from scheduler.cli.now_option import add_now_option, now_of
from scheduler.cli.offline_input import OfflineInputError, decide_all, fleet_of, read_offline_input
from scheduler.cli.versus import UnknownSite, compare_with_site
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
from scheduler.placement.fleet.context import decision_context
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
    add_now_option(parser)
    parser.add_argument("-o", "--output", choices=["json"], help="one JSON object on stdout")


class _NothingToExplain(Exception):
    """There is nothing to explain; the message says why."""


@dataclass(frozen=True)
class _ExplainedDecision:
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
        explained = (_decide_offline if arguments.filename else _read_recorded)(arguments, key)
        answer = _explain_as_json(explained)
        if arguments.versus is not None:
            answer = compare_with_site(answer, arguments.versus, explained.demand)
    except (OfflineInputError, LedgerError, UnknownSite, _NothingToExplain) as error:
        sys.stderr.write(f"kapok explain: {error}\n")
        return EXIT_USAGE
    if arguments.output == "json":
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    else:
        _print(answer)
    return 0 if answer["phase"] == "Placed" else EXIT_NO


def _decide_offline(arguments: argparse.Namespace, key: str) -> _ExplainedDecision:
    world = read_offline_input(arguments.filename)
    fleet = fleet_of(world)
    now = now_of(arguments)
    for turn in decide_all(world, fleet, now=now):
        if turn.workload.metadata.key == key:
            return _ExplainedDecision(
                key, "", now, turn.demand, turn.decision, fleet, DEFAULT_TERMS
            )
    known = ", ".join(sorted(each.metadata.key for each in world.workloads)) or "none"
    raise _NothingToExplain(f"no workload {key}; the files hold {known}")


def _read_recorded(arguments: argparse.Namespace, key: str) -> _ExplainedDecision:
    with LedgerReader(data_directory(arguments.data_dir) / LEDGER_FILE) as reader:
        record = reader.last_about(key)
        if record is None:
            raise _NothingToExplain(
                f"nothing was decided about {key} here; see `kapok get workloads`, or name files"
            )
        if "refusal" in record.content:
            refusal = msgspec.convert(record.content["refusal"], NotAccepted)
            at = datetime.fromisoformat(record.at)
            return _ExplainedDecision(key, record.id, at, refusal, None, Fleet(), DEFAULT_TERMS)
        case = read_recorded_decision(reader, record)
    return _ExplainedDecision(
        key,
        record.id,
        case.decision.decided_at,
        case.demand,
        case.decision,
        case.fleet,
        case.terms,
    )


def _explain_as_json(explained: _ExplainedDecision) -> dict[str, Any]:
    demand, decision = explained.demand, explained.decision
    if isinstance(demand, NotAccepted) or decision is None:
        return _format_refusal(explained)
    explanation = explain(
        demand, explained.fleet, now=explained.now, terms=explained.terms, decision=decision
    )
    changes: tuple[SuggestedChange, ...] = ()
    is_kept_out = decision.phase != "Placed" and decision.start_at is None
    if is_kept_out:
        moment = decision_context(explained.now, explained.terms)
        changes = suggest_changes(demand, explained.fleet, moment)
    told = _format_explanation(explanation, changes)
    if is_kept_out and not changes:
        told["notes"].append("none of the changes that were tried would make it fit")
    return told | ({"decision": explained.record_id} if explained.record_id else {})


def _format_explanation(
    explanation: Explanation, changes: tuple[SuggestedChange, ...]
) -> dict[str, Any]:
    decision = explanation.decision
    return {
        "workload": decision.workload,
        "decision": digest_of_bytes(decision_bytes(decision)),
        "decidedAt": decision.decided_at.isoformat().replace("+00:00", "Z"),
        "line": decision.line,
        "phase": decision.phase,
        "sites": [_format_site(each) for each in explanation.sites],
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


def _format_site(site: SiteExplanation) -> dict[str, Any]:
    return {
        "name": site.name,
        "admitted": site.admitted,
        "verdicts": [
            {
                "rule": verdict.rule,
                "reason": verdict.reason,
                "passed": verdict.passed,
                "sentence": verdict.sentence,
            }
            for verdict in site.verdicts
        ],
        "room": site.room,
        "costs": [
            {
                "term": cost.term,
                "cnyPerReplicaHour": cost.cny_per_replica_hour,
                "origin": cost.origin,
                "ageSeconds": cost.age_seconds,
            }
            for cost in site.costs
        ],
        "totalCnyPerReplicaHour": site.total_cny_per_replica_hour,
        "replicas": site.replicas,
    }


def _format_refusal(explained: _ExplainedDecision) -> dict[str, Any]:
    message = explained.demand.message if isinstance(explained.demand, NotAccepted) else ""
    return {
        "workload": explained.key,
        "decision": explained.record_id,
        "decidedAt": explained.now.isoformat().replace("+00:00", "Z"),
        "line": f"not accepted: {message}",
        "phase": "Refused",
        "sites": [],
        "smallestChange": [],
        "notes": [],
    }


def _print(answer: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only when a table is drawn
    from rich.table import Table  # noqa: PLC0415 - only when a table is drawn

    console = Console(markup=False, emoji=False)  # what people wrote is shown as it is
    console.print(f"{answer['workload']}: {answer['line']}", style="bold")
    table = Table(box=None, pad_edge=False)
    for title in ("SITE", "REPLICAS", "ROOM", "CNY/REPLICA-HOUR", "WHY, OR WHY NOT"):
        table.add_column(title, overflow="fold")
    for site in answer["sites"]:
        failed = [each for each in site["verdicts"] if not each["passed"]]
        total = site["totalCnyPerReplicaHour"]
        why = "; ".join(f"{each['reason']}: {each['sentence']}" for each in failed)
        table.add_row(
            site["name"],
            str(site["replicas"]),
            str(site["room"]),
            "unknown" if total is None else f"{total:.4f}",
            why or _format_costs(site["costs"]),
        )
    console.print(table)
    if "versus" in answer:
        console.print(answer["versus"]["sentence"])
    for change in answer["smallestChange"]:
        console.print(
            f"would fit with {change['kind']} of {change['target']}: "
            f"{change['from'] or '(nothing)'} -> {change['to'] or '(nothing)'}"
        )


def _format_costs(costs: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{each['term']} "
        + ("unknown" if each["cnyPerReplicaHour"] is None else f"{each['cnyPerReplicaHour']:.4f}")
        + f" ({each['origin']})"
        for each in costs
    )
