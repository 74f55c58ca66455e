"""`kapok place`: decide offline. The same code as the running scheduler, on files."""

import argparse
import json
import sys
from typing import Any

from scheduler.cli.now_option import add_now_option, now_of
from scheduler.cli.offline_input import (
    OfflineDecision,
    OfflineInputError,
    decide_all,
    fleet_of,
    read_offline_input,
)
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import NotAccepted

EXIT_NO = 1
EXIT_USAGE = 2

_EPILOG = """examples:
  kapok place -f sites.yaml -f workload.yaml
  kapok place -f city/ --now 2026-11-23T08:00:00Z -o json
  cat all.yaml | kapok place -f -

The files hold sites (with their last report in status), grants, schemes, tenants, policies and
workloads, in any order; objects of other API groups are passed over. What runs already stands in a
workload's status.placement. Without a DataClassScheme the built-in one counts. A site without a
valid SiteGrant takes nothing; a report without observedAt, or older than 300 s at --now, is stale.

Workloads are decided by priority, then age, then name, each seeing what the ones before it got.
Exit code: 0 all are placed, 1 some are not, 2 the files or the call are wrong."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok place`."""
    parser.description = "Decides where workloads run, from files, without running anything."
    parser.epilog = _EPILOG
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        required=True,
        metavar="FILE",
        help="a YAML or JSON file, a folder of them, or - for stdin; may be repeated",
    )
    add_now_option(parser)
    parser.add_argument("-o", "--output", choices=["json"], help="one JSON object on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Decides all workloads and prints the decisions."""
    now = now_of(arguments)
    try:
        world = read_offline_input(arguments.filename)
        fleet = fleet_of(world)
    except OfflineInputError as error:
        sys.stderr.write(f"kapok place: {error}\n")
        return EXIT_USAGE
    if not world.workloads:
        sys.stderr.write("kapok place: the files hold no Workload, so there is nothing to decide\n")
        return EXIT_USAGE
    rows = [decision_as_json(turn, len(fleet)) for turn in decide_all(world, fleet, now=now)]
    if arguments.output == "json":
        sys.stdout.write(json.dumps({"decisions": rows}, ensure_ascii=False) + "\n")
    else:
        _print_table(rows)
    return 0 if all(row["phase"] == "Placed" for row in rows) else EXIT_NO


def decision_as_json(decided: OfflineDecision, site_count: int) -> dict[str, Any]:
    """One decision in the form of the contract.

    Args:
        decided: the workload's turn.
        site_count: how many sites there are: each of them says no to what is not accepted.
    """
    if isinstance(decided.demand, NotAccepted) or decided.decision is None:
        return _refusal_as_json(decided, site_count)
    decision = decided.decision
    return {
        "workload": decision.workload,
        "phase": decision.phase,
        "sites": [{"name": each.site, "replicas": each.replicas} for each in decision.assignment],
        "reasons": dict(decision.reasons),
        "line": decision.line,
        "cost": {
            "cnyPerHour": decision.cost.cny_per_hour,
            "gco2PerHour": decision.cost.gco2_per_hour,
        },
        "optimal": decision.optimal,
        "gap": decision.gap,
        "lost": list(decision.lost),
        "violations": dict(decision.violations),
        "notes": list(decision.notes),
        **_planned_start(decision),
    }


def _planned_start(decision: Decision) -> dict[str, Any]:
    """When and where work that waits for a better time is planned to start."""
    if decision.start_at is None:
        return {}
    return {
        "startAt": decision.start_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "planned": [{"name": each.site, "replicas": each.replicas} for each in decision.planned],
    }


def _refusal_as_json(decided: OfflineDecision, site_count: int) -> dict[str, Any]:
    refused = decided.demand
    reason = refused.reason if isinstance(refused, NotAccepted) else "invalid"
    message = refused.message if isinstance(refused, NotAccepted) else ""
    return {
        "workload": decided.workload.metadata.key,
        "phase": "Refused",
        "sites": [],
        "reasons": {reason: max(1, site_count)},
        "line": f"not accepted: {message}",
        "cost": {"cnyPerHour": None, "gco2PerHour": None},
        "optimal": False,
        "gap": 0.0,
        "lost": [],
        "violations": {},
        "notes": [],
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only when a table is drawn
    from rich.table import Table  # noqa: PLC0415 - only when a table is drawn

    table = Table(box=None, pad_edge=False)
    for title in ("WORKLOAD", "PHASE", "CNY/H", "gCO2/H", "WHERE, OR WHY NOT"):
        table.add_column(title, overflow="fold")
    for row in rows:
        cost = row["cost"]
        table.add_row(
            row["workload"],
            row["phase"],
            _format_figure(cost["cnyPerHour"]),
            _format_figure(cost["gco2PerHour"]),
            row["line"],
        )
    Console(markup=False, emoji=False).print(table)  # what people wrote is shown as it is


def _format_figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
