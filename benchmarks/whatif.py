"""What-ifs: seconds for one answer, by scenario, on a fleet with running workloads.

The fleet has the machines and pod sizes of the public trace. Each workload is a Deployment whose
manifest is read again for each answer, as the process of the scheduler does. One workload of 100
waits, as it is larger than any node. Times are of the wall clock, on one thread.
"""

import argparse

from benchmarks._whatif_city import fleet_copy
from scheduler.runtime.clock import SystemClock
from scheduler.whatif.answer import ask
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.scenario.changes import Change, ScenarioError
from scheduler.whatif.scenario.words import read_scenario

_SCENARIOS = (
    "drain {site}",
    "lose {site}",
    "lose province={province}",
    "add {site}*10",
    "price carbonCnyPerKg=1",
    "load 1.2",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument(
        "--size",
        nargs="+",
        default=["100x1000", "1000x10000"],
        metavar="SITESxWORKLOADS",
        help="sites x workloads (default: 100x1000 1000x10000)",
    )
    parser.add_argument(
        "--nodes", type=int, default=20, metavar="N", help="nodes per site (default: %(default)s)"
    )
    parser.add_argument(
        "--scenario", action="append", metavar="WORDS", help="ask this instead of the usual ones"
    )


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row per size and scenario.

    Raises:
        FileNotFoundError: the data set is missing.
        ValueError: a size or a scenario cannot be read.
    """
    found: list[dict[str, object]] = []
    for text in arguments.size:
        sites, _, workloads = text.partition("x")
        copy = fleet_copy(
            arguments.data,
            sites=int(sites),
            workloads=int(workloads),
            nodes=arguments.nodes,
            seed=arguments.seed,
        )
        found += [_row(copy, words) for words in arguments.scenario or _SCENARIOS]
    return found


def _row(copy: FleetCopy, words: str) -> dict[str, object]:
    busiest = _busiest(copy)
    facts = next(one for one in copy.facts if one.name == busiest)
    scenario = words.format(site=busiest, province=facts.spec.location.province)
    changes = read_scenario(scenario.split(), _no_file)
    clock = SystemClock()
    begun = clock.monotonic()
    answer = ask(copy, changes)
    return {
        "scenario": scenario,
        "sites": len(copy.facts),
        "workloads": len(copy.workloads),
        "seconds": round(clock.monotonic() - begun, 3),
        "moves": len(answer["moves"]),
        "unplaced": len(answer["unplaced"]),
        "waiting": len(answer["waiting"]),
    }


def _busiest(copy: FleetCopy) -> str:
    """The site with most workloads."""
    counts: dict[str, int] = {}
    for one in copy.workloads:
        for group in one.status.placement.groups:
            for site in group.sites:
                counts[site] = counts.get(site, 0) + 1
    return max(counts, key=lambda site: (counts[site], site))


def _no_file(verb: str, name: str) -> Change:
    raise ScenarioError(f"{verb} -f {name}: a benchmark reads no file")
