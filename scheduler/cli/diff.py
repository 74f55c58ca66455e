"""`kapok diff`: compares two recorded decisions, and their inputs."""

import argparse
import json
from typing import Any

import msgspec

from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    add_output_option,
)
from scheduler.cli.support.hub_access import HubNotFound
from scheduler.cli.support.ledger_access import add_ledger_options, open_ledger
from scheduler.cli.support.output import print_error, print_json, print_text
from scheduler.control.ports.hub import HubError
from scheduler.ledger.errors import LedgerError
from scheduler.ledger.reader import RecordSource
from scheduler.ledger.record import EQUAL_KIND
from scheduler.ledger.replay import RecordedDecision, read_recorded_decision
from scheduler.model.canonical import to_plain_json
from scheduler.model.demand.terms import Terms
from scheduler.runtime.printable import printable

_EPILOG = """examples:
  kapok diff 7-42 7-43             which replicas moved, and which inputs changed
  kapok diff 7-42 7-43 -o json     {"from", "to", "sites", "reasons", "demand", "facts", "terms"}

`demand` is what the workload asks, `facts` what the sites reported, `terms` the settings and prices
that decisions are made with. `kapok ledger list --subject NAMESPACE/NAME` lists decision IDs.
Exit code: 0 the decisions are equal, 1 they differ, 2 a decision is not in the ledger."""

_MAX_VALUE_CHARACTERS = 60
"""Longer values are cut in the text output."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok diff`."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "first", metavar="ID", help="the earlier decision; a workload's status.decision.id"
    )
    parser.add_argument("second", metavar="ID", help="the later decision")
    add_ledger_options(parser)
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compares two decisions."""
    try:
        with open_ledger(arguments) as reader:
            recorded = [
                _read_decision(reader, each) for each in (arguments.first, arguments.second)
            ]
    except (HubError, HubNotFound, LedgerError) as error:
        print_error("diff", error)
        return EXIT_USAGE
    answer = {"from": arguments.first, "to": arguments.second, **difference(*recorded)}
    if arguments.output == "json":
        print_json(answer)
    else:
        _print(answer)
    return EXIT_NO if answer["sites"] or answer["phase"] or answer["reasons"] else EXIT_GOOD


def _without_prices(terms: Terms) -> Any:  # noqa: ANN401 - JSON data
    """The terms without scarcity prices: one per site and resource is too many to print.

    The terms also hold the version of the prices, so a difference in them still shows.
    """
    return to_plain_json(msgspec.structs.replace(terms, scarcity=()))


def _read_decision(reader: RecordSource, record_id: str) -> RecordedDecision:
    record = reader.find(record_id)
    if record is not None and "refusal" in record.content:
        raise LedgerError(
            f"record {record_id} holds no decision: the workload was not accepted; "
            f"`kapok ledger show {record_id}` shows why"
        )
    if record is not None and record.kind == EQUAL_KIND:
        raise LedgerError(
            f"record {record_id} holds {len(record.share_subjects)} equal decisions; name one of"
            f" them as {record_id}#INDEX, the status.decision.index of its workload"
        )
    if record is None or "decision" not in record.content:
        raise LedgerError(f"decision {record_id} not found; `kapok ledger list` lists all records")
    return read_recorded_decision(reader, record)


def difference(first: RecordedDecision, second: RecordedDecision) -> dict[str, Any]:
    """What differs, as [before, after]: phase, replicas by site, reasons, and inputs by path."""
    before = {each.site: each.replicas for each in first.decision.assignment}
    after = {each.site: each.replicas for each in second.decision.assignment}
    phases = [first.decision.phase, second.decision.phase]
    facts = [
        {each.name: to_plain_json(each) for each in case.fleet.all_facts()}
        for case in (first, second)
    ]
    return {
        "phase": phases if phases[0] != phases[1] else [],
        "sites": {
            site: [before.get(site, 0), after.get(site, 0)]
            for site in sorted({*before, *after})
            if before.get(site) != after.get(site)
        },
        "reasons": _changes_by_path(first.decision.reasons, second.decision.reasons),
        "demand": _changes_by_path(to_plain_json(first.demand), to_plain_json(second.demand)),
        "facts": _changes_by_path(facts[0], facts[1]),
        "terms": _changes_by_path(_without_prices(first.terms), _without_prices(second.terms)),
    }


def _changes_by_path(before: Any, after: Any, path: str = "") -> dict[str, list[Any]]:  # noqa: ANN401 - JSON
    if before == after:
        return {}
    if not isinstance(before, dict) or not isinstance(after, dict):
        return {path: [before, after]}
    found: dict[str, list[Any]] = {}
    for name in sorted({*before, *after}):
        inside = f"{path}.{name}" if path else str(name)
        found |= _changes_by_path(before.get(name), after.get(name), inside)
    return found


def _print(answer: dict[str, Any]) -> None:
    lines = [f"{site}: {count[0]} -> {count[1]}" for site, count in answer["sites"].items()]
    lines += [f"phase: {' -> '.join(answer['phase'])}"] if answer["phase"] else []
    for part in ("reasons", "demand", "facts", "terms"):
        for path, (before, after) in answer[part].items():
            lines.append(f"{part} {path}: {_shorten(before)} -> {_shorten(after)}")
    print_text("\n".join(map(printable, lines)) or "same placement, same inputs")


def _shorten(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_VALUE_CHARACTERS else text[: _MAX_VALUE_CHARACTERS - 1] + "…"
