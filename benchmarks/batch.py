"""Batches: gap to the proven bound, time, and gain over best-score greedy.

Generated instances request 1.3 times the capacity of the scarcest of three resources, and 30 % of
all pairs of workload and site are forbidden. `--instance FILE` solves one from a file, `--out FILE`
writes its assignment.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._instance import BatchFile, instance_of, read_batch_file
from scheduler.model.canonical import canonical_digest
from scheduler.placement.batch.batch import (
    BatchInstance,
    BatchSolution,
    profit_of,
    solve_batch,
    solve_greedily,
)
from scheduler.runtime.clock import SystemClock

_OVERSUBSCRIBED = 1.3
_FORBIDDEN = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument(
        "--size",
        nargs="+",
        default=["1000x100", "10000x1000"],
        metavar="WORKLOADSxSITES",
        help="workloads x sites (default: 1000x100 10000x1000)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=5,
        metavar="N",
        help="number of seeds, from --seed on (default: %(default)s)",
    )
    parser.add_argument(
        "--instance", type=Path, metavar="FILE", help="solve the instance in this file"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the assignment of --instance to this file"
    )


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row per size and seed, or one for the instance.

    Raises:
        ValueError: the instance cannot be read.
    """
    if arguments.instance is not None:
        found = read_batch_file(arguments.instance)
        batch, row = _solve(instance_of(found), arguments.seed)
        if arguments.out is not None:
            arguments.out.write_text(json.dumps(_assignment(found, batch)), encoding="utf-8")
        return [row]
    return [
        _solve(
            random_instance(*_parse_size(text), arguments.seed + number), arguments.seed + number
        )[1]
        for text in arguments.size
        for number in range(arguments.seeds)
    ]


def _parse_size(text: str) -> tuple[int, int]:
    workloads, _, sites = text.partition("x")
    return int(workloads), int(sites)


def _solve(instance: BatchInstance, seed: int) -> tuple[BatchSolution, dict[str, object]]:
    clock = SystemClock()
    begun = clock.monotonic()
    batch = solve_batch(instance)
    seconds = clock.monotonic() - begun
    achieved = profit_of(instance, solve_greedily(instance))
    return batch, {
        "workloads": len(instance.replicas),
        "sites": len(instance.free),
        "seed": seed,
        "bound_ratio": round(batch.ratio, 5),
        "greedy_ratio": round(achieved / batch.bound, 5) if batch.bound else 1.0,
        "seconds": round(seconds, 3),
        "achieved": round(batch.achieved, 3),
        "bound": round(batch.bound, 3),
        "prices": canonical_digest(np.round(batch.prices, 9).tolist()),
        "method": batch.method,
    }


def random_instance(workloads: int, sites: int, seed: int) -> BatchInstance:
    """An instance in which three resources are scarce."""
    random = np.random.default_rng(seed)
    requests = np.stack(
        [
            random.choice([250, 500, 1000, 2000, 4000], workloads),
            random.choice([256, 512, 1024, 4096, 8192], workloads),
            random.integers(1, 4, workloads),
        ],
        axis=1,
    ).astype(np.float64)
    replicas = random.integers(1, 11, workloads)
    wanted = (requests * replicas[:, None]).sum(axis=0)
    share = random.dirichlet(np.full(sites, 2.0), 3).T
    free = np.floor(share * wanted * (1 / _OVERSUBSCRIBED) * np.array([1.0, 1.15, 1.3]))
    value = random.uniform(0.5, 3.0, workloads) * requests[:, 0] / 1000 + 0.2
    cost = random.uniform(0.05, 0.5, (workloads, sites)) * (requests[:, :1] / 1000)
    profit = value[:, None] - cost
    profit[random.random((workloads, sites)) < _FORBIDDEN] = -np.inf
    return BatchInstance(
        free=free, requests=requests, replicas=replicas.astype(np.int64), profit=profit
    )


def _assignment(found: BatchFile, batch: BatchSolution) -> dict[str, Any]:
    pairs = [
        {
            "workload": found.workloads[workload].name,
            "site": found.sites[site].name,
            "replicas": int(batch.placed[workload, site]),
        }
        for workload, site in np.argwhere(batch.placed > 0).tolist()
    ]
    return {"assignment": pairs, "achieved": batch.achieved, "bound": batch.bound}
