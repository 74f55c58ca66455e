"""Growth of the time of a decision with sites, nodes per site, hard rules and distinct requests.

One variable changes at a time, from a fleet of 1,000 sites with 20 nodes and the demands of
`decide`. Times are CPU seconds of the one thread. `--plot FILE` draws the rows as SVG, as in
docs/performance.md.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from time import thread_time
from unittest.mock import patch  # noqa: TID251 - other rules are measured, nothing is faked

import msgspec

from benchmarks._city import (
    NOW,
    MachineType,
    demands,
    next_report,
    read_machines,
    read_shapes,
    site,
)
from benchmarks._plot import Series, plot
from scheduler.model.demand.demand import Demand
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.choose import choose
from scheduler.placement.filter import filter as admit
from scheduler.placement.filter.constraints.cordoned import Cordoned
from scheduler.placement.filter.rules import all_rules
from scheduler.placement.fleet.fleet import Fleet

_MICROSECONDS = 1_000_000
_REPORT_EVERY = 10
_USUAL_SITES, _USUAL_NODES = 1000, 20
_SITES = (100, 300, 1000, 3000, 10_000)
_NODES = (5, 20, 80, 320)
_EXTRA_RULES = (0, 25, 75, 175)
_DISTINCT = (1, 10, 100, 1000)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument(
        "--decisions",
        type=int,
        default=1500,
        metavar="N",
        help="decisions per point (default: %(default)s)",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the rows as SVG into this file"
    )


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row per point: the variable, its value, microseconds per decision.

    Raises:
        FileNotFoundError: the public trace is missing.
    """
    scene = _Setup(arguments)
    found = [
        {"varied": varied, "value": value, "us_per_decision": round(microseconds, 1)}
        for varied, value, microseconds in scene.points()
    ]
    if arguments.plot:
        arguments.plot.write_text(plot(_series(found)), encoding="utf-8")
    return found


def _series(found: Sequence[dict[str, object]]) -> list[Series]:
    varied = list(dict.fromkeys(str(row["varied"]) for row in found))
    return [
        Series(
            name,
            [
                (float(str(row["value"])), float(str(row["us_per_decision"])))
                for row in found
                if row["varied"] == name
            ],
        )
        for name in varied
    ]


class _Setup:
    """The settings that all points share."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._seed: int = arguments.seed
        self._decisions: int = arguments.decisions
        self._shapes: list[PodShape] = read_shapes(arguments.data)
        self._forms: list[MachineType] = read_machines(arguments.data)

    def points(self) -> Iterator[tuple[str, int, float]]:
        """The variable, its value, and microseconds per decision."""
        for sites in _SITES:
            yield "sites", sites, self._microseconds(sites=sites)
        for nodes in _NODES:
            yield "nodes per site", nodes, self._microseconds(nodes=nodes)
        for more in _EXTRA_RULES:
            rules = (*all_rules(), *(_ExtraRule(number) for number in range(more)))
            with patch.object(admit, "all_rules", lambda rules=rules: rules):
                admit.rulebook.cache_clear()
                yield "hard rules", len(rules), self._microseconds()
        admit.rulebook.cache_clear()
        for distinct in _DISTINCT:
            yield "distinct requests", distinct, self._microseconds(change=self._few(distinct))

    def _few(self, distinct: int) -> Callable[[int, Demand], Demand]:
        """Gives each demand one of `distinct` requests."""
        few = Random(self._seed).sample(self._shapes, min(distinct, len(self._shapes)))  # noqa: S311 - a benchmark, seeded

        def change(number: int, demand: Demand) -> Demand:
            pods = Pods(shape=few[number % len(few)], count=1)
            return msgspec.structs.replace(demand, unit=(pods,))

        return change

    def _microseconds(
        self,
        *,
        sites: int = _USUAL_SITES,
        nodes: int = _USUAL_NODES,
        change: Callable[[int, Demand], Demand] | None = None,
    ) -> float:
        random = Random(self._seed)  # noqa: S311 - a benchmark, seeded
        fleet = Fleet(site(number, nodes, self._forms, random) for number in range(sites))
        asked = list(demands(self._shapes, self._decisions, random))
        if change is not None:
            asked = [change(number, demand) for number, demand in enumerate(asked)]
        names = sorted(fleet.slot_of)
        seconds = 0.0
        for number, demand in enumerate(asked):
            begun = thread_time()
            fleet.assume(demand, choose(demand, fleet, now=NOW))
            seconds += thread_time() - begun
            if number % _REPORT_EVERY == 0:
                report = next_report(fleet.facts_of(random.choice(names)), random)
                begun = thread_time()
                fleet.upsert(report)
                seconds += thread_time() - begun
        return seconds / len(asked) * _MICROSECONDS


class _ExtraRule(Cordoned):
    """A copy of an existing rule, which counts as another one."""

    def __init__(self, number: int) -> None:
        self.number = number
