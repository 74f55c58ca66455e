"""Single decisions: number per second, 99th percentile, and memory of a fleet, by mix of demands.

Every decision is committed before the next; after ten decisions the site with the most orders that
it has not answered reports them as bound, with other free capacity, as if pods came and went.
All rules and costs are on. Times are CPU seconds of the one thread, so that neighbours on the
machine do not count. The baseline decides by sums of free capacity without reasons, as
multi-cluster schedulers do; it serves for comparison only. `--check` decides 1,000 demands again by
brute force. The collector of garbage is set as in the scheduler.

Each mix (`--mix`, see `_mixes.py`) has rows of its own, in which no two demands are alike.
`machine_factor` says how fast the machine was meanwhile: what the baseline decides in a second at
100 sites, right before and after the row, over the 13,000 of the machine that the aims are set for.

`explained_ms` is the time of the full explanation of one decision, made on request; `ledger_ms` is
the time to record a decision durably, so that it can be explained later.
"""

import argparse
import gc
import resource
from collections import Counter
from random import Random
from statistics import quantiles
from time import thread_time
from typing import NamedTuple

from benchmarks._baseline import Baseline
from benchmarks._check import count_mismatches
from benchmarks._city import (
    NOW,
    MachineType,
    demands,
    next_report,
    read_machines,
    read_shapes,
    site,
)
from benchmarks._equal_steps import COPIES, StepLedger, TimedSteps, count_different, job_classes
from benchmarks._equal_steps import MIX as EQUAL_MIX
from benchmarks._ledger_cost import recording_milliseconds
from benchmarks._mixes import MIXES, mixed_demands, with_real_nodes
from scheduler.model.canonical import canonical_json
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from scheduler.placement.fit.capacity_cache import CapacityCache
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.garbage import collect_less

_MILLISECONDS = 1000
_REPORT_EVERY = 10
_BASELINE_DECISIONS = 30
_RECORDED = 200
_WARM_UP = 100
_STEP_EVERY = 30
"""As many steps of equal workloads as single decisions by this number; a step decides 500."""
_STEP_WARM_UP, _CHECKED_STEPS = 5, 4
_REFERENCE_SITES = 100
_REFERENCE_DECISIONS = 1000
_REFERENCE_PER_SECOND = 13_000
"""What the baseline decides in a second at 100 sites on the machine that the aims are set for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument(
        "--sites",
        type=int,
        nargs="+",
        default=[100, 1000, 10_000],
        metavar="N",
        help="sizes of the fleet (default: 100 1000 10000)",
    )
    parser.add_argument(
        "--nodes", type=int, default=20, metavar="N", help="nodes per site (default: %(default)s)"
    )
    parser.add_argument(
        "--decisions",
        type=int,
        default=6000,
        metavar="N",
        help="decisions per size (default: %(default)s)",
    )
    parser.add_argument(
        "--placed", type=int, default=0, metavar="N", help="workloads placed before the measurement"
    )
    parser.add_argument(
        "--mix",
        nargs="+",
        default=[*MIXES, EQUAL_MIX],
        choices=[*MIXES, EQUAL_MIX],
        metavar="MIX",
        help=f"mixes of demands, all by default: {' '.join(MIXES)} {EQUAL_MIX}",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=20.0,
        metavar="S",
        help="a row ends after so many seconds, if not before (default: %(default)s)",
    )
    parser.add_argument("--check", action="store_true", help="check 1,000 decisions by brute force")
    parser.add_argument("--interpreted", action="store_true", help="do not use the compiled kernel")


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row per size of the fleet and mix of demands.

    Raises:
        FileNotFoundError: the public trace is missing.
    """
    trace = _Trace(read_shapes(arguments.data), read_machines(arguments.data))
    speed = _MachineSpeed(arguments, trace)
    found = []
    for sites in arguments.sites:
        for mix in arguments.mix:
            row_of = _equal_row if mix == EQUAL_MIX else _row
            found.append(row_of(arguments, sites, mix, trace, speed))
            gc.unfreeze()  # or the fleet of this row would stay
            gc.collect()
    return found


