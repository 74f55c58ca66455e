"""Batches: distance to the proven bound and to the linear program, time, gain over greedy.

Each family of instances (`_batch_families.py`) is a row. `lp_ratio` is the part of the optimum of
the whole linear program that was achieved, `bound_to_lp` our bound divided by it; both are null
where the program over all pairs is too large to solve beside. `--instance FILE` solves one from a
file, `--out FILE` writes its assignment. `--peer PYTHON` solves each instance with DeDe too, in the
environment of that interpreter (`_dede_peer.py`).
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._batch_families import FAMILIES
from benchmarks._instance import BatchFile, instance_of, read_batch_file
from scheduler.model.canonical import canonical_digest
from scheduler.placement.batch.batch import solve_batch
from scheduler.placement.batch.instance import (
    BatchInstance,
    BatchSolution,
    hottest_site,
    profit_of,
)
from scheduler.placement.batch.rounding import fill_remaining, round_down, solve_greedily
from scheduler.placement.solver.highs import solve_packing
from scheduler.runtime.clock import SystemClock

_MAX_PROGRAM_PAIRS = 100_000
"""The whole linear program of so many pairs takes HiGHS some seconds."""
_PEER = Path(__file__).with_name("_dede_peer.py")
_PEER_SECONDS = (1, 5, 30)
_PEER_TIMEOUT_SECONDS = 1800
_DEFAULT_SIZES = ("1000x100", "10000x1000")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument(
        "--size",
        nargs="+",
        default=list(_DEFAULT_SIZES),
        metavar="WORKLOADSxSITES",
        help="workloads x sites (default: 1000x100 10000x1000)",
    )
    parser.add_argument(
        "--family",
        nargs="+",
        choices=FAMILIES,
        default=list(FAMILIES),
        help="families of instances (default: all; of 10000x1000 only random, unless named)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=2,
        metavar="N",
        help="number of seeds, from --seed on (default: %(default)s)",
    )
    parser.add_argument(
        "--instance", type=Path, metavar="FILE", help="solve the instance in this file"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the assignment of --instance to this file"
    )
    parser.add_argument(
        "--peer",
        metavar="PYTHON",
        help="solve with DeDe too: an interpreter whose environment has the package dede",
    )


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row per size and seed, or one for the instance.

    Raises:
        ValueError: the instance cannot be read.
    """
    if arguments.instance is not None:
        file = read_batch_file(arguments.instance)
        batch, row = _solve(instance_of(file), arguments.seed)
        if arguments.out is not None:
            arguments.out.write_text(json.dumps(_assignment(file, batch)), encoding="utf-8")
        return [row]
    found: list[dict[str, object]] = []
    for text in arguments.size:
        size = _parse_size(text)
        is_large = size[0] * size[1] > _MAX_PROGRAM_PAIRS
        is_default = arguments.family == list(FAMILIES)
        families = ["random"] if is_large and is_default else arguments.family
        for family in families:
            for seed in range(arguments.seed, arguments.seed + arguments.seeds):
                instance = FAMILIES[family](*size, seed)
                batch, row = _solve(instance, seed)
                peer = _solve_by_peer(arguments.peer, instance, batch) if arguments.peer else {}
                found.append({"family": family} | row | peer)
    return found


def _parse_size(text: str) -> tuple[int, int]:
    workloads, _, sites = text.partition("x")
    return int(workloads), int(sites)


def _solve(instance: BatchInstance, seed: int) -> tuple[BatchSolution, dict[str, object]]:
    clock = SystemClock()
    begun = clock.monotonic()
    batch = solve_batch(instance)
    seconds = clock.monotonic() - begun
    greedily = profit_of(instance, solve_greedily(instance))
    optimum = _linear_optimum(instance)
    site, before, after = hottest_site(instance, batch.placed)
    return batch, {
        "workloads": len(instance.replicas),
        "sites": len(instance.free),
        "seed": seed,
        "achieved_ratio": round(batch.ratio, 5),
        "bound_ratio": round(batch.ratio, 5),
        "lp_ratio": _ratio(batch.achieved, optimum),
        "bound_to_lp": _ratio(batch.bound, optimum),
        "greedy_ratio": round(greedily / batch.bound, 5) if batch.bound else 1.0,
        "seconds": round(seconds, 3),
        "achieved": round(batch.achieved, 3),
        "bound": round(batch.bound, 3),
        "hottest_site": {"site": site, "before": round(before, 3), "after": round(after, 3)},
        "prices": canonical_digest(np.round(batch.prices, 9).tolist()),
        "method": batch.method,
    }


def _solve_by_peer(
    interpreter: str, instance: BatchInstance, batch: BatchSolution
) -> dict[str, object]:
    """The part of our bound that DeDe achieves after some seconds, rounded as ours is.

    What it gives is rounded to whole replicas, and what is left is filled best-first, by our own
    functions; so with no iteration the ratio is that of filling alone.

    Raises:
        ValueError: it does not run in that environment.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(
            source,
            free=instance.free,
            requests=instance.requests,
            replicas=instance.replicas,
            profit=instance.profit,
        )
        words = [interpreter, str(_PEER), str(source), str(target), *map(str, _PEER_SECONDS)]
        done = subprocess.run(  # noqa: S603 - the interpreter that the caller names
            words,
            check=False,
            capture_output=True,
            text=True,
            timeout=_PEER_TIMEOUT_SECONDS,
            env={"PATH": "/usr/bin:/bin", "HOME": folder, "RAY_AUTH_MODE": "disabled"},
        )
        if done.returncode:
            raise ValueError(f"--peer {interpreter}: {done.stderr.strip()[-500:]}")
        with np.load(target) as answer:
            placed, iterations = answer["placed"], answer["iterations"].tolist()
            seconds = round(float(answer["build_seconds"]), 3)
    ratios = [_rounded_ratio(instance, each, batch) for each in placed]
    return {
        "peer": "dede",
        "peer_build_seconds": seconds,
        "peer_ratios": dict(zip(map(str, _PEER_SECONDS), ratios, strict=True)),
        "peer_iterations": dict(zip(map(str, _PEER_SECONDS), iterations, strict=True)),
    }


def _rounded_ratio(
    instance: BatchInstance, parts: NDArray[np.float64], batch: BatchSolution
) -> float | None:
    allowed = np.where(np.isfinite(instance.profit), np.maximum(parts, 0.0), 0.0)
    most = np.maximum(instance.replicas, 1) / np.maximum(allowed.sum(axis=1), 1e-9)
    allowed *= np.minimum(most, 1.0)[:, None]
    workloads, sites = np.nonzero(allowed > 0)
    whole = round_down(instance, workloads, sites, allowed[workloads, sites])
    fill_remaining(instance, whole, np.zeros_like(batch.prices))
    return _ratio(profit_of(instance, whole), batch.bound)


def _ratio(amount: float, optimum: float | None) -> float | None:
    return round(amount / optimum, 5) if optimum else None


def _linear_optimum(instance: BatchInstance) -> float | None:
    """The optimum of the linear program over all pairs of profit; None: it is too large."""
    workloads, sites = np.nonzero(instance.profit > 0)
    if not 0 < len(workloads) <= _MAX_PROGRAM_PAIRS:
        return None
    return solve_packing(instance, workloads, sites).value


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
