"""`kapok capacity`: what of a shape still fits where, and what to buy next for what waits."""

import argparse
from typing import Any

from scheduler.cli.asking.question import answer_question, run_question
from scheduler.cli.asking.shape_words import add_shape_arguments, shape_of, sort_files
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    add_now_option,
    add_output_option,
)
from scheduler.cli.support.hub_access import add_hub_arguments
from scheduler.cli.support.output import print_json, print_sentences, print_table
from scheduler.cli.support.web_access import add_server_option
from scheduler.whatif.capacity import MOST_REPLICAS, ask_capacity
from scheduler.whatif.questions import CapacityQuestion

_EPILOG = """examples:
  kapok capacity --cpu 8 --memory 16Gi --gpu 1
  kapok capacity --cpu 2 --class core -n health     by the rights of a tenant
  kapok capacity -f pod.yaml                        a Pod, a Deployment or a Workload
  kapok capacity -f export/hub.yaml --cpu 4         of files, without a scheduler

Each site is asked alone, node by node, less what is in flight and reserved. A site that takes none
says the first reason. Without a shape it is one core and 2 GiB.
What to buy next comes from the prices of a batch of all that waits for capacity: what one more
core, GiB or card is worth there, and how much of it the waiting workloads lack.
Exit code: 0 some site takes a replica, 1 none does or the scheduler does not answer, 2 wrong
usage, 130 interrupted."""

_MAX_SITES_SHOWN = 40


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok capacity`."""
    parser.description = (
        "Says how many replicas of a shape each site still takes, exact by node, and what to buy "
        "next for the work that waits."
    )
    parser.epilog = _EPILOG
    add_shape_arguments(parser)
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE",
        help="a pod or a workload; or the files of a fleet, such as those of kapok demo --export",
    )
    add_now_option(parser)
    add_output_option(parser)
    add_hub_arguments(parser)
    add_server_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints what fits where."""
    return run_question("capacity", lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    manifests, fleet_files = sort_files(arguments.filename)
    shape = shape_of(arguments, manifests)
    answer = answer_question(
        "capacity",
        arguments,
        fleet_files,
        CapacityQuestion(shape=shape),
        lambda copy, progress: ask_capacity(copy, shape, progress),
    )
    if arguments.output == "json":
        print_json(answer)
    else:
        _print(answer)
    return EXIT_GOOD if answer["replicas"] else EXIT_NO


def _print(answer: dict[str, Any]) -> None:
    asked = ", ".join(f"{name} {amount}" for name, amount in answer["shape"]["requests"].items())
    print_sentences(
        f"{answer['replicas']} replicas fit ({asked}; class {answer['shape']['dataClass']})"
    )
    sites = answer["sites"]
    rows = [("SITE", "FITS", "WHY NONE")]
    for one in sites[:_MAX_SITES_SHOWN]:
        refusal = one["firstRefusal"]
        why = f"{refusal['reason']}: {refusal['sentence']}" if refusal else ""
        rows.append((one["name"], _count(one["replicas"]), why))
    print_table(rows)
    if len(sites) > _MAX_SITES_SHOWN:
        print_sentences(f"and {len(sites) - _MAX_SITES_SHOWN} more sites; -o json lists all")
    for one in answer["buyNext"]:
        print_sentences(_purchase(one))
    if left := answer["noPurchase"]:
        print_sentences(
            f"none of the {left['tried']} purchases that were tried places "
            f"{', '.join(left['workloads'])} ({left['waiting']} waiting workloads); kapok explain "
            "says what each of them lacks"
        )
    elif answer["stuck"] and not answer["buyNext"]:
        print_sentences(f"{len(answer['stuck'])} workloads wait, none of them for capacity")
    for note in answer["notes"]:
        print_sentences(f"note: {note}")


def _count(replicas: int) -> str:
    return f"{replicas}+" if replicas >= MOST_REPLICAS else str(replicas)


def _purchase(one: dict[str, Any]) -> str:
    worth = ""
    if one["cnyPerUnitHour"] is not None:
        worth = f" ({one['cnyPerUnitHour']:.4g} CNY/h for each {one['unit']})"
    what = f"{one['amount']:g} {one['unit']}"
    if "node" in one:
        what += f" of {', '.join(f'{name} {amount}' for name, amount in one['node'].items())}"
    else:
        what += f" of {one['resource']}"
    return (
        f"buy next: {what} at {one['site']}{worth}: places {one['places']} of {one['waiting']} "
        "waiting workloads"
    )