class _Trace(NamedTuple):
    """The pods and machines of the public trace."""

    shapes: list[PodShape]
    forms: list[MachineType]


class _MachineSpeed:
    """How fast the machine is, by what the baseline decides at a small fleet."""

    def __init__(self, arguments: argparse.Namespace, trace: _Trace) -> None:
        random = Random(arguments.seed)  # noqa: S311 - a benchmark, seeded
        nodes, forms = arguments.nodes, trace.forms
        places = [site(number, nodes, forms, random) for number in range(_REFERENCE_SITES)]
        self._baseline = Baseline(Fleet(places))
        self._asked = list(demands(trace.shapes, _REFERENCE_DECISIONS, random))

    def per_second(self) -> float:
        """What the baseline decides in a second now."""
        return self._baseline.per_second(self._asked)


def _row(
    arguments: argparse.Namespace, sites: int, mix: str, trace: _Trace, speed: _MachineSpeed
) -> dict[str, object]:
    random = Random(arguments.seed)  # noqa: S311 - a benchmark, seeded
    shapes, forms = trace
    places = [site(number, arguments.nodes, forms, random) for number in range(sites)]
    if mix != "plain":
        places = [with_real_nodes(each, random) for each in places]
    fleet = Fleet(places, may_compile=not arguments.interpreted)
    asked = list(mixed_demands(mix, shapes, arguments.decisions + _WARM_UP, random))
    _place_initial(fleet, arguments.placed, shapes, random)
    for demand in asked[:_WARM_UP]:
        choose(demand, fleet, now=NOW)
    collect_less()
    run = _TimedDecisions(fleet, random)
    before = speed.per_second()
    for demand in asked[_WARM_UP:]:
        run.decide(demand)
        if run.seconds >= arguments.seconds:
            break
    factor = (before + speed.per_second()) / 2 / _REFERENCE_PER_SECOND
    row = {"mix": mix, **run.figures(sites), "machine_factor": round(factor, 3)}
    baseline = Baseline(fleet).per_second(asked[:_BASELINE_DECISIONS])
    row |= {
        "baseline_decisions_per_second": round(baseline, 2),
        "ratio": round(run.per_second / baseline, 2),
        "explained_ms": _explanation_milliseconds(fleet, asked[_WARM_UP]),
        "ledger_ms": round(recording_milliseconds(fleet, asked[:_RECORDED], random), 3),
        "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if arguments.check:
        row["mismatches"] = count_mismatches(fleet, asked[100:1100], now=NOW)
    return row


def _equal_row(
    arguments: argparse.Namespace, sites: int, mix: str, trace: _Trace, speed: _MachineSpeed
) -> dict[str, object]:
    """The row of equal workloads that wait together: see `_equal_steps.py`."""
    random = Random(arguments.seed)  # noqa: S311 - a benchmark, seeded
    shapes, forms = trace
    places = [site(number, arguments.nodes, forms, random) for number in range(sites)]
    fleet = Fleet(places, may_compile=not arguments.interpreted)
    _place_initial(fleet, arguments.placed, shapes, random)
    steps = max(2, arguments.decisions // _STEP_EVERY)
    classes = list(job_classes(shapes, steps + _STEP_WARM_UP, random))
    with StepLedger(fleet) as ledger:
        for demand in classes[:_STEP_WARM_UP]:
            TimedSteps(fleet, random, ledger).decide(demand)
        ledger.waited_seconds.clear()
        collect_less()
        run = TimedSteps(fleet, random, ledger)
        before = speed.per_second()
        for demand in classes[_STEP_WARM_UP:]:
            run.decide(demand)
            if run.seconds >= arguments.seconds:
                break
    factor = (before + speed.per_second()) / 2 / _REFERENCE_PER_SECOND
    baseline = Baseline(fleet).per_second(classes[:_BASELINE_DECISIONS])
    row: dict[str, object] = {
        "mix": mix,
        "sites": sites,
        "kernel": "compiled" if fleet.is_compiled else "interpreted",
        "decisions": len(run.steps) * COPIES,
        "records": len(run.steps),
        "placed": run.placed,
        "decisions_per_second": round(run.per_second, 1),
        "p50_ms": round(_percentile(run.steps, 50), 4),
        "p99_ms": round(_percentile(run.steps, 99), 4),
        "durable_ms": round(_percentile(ledger.waited_seconds, 50), 4),
        "machine_factor": round(factor, 3),
        "baseline_decisions_per_second": round(baseline, 2),
        "ratio": round(run.per_second / baseline, 2),
        "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if arguments.check:
        row["mismatches"] = sum(count_different(fleet, each) for each in classes[:_CHECKED_STEPS])
    return row


class _TimedDecisions:
    """Makes decisions one after the other, and times them.

    Attributes:
        seconds: what all of them took so far, commits and reports included.
    """

    def __init__(self, fleet: Fleet, random: Random) -> None:
        self._fleet = fleet
        self._capacity_cache = fleet.cache(CapacityCache)
        self._random = random
        self._warm: list[float] = []
        self._cold: list[float] = []
        self.seconds = 0.0
        self._placed = 0
        self._ordered: Counter[str] = Counter()

    def decide(self, demand: Demand) -> None:
        """One decision, its commit, and every tenth time a report."""
        fleet = self._fleet
        misses = self._capacity_cache.misses
        begun = thread_time()
        decision = choose(demand, fleet, now=NOW)
        taken = thread_time() - begun
        fleet.assume(demand, decision)
        done = thread_time() - begun
        self._ordered.update([each.site for each in decision.assignment])
        self._placed += decision.phase == "Placed"
        # The kernel remembers no capacities: all its decisions are cold.
        is_cold = fleet.is_compiled or self._capacity_cache.misses > misses
        (self._cold if is_cold else self._warm).append(taken)
        if (len(self._warm) + len(self._cold)) % _REPORT_EVERY == 0:
            report = next_report(fleet.facts_of(self._next_to_report()), self._random)
            begun = thread_time()
            fleet.upsert(report)
            done += thread_time() - begun
        self.seconds += done

    def _next_to_report(self) -> str:
        """The site with the most orders that it has not answered."""
        if not self._ordered:
            return self._random.choice(list(self._fleet.slot_of))
        name = self._ordered.most_common(1)[0][0]
        del self._ordered[name]
        return name

    @property
    def _lookup_count(self) -> int:
        """How often capacities of a shape were looked up; the kernel looks none up."""
        return self._capacity_cache.hits + self._capacity_cache.misses

    @property
    def per_second(self) -> float:
        """Decisions per second, commits and reports included."""
        return (len(self._warm) + len(self._cold)) / self.seconds

    def figures(self, sites: int) -> dict[str, object]:
        """The figures of the row that only this benchmark has."""
        every = [*self._warm, *self._cold]
        return {
            "sites": sites,
            "kernel": "compiled" if self._fleet.is_compiled else "interpreted",
            "decisions": len(every),
            "placed": self._placed,
            "decisions_per_second": round(self.per_second, 1),
            "p50_ms": round(_percentile(every, 50), 4),
            "p99_ms": round(_percentile(every, 99), 4),
            "cold_p99_ms": round(_percentile(self._cold, 99), 4),
            "cache_hit_ratio": round(self._capacity_cache.hits / max(1, self._lookup_count), 3),
        }


def _percentile(seconds: list[float], percent: int) -> float:
    return quantiles(seconds, n=100)[percent - 1] * _MILLISECONDS if len(seconds) > 1 else 0.0


def _explanation_milliseconds(fleet: Fleet, demand: Demand) -> float:
    """Time of the full explanation of one decision, in milliseconds."""
    begun = thread_time()
    canonical_json(explain(demand, fleet, now=NOW, terms=DEFAULT_TERMS))
    return round((thread_time() - begun) * _MILLISECONDS, 2)


def _place_initial(fleet: Fleet, count: int, shapes: list[PodShape], random: Random) -> None:
    for demand in demands(shapes, count, random):
        fleet.assume(demand, choose(demand, fleet, now=NOW))
