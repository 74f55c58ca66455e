"""`kapok whatif SCENARIO…`: what a loss, a drain, a price or more load would do to the fleet."""

import argparse

from scheduler.cli.asking.question import answer_question, run_question
from scheduler.cli.asking.scenario_words import (
    options_with_values,
    read_asked,
    sort_words,
)
from scheduler.cli.asking.whatif_text import format_whatif
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    add_now_option,
    add_output_option,
)
from scheduler.cli.support.command_parser import CommandParser
from scheduler.cli.support.hub_access import add_hub_arguments
from scheduler.cli.support.output import print_json, print_sentences
from scheduler.cli.support.web_access import add_server_option
from scheduler.whatif.answer import ask
from scheduler.whatif.questions import WhatIfQuestion

PASSES_WORDS_THROUGH = True
"""The order of `-f` and the words of a scenario counts, which argparse does not keep."""

_DESCRIPTION = """Answers what a scenario would do to the fleet: what is left without a place and
why, what moves, cost and carbon, the hottest site and the room that is left, and the smallest
change that would place the rest. It runs on a copy, with the engine itself, and touches nothing."""
_EPILOG = """scenarios (several in one line are one scenario):
  drain SITE                    the site is emptied
  lose SITE|province=NAME|city=NAME|provider=NAME
                                the sites are silent for good
  lose broker                   no site is reached; what runs goes on
  thaw                          an operator ends the freeze that a large loss brings
  add SITE*N | add -f FILE      N empty sites like one, or those of a file with their SiteGrants
  grant -f FILE, policy -f FILE grants and policies, new or in place of those of the same names
  price KEY=VALUE               carbonCnyPerKg, energyCnyPerKwh, coreCnyPerHour (of all sites, or
                                SITE.KEY), latencyCnyPerMillisecondHour, waitingCnyPerHour,
                                movingCnyPerGibibyte, valueCnyPerReplicaHour
  intensity ZONE=GCO2PERKWH     the carbon intensity of a grid zone
  fix NAMESPACE/NAME            the smallest change of kapok explain that lets it be placed is made
  grid PLACE=AMOUNT/HOURSh      a site, or zone:NAME, draws less from now on: 40kW or 25%
  load FACTOR                   every workload has this many times its replicas, rounded up

examples:
  kapok whatif drain gz-edge
  kapok whatif lose province=CN-GD add gz-core*2 load 1.2
  kapok whatif add -f new-site.yaml
  kapok whatif grid gz-core=25%/3h                  what can be promised to a grid operator
  kapok whatif -f winter.yaml                       a saved scenario
  kapok whatif -f export/hub.yaml drain gz-edge     of files, without a scheduler

A saved scenario is a file of kind WhatIf, with the same words as lines:
  apiVersion: kapok.dev/v1alpha1
  kind: WhatIf
  metadata: {name: south-lost}
  spec: {scenario: ["lose province=CN-GD", "add -f spare.yaml"]}

What runs and is not concerned stays. Files are decided as of their newest report, or --now.
The running scheduler answers one such question at a time, to holders of a token that may list
sites and workloads.
Exit code: 0 all is placed as before, 1 something is left without a place, a grid is promised less
than it asks or the scheduler does not answer, 2 wrong usage or a name that does not exist,
130 interrupted."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok whatif`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "scenario", nargs="*", metavar="SCENARIO", help="what happens; see the list below"
    )
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        metavar="FILE",
        help="a saved scenario, or files of a fleet; after add, grant and policy what they add",
    )
    add_now_option(parser)
    add_output_option(parser)
    add_hub_arguments(parser)
    add_server_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the answer."""
    return run_question("whatif", lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    parser = CommandParser(
        prog="kapok whatif", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    register(parser)
    words = sort_words(arguments.words, options_with_values(parser))
    options = parser.parse_args(words.options)
    asked = read_asked(words)
    answer = answer_question(
        "whatif",
        options,
        asked.fleet_files,
        WhatIfQuestion(changes=asked.changes),
        lambda copy, progress: ask(copy, asked.changes, progress),
    )
    if options.output == "json":
        print_json(answer)
    else:
        print_sentences(format_whatif(answer))
    is_short = any(not one["met"] for one in answer["grid"])
    return EXIT_NO if answer["unplaced"] or is_short else EXIT_GOOD
