"""`kapok replay ID`: repeats a decision from its record, and compares the result."""

import argparse
from dataclasses import replace

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
from scheduler.ledger.reader import find_undoing, share_about
from scheduler.ledger.replay import ReplayResult, replay
from scheduler.runtime.printable import printable

_EPILOG = """examples:
  kapok get workloads -o json          status.decision.id of a workload is the ID
  kapok replay 7-42                    is the decision still the same, byte for byte?
  kapok replay 7-42 -o json            {"decision": "7-42", "same": true, …}
  kapok replay 7-42#3                  one of the equal decisions that record 7-42 holds
  kapok replay 7-42 --subject jobs/a   the one about this workload; without, all of them
  kapok replay 7-42 --kubeconfig hub.kubeconfig    over the network
  kapok replay 7-42 --data-dir ./city  another data directory; its hub may be running

A record of an older engine with the same rules is compared without its texts, and the answer says
so; a record of any other engine is not compared ("same": null).
Replay trusts the record; `kapok ledger verify` checks that the record was not changed.
Exit code: 0 the same decision, 1 another decision, not compared or not found, 2 no ledger."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok replay`."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "id",
        metavar="ID",
        help="decision ID; a workload's status.decision.id, with #INDEX if it has one there",
    )
    parser.add_argument(
        "--subject",
        metavar="NAMESPACE/NAME",
        help="of a record of several equal decisions, the one about this workload",
    )
    add_ledger_options(parser)
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Replays one decision."""
    try:
        with open_ledger(arguments) as reader:
            record = reader.find(arguments.id)
            if record is not None and arguments.subject:
                record = share_about(record, arguments.subject)
            if record is None:
                about = f" about {arguments.subject}" if arguments.subject else ""
                print_error(
                    "replay",
                    f"record {arguments.id}{about} not found; `kapok ledger list` lists all"
                    " records",
                )
                return EXIT_NO
            answer = replay(reader, record)
            undoing = find_undoing(reader, record)
            if undoing is not None:
                sentence = f"{answer.sentence}; it was not carried out, see {undoing.id}"
                answer = replace(answer, sentence=sentence)
    except (HubError, HubNotFound, LedgerError) as error:
        print_error("replay", error)
        return EXIT_USAGE
    _print_answer(record.id, answer, as_json=arguments.output == "json")
    return EXIT_GOOD if answer.is_same else EXIT_NO


def _print_answer(record_id: str, answer: ReplayResult, *, as_json: bool) -> None:
    if as_json:
        facts: dict[str, object] = {
            "decision": record_id,
            "same": answer.is_same,
            "sentence": answer.sentence,
        }
        if answer.is_same is False:
            facts |= {
                "recorded": msgspec.to_builtins(answer.recorded),
                "again": msgspec.to_builtins(answer.replayed),
            }
        print_json(facts)
        return
    print_text(printable(answer.sentence))
    if answer.is_same is False and answer.recorded and answer.replayed:
        for label, decision in (("recorded", answer.recorded), ("again", answer.replayed)):
            print_text(f"  {label:<8}  {printable(decision.line)}")
