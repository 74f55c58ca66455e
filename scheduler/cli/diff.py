"""`kapok diff`: what changed between two recorded decisions, and what in their inputs changed."""

import argparse
import json
import sys
from typing import Any

import msgspec

from scheduler.ledger.errors import LedgerError
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.replay import RecordedDecision, read_recorded_decision
from scheduler.ledger.tables import LEDGER_FILE
from scheduler.model.canonical import to_plain_json
from scheduler.model.demand.terms import Terms
from scheduler.settings import data_directory

EXIT_GOOD, EXIT_NO, EXIT_USAGE = 0, 1, 2

_EPILOG = """examples:
  kapok diff 7-42 7-43             what moved, and which facts had changed
  kapok diff 7-42 7-43 -o json     {"from", "to", "sites", "reasons", "demand", "facts", "terms"}

Exit code: 0 the decisions are equal, 1 they differ, 2 one of them is not there."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok diff`."""
    parser.epilog = _EPILOG
    parser.add_argument("first", metavar="ID", help="as in status.decision.id of a workload")
    parser.add_argument("second", metavar="ID", help="another one")
    parser.add_argument("--data-dir", metavar="DIR", help="data directory of the hub")
    parser.add_argument("-o", "--output", choices=["json"], help="one JSON object on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Compares two decisions."""
    try:
        with LedgerReader(data_directory(arguments.data_dir) / LEDGER_FILE) as reader:
            cases = [_read_case(reader, each) for each in (arguments.first, arguments.second)]
    except LedgerError as error:
        sys.stderr.write(f"kapok diff: {error}\n")
        return EXIT_USAGE
    told = {"from": arguments.first, "to": arguments.second, **difference(*cases)}
    if arguments.output == "json":
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    else:
        _print(told)
    return EXIT_NO if told["sites"] or told["phase"] or told["reasons"] else EXIT_GOOD


def _without_prices(terms: Terms) -> Any:  # noqa: ANN401 - JSON data
    """Scarcity prices are many, sites times resources; their version says whether they differ."""
    return to_plain_json(msgspec.structs.replace(terms, scarcity=()))


def _read_case(reader: LedgerReader, record_id: str) -> RecordedDecision:
    record = reader.find(record_id)
    if record is not None and "refusal" in record.content:
        raise LedgerError(f"{record_id} is no decision: the workload was not accepted then")
    if record is None or "decision" not in record.content:
        raise LedgerError(f"no decision {record_id} here; see `kapok ledger list`")
    return read_recorded_decision(reader, record)


def difference(first: RecordedDecision, second: RecordedDecision) -> dict[str, Any]:
    """What differs: shares, phase, reasons, and the inputs by dotted path, as [before, after]."""
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
    sys.stdout.write("\n".join(lines or ["the same placement from the same inputs"]) + "\n")


def _shorten(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_VALUE_CHARACTERS else text[: _MAX_VALUE_CHARACTERS - 1] + "…"


_MAX_VALUE_CHARACTERS = 60
