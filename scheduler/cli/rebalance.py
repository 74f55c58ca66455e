"""`kapok rebalance [--dry-run]`: which running work would move to save cost, and what that saves.

The engine decides here, on what the hub has. Without --dry-run the workloads whose move is worth it
get an operator's word, and the scheduler decides about each of them again.
"""

import argparse
import asyncio
import time
from math import inf
from pathlib import Path
from typing import Any

from scheduler.cli.moving.rebalance_preview import PossibleMove, preview_moves
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_INTERRUPTED,
    EXIT_NO,
    EXIT_USAGE,
    add_output_option,
    seconds_between,
)
from scheduler.cli.support.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.cli.support.offline_input import OfflineInputError, fleet_of, input_of_objects
from scheduler.cli.support.output import print_error, print_json, print_sentences, print_table
from scheduler.control.ports.hub import KAPOK_RESOURCES, WORKLOADS, HubError
from scheduler.control.rebalance.tasks import write_asked
from scheduler.hub.client import HubClient, open_hub
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.printable import printable

_EPILOG = """examples:
  kapok rebalance --dry-run           what would move, what it saves, and what stays and why
  kapok rebalance                     has it moved now, also where the policy says Advise
  kapok rebalance --dry-run -o json

Only workloads whose policy has spec.rebalance with mode Advise or Auto are looked at. A saving
counts for one day, less the cost of the move. The moves of an hour, the least saving, one move a
day for each workload and every rule hold for this command, too. It needs the right to change
Workloads.
Exit code: 0 good, 1 not all was moved in time, 2 wrong usage, 130 left by Ctrl-C; a word that
stands by then holds for ten minutes."""

_POLL_SECONDS = 0.5


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok rebalance`."""
    parser.description = "Moves running work to where it costs less, within its policy's budget."
    parser.epilog = _EPILOG
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would move and save, and write nothing"
    )
    parser.add_argument(
        "--timeout",
        type=seconds_between(0.0, inf),
        default=150.0,
        metavar="SECONDS",
        help="how long to wait for the moves; the scheduler looks each minute "
        "(default: %(default)s)",
    )
    add_hub_arguments(parser)
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Shows the moves, or has them made."""
    started = time.monotonic()
    try:
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
        answer = asyncio.run(_answer(kubeconfig, arguments))
    except HubNotFound as error:
        print_error("rebalance", error)
        return EXIT_USAGE
    except (HubError, OfflineInputError) as error:
        print_error("rebalance", error)
        return EXIT_NO
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    failed = answer.pop("failed")
    answer["seconds"] = round(time.monotonic() - started, 3)
    if arguments.output == "json":
        print_json(answer)
    else:
        _print(answer, is_dry=arguments.dry_run)
    return EXIT_NO if failed else EXIT_GOOD


async def _answer(kubeconfig: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    async with open_hub(kubeconfig) as client:
        objects = [one for kind in KAPOK_RESOURCES for one in (await client.list(kind)).items]
        inputs = input_of_objects(objects)
        found = preview_moves(inputs, fleet_of(inputs), SystemClock().now())
        late: list[str] = []
        if not arguments.dry_run and found.moves:
            late = await _move(client, found.moves, arguments.timeout)
    stuck = [*found.stuck]
    stuck += [
        {"workload": title, "reason": f"not moved within {arguments.timeout:g} s"} for title in late
    ]
    moves = [row for one in found.moves if one.title not in late for row in one.rows]
    return {"moves": moves, "stuck": stuck, "failed": bool(late)}


async def _move(client: HubClient, moves: list[PossibleMove], timeout_seconds: float) -> list[str]:
    """Says the word to each workload, and waits; returns those that have not moved by then."""
    clock = SystemClock()
    for one in moves:
        patch = {"metadata": {"annotations": write_asked(clock.now())}}
        await client.merge_patch(WORKLOADS, one.name, patch, namespace=one.namespace)
    until, waiting = clock.monotonic() + timeout_seconds, {one.title: one for one in moves}
    while waiting and clock.monotonic() < until:
        await clock.sleep(_POLL_SECONDS)
        for title, one in list(waiting.items()):
            body = await client.get(WORKLOADS, one.name, one.namespace)
            last = (body.get("status") or {}).get("rebalance") or {}
            if last.get("at") != one.moved_before:
                del waiting[title]
    return sorted(waiting)


def _print(answer: dict[str, Any], *, is_dry: bool) -> None:
    moves, stuck = answer["moves"], answer["stuck"]
    if moves:
        header = (
            "WORKLOAD",
            "FROM",
            "TO",
            "REPLICAS",
            "SAVES-CNY/DAY",
            "SAVES-GCO2E/DAY",
            "COST-CNY",
        )
        rows = [
            (
                one["workload"],
                one["from"],
                one["to"],
                str(one["replicas"]),
                f"{one['savesCny']:.4g}",
                f"{one['savesGco2']:.4g}",
                f"{one['costCny']:.4g}",
            )
            for one in moves
        ]
        print_table([header, *(tuple(map(printable, row)) for row in rows)], fixed=1)
    else:
        print_sentences("nothing would move" if is_dry else "nothing moves")
    for one in stuck:
        print_sentences(printable(f"{one['workload']} stays: {one['reason']}"))
