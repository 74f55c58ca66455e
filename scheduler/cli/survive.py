"""`kapok survive [SITE|KEY=VALUE…]`: whether the loss of sites can be survived, before it comes."""

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import Any

from scheduler.cli.asking.question import answer_question, run_question
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    add_now_option,
    add_output_option,
)
from scheduler.cli.support.hub_access import add_hub_arguments
from scheduler.cli.support.output import print_json, print_sentences, print_table
from scheduler.cli.support.web_access import add_server_option
from scheduler.whatif.questions import SurvivalQuestion
from scheduler.whatif.scenario.changes import LoseSites, ScenarioError
from scheduler.whatif.survival.answer import ask_survival
from scheduler.whatif.survival.losses import MAX_NAMED_LOSSES, read_loss

_EPILOG = """examples:
  kapok survive                          every site, each alone
  kapok survive gz-edge                  one site, with the plan
  kapok survive province=CN-GD           all sites of a province, a city or a provider together
  kapok survive 'province=*'             each province
  kapok survive -f export/hub.yaml       of files, without a scheduler

SURVIVES is yes when the engine places all that runs there elsewhere, together, in the order of
failover, beside all that runs on; no when it is proved that there is no such plan; unknown when
none was found, which proves nothing. Nothing is moved, and nothing else would have to end. An
operator's word that a workload waits for counts as given; such workloads are counted.
Exit code: 0 every loss is survived, 1 one is not or that is not known, or the scheduler does not
answer, 2 wrong usage or a name that does not exist, 130 interrupted."""

_MAX_ROWS = 40
_MAX_LOST = 20
_WORDS = {True: "yes", False: "no", None: "unknown"}
_WORST_FIRST = (False, None, True)


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok survive`."""
    parser.description = (
        "Says for each site, or for all sites of a province, a city or a provider, whether its "
        "loss can be survived: with a plan, proved that it cannot, or not known."
    )
    parser.epilog = _EPILOG
    parser.add_argument(
        "losses", nargs="*", metavar="SITE|KEY=VALUE", help="what is lost, each alone"
    )
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE",
        help="the files of a fleet, such as those of kapok demo --export",
    )
    add_now_option(parser)
    add_output_option(parser)
    add_hub_arguments(parser)
    add_server_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints which losses are survived."""
    return run_question("survive", lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    losses = _read_losses(arguments.losses)
    answer = answer_question(
        "survive",
        arguments,
        arguments.filename,
        SurvivalQuestion(losses=losses),
        lambda copy, progress: ask_survival(copy, losses, progress),
    )
    if arguments.output == "json":
        print_json(answer)
    else:
        _print(answer)
    return EXIT_GOOD if all(one["survives"] is True for one in answer["losses"]) else EXIT_NO


def _read_losses(words: Sequence[str]) -> tuple[LoseSites, ...]:
    if len(words) > MAX_NAMED_LOSSES:
        raise ScenarioError(f"name at most {MAX_NAMED_LOSSES} losses; none is every site")
    return tuple(read_loss(word) for word in words)


def _print(answer: dict[str, Any]) -> None:
    """The losses that are not survived first, then what of one loss goes where."""
    losses = sorted(answer["losses"], key=lambda one: _WORST_FIRST.index(one["survives"]))
    print_table(_table(losses[:_MAX_ROWS]))
    if len(losses) > _MAX_ROWS:
        counts = Counter(_WORDS[one["survives"]] for one in losses)
        total = ", ".join(f"{count} {word}" for word, count in counts.items())
        print_sentences(f"and {len(losses) - _MAX_ROWS} more ({total}); -o json lists all")
    if len(losses) == 1:
        _print_details(losses[0])
    for note in answer["notes"]:
        print_sentences(f"note: {note}")


def _table(losses: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("LOSS", "SURVIVES", "WORKLOADS", "LOST", "WHY")]
    for one in losses:
        counts = (str(one["workloads"]), str(one["lostCount"]))
        rows.append((one["of"], _WORDS[one["survives"]], *counts, one["sentence"]))
    return rows


def _print_details(loss: dict[str, Any]) -> None:
    for one in loss["lost"][:_MAX_LOST]:
        print_sentences(f"{one['workload']}: {one['line']}")
    if loss["lostCount"] > _MAX_LOST:
        print_sentences(f"and {loss['lostCount'] - _MAX_LOST} more; -o json lists more")
    for one in (loss["plan"] or [])[:_MAX_LOST]:
        places = ", ".join(f"{to['site']} ({to['replicas']})" for to in one["to"])
        print_sentences(f"{one['workload']} goes to {places}")
    for one in loss["smallestChange"]:
        step = f"{one['from']} → {one['to']}" if one["from"] else one["to"]
        print_sentences(f"would help: {one['kind']} {one['target']}: {step} (by the {one['who']})")
    if loss["byOperatorCount"]:
        print_sentences(f"{loss['byOperatorCount']} of them wait for an operator's word first")
