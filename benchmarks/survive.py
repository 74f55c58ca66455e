"""Survival: seconds to judge the loss of every site, and of every province, on one thread.

The fleet is that of the benchmark of what-ifs: machines and pod sizes of the public trace, each
workload a Deployment whose manifest is read again for each answer. `cpu_seconds` is the time of the
processor, which other work on the machine does not lengthen. `again_…` is the judgement after one
site in a hundred has reported less room: only the losses that this touches are proved again.
"""

import argparse
import resource
from collections import Counter

import msgspec

from benchmarks._whatif_city import fleet_copy
from scheduler.runtime.clock import SystemClock
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.scenario.changes import LoseSites, LossKind
from scheduler.whatif.survival.answer import ask_survival, targets_of
from scheduler.whatif.survival.losses import ALL_VALUES
from scheduler.whatif.survival.touched import KnownLoss

_SITES_PER_REPORT = 100
_KINDS: tuple[tuple[LossKind, ...], ...] = (("site",), ("province",), ("site", "province"))


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


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row per size and kind of loss.

    Raises:
        FileNotFoundError: the data set is missing.
        ValueError: a size cannot be read.
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
        found += [_row(copy, kinds) for kinds in _KINDS]
    return found


def _row(copy: FleetCopy, kinds: tuple[LossKind, ...]) -> dict[str, object]:
    losses = [LoseSites(kind=kind, value=ALL_VALUES) for kind in kinds]
    clock = SystemClock()
    begun, used = clock.monotonic(), _cpu_seconds()
    answer = ask_survival(copy, losses, with_plans=True)
    seconds, cpu_seconds = clock.monotonic() - begun, _cpu_seconds() - used
    known = [
        KnownLoss(of=one["of"], digest=one["digest"], targets=tuple(targets_of(one)))
        for one in answer["losses"]
        if one["survives"]
    ]
    used = _cpu_seconds()
    again = ask_survival(_with_reports(copy), losses, with_plans=True, known=known)
    again_cpu_seconds = _cpu_seconds() - used
    survives = Counter(one["survives"] for one in answer["losses"])
    return {
        "losses_of": "+".join(kinds),
        "sites": len(copy.facts),
        "workloads": len(copy.workloads),
        "losses": len(answer["losses"]),
        "displaced": sum(one["workloads"] for one in answer["losses"]),
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "again_cpu_seconds": round(again_cpu_seconds, 3),
        "again_losses": sum(not one.get("unchanged") for one in again["losses"]),
        "survived": survives[True],
        "not_survived": survives[False],
        "unknown": survives[None],
    }


def _with_reports(copy: FleetCopy) -> FleetCopy:
    """The copy after some sites have reported that their first node is full."""
    changed = []
    for facts in copy.facts[::_SITES_PER_REPORT]:
        first, *others = facts.status.node_classes
        rows = (dict.fromkeys(first.free[0], 0), *first.free[1:])
        classes = (msgspec.structs.replace(first, free=rows), *others)
        status = msgspec.structs.replace(facts.status, node_classes=classes)
        changed.append(msgspec.structs.replace(facts, status=status))
    return copy.with_facts(changed)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
