"""`kapok replay ID`: decide again from the record, and compare."""

import argparse
import json
import sys

import msgspec

from scheduler.ledger.errors import LedgerError
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.replay import ReplayResult, replay
from scheduler.ledger.tables import LEDGER_FILE
from scheduler.settings import data_directory

EXIT_GOOD, EXIT_NO, EXIT_USAGE = 0, 1, 2

_EPILOG = """examples:
  kapok get workloads -o json          status.decision.id names the record
  kapok replay 7-42                    exit 0: the same decision, byte for byte; exit 1: not
  kapok replay 7-42 -o json            {"decision": "7-42", "same": true, …}
  kapok replay 7-42 --data-dir ./city  of a hub whose data is elsewhere; it may be running

Whether the record itself is as it was written says `kapok ledger verify`."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok replay`."""
    parser.epilog = _EPILOG
    parser.add_argument("id", metavar="ID", help="as in status.decision.id of a workload")
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="data directory of the hub (default: $KAPOK_DATA_HOME, else ~/.local/share/kapok)",
    )
    parser.add_argument("-o", "--output", choices=["json"], help="one JSON object on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Replays one decision."""
    try:
        with LedgerReader(data_directory(arguments.data_dir) / LEDGER_FILE) as reader:
            record = reader.find(arguments.id)
            if record is None:
                sys.stderr.write(
                    f"kapok replay: no record {arguments.id} here; see `kapok ledger list`\n"
                )
                return EXIT_NO
            answer = replay(reader, record)
    except LedgerError as error:
        sys.stderr.write(f"kapok replay: {error}\n")
        return EXIT_USAGE
    _print_answer(arguments.id, answer, as_json=arguments.output == "json")
    return EXIT_GOOD if answer.is_same else EXIT_NO


def _print_answer(record_id: str, answer: ReplayResult, *, as_json: bool) -> None:
    if as_json:
        said: dict[str, object] = {
            "decision": record_id,
            "same": answer.is_same,
            "sentence": answer.sentence,
        }
        if answer.is_same is False:
            said |= {
                "recorded": msgspec.to_builtins(answer.recorded),
                "again": msgspec.to_builtins(answer.replayed),
            }
        sys.stdout.write(json.dumps(said, ensure_ascii=False) + "\n")
        return
    sys.stdout.write(answer.sentence + "\n")
    if answer.is_same is False and answer.recorded and answer.replayed:
        sys.stdout.write(
            f"  recorded  {answer.recorded.line}\n  again     {answer.replayed.line}\n"
        )
