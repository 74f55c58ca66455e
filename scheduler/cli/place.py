"""`kapok place`: decides offline, from files, with the code of the running scheduler."""

import argparse
from typing import Any

from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    add_now_option,
    add_output_option,
    now_of,
)
from scheduler.cli.support.offline_input import (
    NO_TENANT_SENTENCE,
    OfflineDecision,
    OfflineInputError,
    decide_all,
    fleet_of,
    read_offline_input,
)
from scheduler.cli.support.output import print_error, print_json, print_sentences
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.ordinals import format_ordinals, ordinals_after
from scheduler.model.formatters import format_list, format_replicas, format_rfc3339
from scheduler.model.reasons import REASONS
from scheduler.runtime.printable import printable
from scheduler.words.catalogue import reader_catalogue, sentence_json

_EPILOG = """examples:
  kapok place -f sites.yaml -f workload.yaml
  kapok place -f city/ --now 2026-11-23T08:00:00Z -o json
  cat all.yaml | kapok place -f -

The files hold Sites (with their last report in status), SiteGrants, DataClassSchemes, Tenants,
policies and Workloads, in any order; objects of other API groups are ignored. A workload that
already runs says where in status.placement. Without a DataClassScheme the built-in one applies.
A site without a valid SiteGrant receives no workload. A report without observedAt, or older than
300 s at --now, is stale, and its site receives no new replicas.
Files without any Tenant are decided without tenancy, and the answer carries the note no-tenant;
with one Tenant or more, a namespace that no Tenant lists is refused, as on a hub.

Workloads are decided one after the other, by priority, then age, then name; each sees the capacity
that the ones before it left.
Exit code: 0 all workloads are placed, 1 some are not, 2 wrong usage or unreadable files."""


_MAX_NAMED_SITES = 8


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok place`."""
    parser.description = "Decides from files where workloads would run, without starting anything."
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
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Decides all workloads and prints the decisions."""
    now = now_of(arguments)
    try:
        inputs = read_offline_input(arguments.filename)
        fleet = fleet_of(inputs)
    except OfflineInputError as error:
        print_error("place", error)
        return EXIT_USAGE
    if not inputs.workloads:
        print_error("place", "the files hold no Workload, so there is nothing to decide")
        return EXIT_USAGE
    rows = [decision_as_json(each, len(fleet)) for each in decide_all(inputs, fleet, now=now)]
    for row in rows:
        row["notes"] += inputs.notes
        row["noteMessages"] = [sentence_json(note) for note in row["notes"]]
    if arguments.output == "json":
        print_json({"decisions": rows, "notes": list(inputs.notes)})
    else:
        _print_table(rows)
        if not inputs.has_tenancy:
            print_sentences(NO_TENANT_SENTENCE)
    return EXIT_GOOD if all(row["phase"] == "Placed" for row in rows) else EXIT_NO


def decision_as_json(decided: OfflineDecision, site_count: int) -> dict[str, Any]:
    """One decision, in the JSON form of `kapok place -o json`.

    Args:
        decided: the workload and its decision.
        site_count: sites of the fleet; all of them count as refusing a workload not accepted.
    """
    if isinstance(decided.demand, NotAccepted) or decided.decision is None:
        return _refusal_as_json(decided, site_count)
    decision = decided.decision
    return {
        "workload": decision.workload,
        "phase": decision.phase,
        "sites": _sites_of(decision, decided.demand),
        "reasons": dict(decision.reasons),
        "line": decision.line,
        "cost": {
            "cnyPerHour": decision.cost.cny_per_hour,
            "gco2PerHour": decision.cost.gco2_per_hour,
        },
        "optimal": decision.optimal,
        "gap": decision.gap if decision.phase == "Placed" else None,
        "lost": list(decision.lost),
        "violations": [
            *(
                {
                    "rule": reason,
                    "site": site,
                    "sentence": f"what runs at {site}: {REASONS[reason]}",
                }
                for site, reason in decision.violations.items()
            ),
            *({"rule": each.rule, "sentence": each.sentence} for each in decision.unmet),
        ],
        "notes": list(decision.notes),
        **_planned_start(decision),
    }


def _sites_of(decision: Decision, demand: Demand) -> list[dict[str, Any]]:
    sites: list[dict[str, Any]] = [
        {"name": each.site, "replicas": each.replicas} for each in decision.assignment
    ]
    if demand.identity == "Ranges":
        ranges = ordinals_after(demand, {each["name"]: each["replicas"] for each in sites})
        for each in sites:
            each["ordinals"] = format_ordinals(*ranges[each["name"]])
    return sites


def _planned_start(decision: Decision) -> dict[str, Any]:
    """When and where a workload that waits for a better time is planned to start."""
    if decision.start_at is None:
        return {}
    return {
        "startAt": format_rfc3339(decision.start_at),
        "planned": [{"name": each.site, "replicas": each.replicas} for each in decision.planned],
    }


def _refusal_as_json(decided: OfflineDecision, site_count: int) -> dict[str, Any]:
    refused = decided.demand
    reason = refused.reason if isinstance(refused, NotAccepted) else "invalid"
    message = refused.message if isinstance(refused, NotAccepted) else ""
    running = _running_sites(decided)
    there = format_replicas([(each["name"], each["replicas"]) for each in running])
    stays = f"; running replicas stay on {format_list(there, _MAX_NAMED_SITES)}" if running else ""
    return {
        "workload": decided.workload.metadata.key,
        "phase": "Refused",
        "sites": running,
        "reasons": {reason: max(1, site_count)},
        "line": f"not accepted: {message}{stays}",
        "cost": {"cnyPerHour": None, "gco2PerHour": None},
        "optimal": False,
        "gap": None,
        "lost": [],
        "violations": [],
        "notes": [],
    }


def _running_sites(decided: OfflineDecision) -> list[dict[str, Any]]:
    """What runs of a workload that is not accepted: it stays as it is."""
    running: dict[str, int] = {}
    for group in decided.workload.status.placement.groups:
        for site in group.sites if group.phase != "Withdrawing" and group.replicas else ():
            running[site] = running.get(site, 0) + group.replicas
    return [{"name": site, "replicas": running[site]} for site in sorted(running)]


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only when a table is drawn
    from rich.table import Table  # noqa: PLC0415 - only when a table is drawn

    words = reader_catalogue()
    table = Table(box=None, pad_edge=False)
    for title in ("WORKLOAD", "PHASE", "CNY/H", "gCO2/H", "WHERE, OR WHY NOT"):
        table.add_column(words.label(title), overflow="fold")
    for row in rows:
        cost = row["cost"]
        table.add_row(
            printable(row["workload"]),
            words.label(row["phase"]),
            _format_figure(cost["cnyPerHour"], words.phrases.unknown),
            _format_figure(cost["gco2PerHour"], words.phrases.unknown),
            printable(words.say(row["line"])),
        )
    Console(markup=False, emoji=False).print(table)  # a name such as "[red]" is no markup


def _format_figure(value: float | None, unknown: str) -> str:
    return unknown if value is None else f"{value:.4g}"
