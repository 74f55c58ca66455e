"""Solves one batch with DeDe (OSDI 2025) and writes the parts of replicas after some seconds.

It runs in an environment of its own that has `dede` and nothing of ours:

    PYTHON benchmarks/_dede_peer.py IN.npz OUT.npz SECONDS...

IN holds `free`, `requests`, `replicas` and `profit`, as `BatchInstance` has them; OUT the parts of
replicas [times, workloads, sites] after the last whole iteration before each time, how many
iterations that were, and the seconds that building its subproblems took. Times begin after that.
"""

import contextlib
import sys
import time
from typing import Any

import dede  # type: ignore[import-not-found]
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def main() -> None:
    """Reads, solves, writes."""
    source, target, *times = sys.argv[1:]
    with np.load(source) as given:
        free, requests, replicas, profit = (
            given[name] for name in ("free", "requests", "replicas", "profit")
        )
    begun = time.monotonic()
    with contextlib.redirect_stdout(sys.stderr):
        problem, parts = _problem(free, requests, replicas, profit)
        problem.solve(num_cpus=1, num_iter=0, solver=dede.ECOS)
        built = time.monotonic()
        placed, iterations = _run(problem, parts, [float(each) for each in times])
    np.savez(target, placed=placed, iterations=iterations, build_seconds=built - begun)


def _problem(free: Floats, requests: Floats, replicas: Ints, profit: Floats) -> tuple[Any, Any]:
    """The linear program; capacities and profits are scaled to about 1, as ADMM needs."""
    sites, workloads = len(free), len(replicas)
    scale = np.maximum(free.max(axis=0), 1.0)
    most = profit[np.isfinite(profit)].max(initial=1.0)
    gain = np.where(np.isfinite(profit), profit, -most) / most  # a forbidden pair only loses
    parts = dede.Variable((sites, workloads), nonneg=True)
    limits = [
        parts[site, :] @ (requests[:, number] / scale[number]) <= free[site, number] / scale[number]
        for site in range(sites)
        for number in range(free.shape[1])
    ]
    wanted = [parts[:, one].sum() <= float(replicas[one]) for one in range(workloads)]
    value = sum(parts[site, :] @ gain[:, site] for site in range(sites))
    return dede.Problem(dede.Maximize(value), limits, wanted), parts


def _run(problem: Any, parts: Any, times: list[float]) -> tuple[Floats, Ints]:  # noqa: ANN401 - dede
    """Iterates until the last time; what there is after each."""
    begun = time.monotonic()
    found = [(np.zeros(parts.shape).T, 0) for _ in times]
    count = 0
    while time.monotonic() - begun < max(times):
        problem.solve(num_cpus=1, num_iter=1, solver=dede.ECOS)
        count += 1
        passed = time.monotonic() - begun
        now = _value_of(problem, parts)
        found = [
            (now, count) if passed <= limit else before
            for before, limit in zip(found, times, strict=True)
        ]
    return np.array([each for each, _ in found]), np.array([each for _, each in found])


def _value_of(problem: Any, parts: Any) -> Floats:  # noqa: ANN401 - classes of dede
    """The solution of the demands' side; [workloads, sites]."""
    import ray  # type: ignore[import-not-found]  # noqa: PLC0415 - dede has started it

    value: Floats = np.zeros(parts.size)
    probs = problem._subprob_cache.probs  # noqa: SLF001 - it has no public way to the solution
    indices = ray.get([each.get_solution_idx_d.remote() for each in probs])
    flat = [pair for group in indices for pair in group]
    for (variable, position), amount in zip(flat, problem.sol_d, strict=True):
        if variable == parts.id:
            value[position] = amount
    return value.reshape(parts.shape, order="F").T


if __name__ == "__main__":
    main()
