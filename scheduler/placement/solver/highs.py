"""HiGHS in two small forms: an integer program for spreads, a linear program for batches.

Method, threads, seed and limits are fixed, and limits count nodes instead of seconds, so that the
same numbers give the same answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.placement.solver.dual_ascent import PackingProblem

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SOLVER = "highs"
_NESTED_SEARCHES = (
    "mip_allow_restart",
    "mip_heuristic_run_rins",
    "mip_heuristic_run_rens",
    "mip_heuristic_run_root_reduced_cost",
)
SEED = 0
THREADS = 1


@dataclass(frozen=True, slots=True)
class LinearTerm:
    """A variable with its coefficient in a constraint."""

    variable: int
    factor: float


@dataclass(frozen=True, slots=True)
class ProgramSolution:
    """What the solver found.

    Attributes:
        values: whole numbers by variable.
        is_optimal: whether nothing better exists.
        gap: relative distance to the proven bound.
    """

    values: Ints
    is_optimal: bool
    gap: float


class IntegerProgram:
    """Minimises a linear cost of integer variables within linear constraints."""

    def __init__(self) -> None:
        self._cost: list[float] = []
        self._lower: list[float] = []
        self._upper: list[float] = []
        self._rows: list[tuple[list[LinearTerm], float, float]] = []

    def add_variable(self, lower: int, upper: int, cost: float) -> int:
        """Adds an integer variable and returns its number."""
        self._cost.append(cost)
        self._lower.append(lower)
        self._upper.append(upper)
        return len(self._cost) - 1

    def add_constraint(
        self, terms: Sequence[LinearTerm], lower: float | None, upper: float | None
    ) -> None:
        """Adds a constraint; None: no limit on that side."""
        self._rows.append(
            (
                list(terms),
                -np.inf if lower is None else float(lower),
                np.inf if upper is None else float(upper),
            )
        )

    def solve(self, *, max_nodes: int, relative_gap: float = 0.0) -> ProgramSolution | None:
        """The best values; None: no values satisfy all constraints, or none were found in time.

        Args:
            max_nodes: of the search; the best values by then are returned.
            relative_gap: values as close as this to the bound are good enough.
        """
        highs = quiet_highs()
        highs.setOptionValue("mip_rel_gap", relative_gap)
        if relative_gap:  # searches inside the search cost more than they gain here
            for option in _NESTED_SEARCHES:
                highs.setOptionValue(option, False)  # noqa: FBT003 - the solver has no keywords
        highs.setOptionValue("mip_abs_gap", 1e-9)
        highs.setOptionValue("mip_max_nodes", max_nodes)
        highs.passModel(self._model())
        highs.run()
        info = highs.getInfo()
        values = np.array(highs.getSolution().col_value)
        if len(values) != len(self._cost) or not np.isfinite(info.objective_function_value):
            return None
        if info.primal_solution_status != _FEASIBLE_STATUS:
            return None
        status = highs.modelStatusToString(highs.getModelStatus())
        gap = max(0.0, float(info.mip_gap)) if np.isfinite(info.mip_gap) else 1.0
        return ProgramSolution(
            np.rint(values).astype(np.int64),
            status == "Optimal",
            0.0 if status == "Optimal" else gap,
        )

    def _model(self) -> Any:  # noqa: ANN401 - highspy has no types
        import highspy  # noqa: PLC0415 - a third of a second that most commands never need

        model = highspy.HighsLp()
        model.num_col_ = len(self._cost)
        model.num_row_ = len(self._rows)
        model.col_cost_ = np.array(self._cost)
        model.col_lower_ = np.array(self._lower, np.float64)
        model.col_upper_ = np.array(self._upper, np.float64)
        model.row_lower_ = np.array([least for _, least, _ in self._rows])
        model.row_upper_ = np.array([most for _, _, most in self._rows])
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lengths = [len(terms) for terms, _, _ in self._rows]
        model.a_matrix_.start_ = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        flat = [term for terms, _, _ in self._rows for term in terms]
        model.a_matrix_.index_ = np.array([term.variable for term in flat], np.int32)
        model.a_matrix_.value_ = np.array([term.factor for term in flat])
        model.integrality_ = [highspy.HighsVarType.kInteger] * len(self._cost)
        return model


@dataclass(frozen=True, slots=True)
class PackingSolution:
    """The solution of a packing program.

    Attributes:
        amounts: replicas of each pair; [pairs].
        prices: what one more unit of each resource is worth; [sites, resources].
        value: profit of the amounts.
    """

    amounts: Floats
    prices: Floats
    value: float


def solve_packing(problem: PackingProblem, workloads: Ints, sites: Ints) -> PackingSolution:
    """The linear program over some (workload, site) pairs, by interior point.

    Capacity rows are scaled by what is free, so that bytes and millicores weigh alike.

    Args:
        problem: requests, replicas, free capacity and profit.
        workloads: the workload of each pair; [pairs].
        sites: the site of each pair; [pairs].
    """
    free = np.maximum(problem.free, 1e-9)
    profit = problem.profit[workloads, sites]
    highs = quiet_highs()
    highs.setOptionValue("solver", "ipm")
    highs.setOptionValue("run_crossover", "off")
    highs.passModel(_packing_model(problem, workloads, sites, profit, free))
    highs.run()
    solution = highs.getSolution()
    amounts = np.maximum(np.array(solution.col_value), 0.0)
    duals = np.array(solution.row_dual)[len(problem.replicas) :].reshape(free.shape)
    return PackingSolution(amounts, np.maximum(-duals, 0.0) / free, float(amounts @ profit))


def solve_integer_packing(
    problem: PackingProblem, workloads: Ints, sites: Ints, *, max_nodes: int
) -> Ints:
    """The best whole replicas for some (workload, site) pairs; [pairs].

    Args:
        problem: requests, replicas, free capacity and profit.
        workloads: the workload of each pair; [pairs].
        sites: the site of each pair; [pairs].
        max_nodes: of the search; the best values by then are returned.
    """
    program = IntegerProgram()
    for workload, site in zip(workloads.tolist(), sites.tolist(), strict=True):
        max_replicas = int(problem.replicas[workload])
        program.add_variable(0, max_replicas, -float(problem.profit[workload, site]))
    for workload in np.unique(workloads).tolist():
        terms = [LinearTerm(pair, 1.0) for pair in np.flatnonzero(workloads == workload).tolist()]
        program.add_constraint(terms, None, int(problem.replicas[workload]))
    shares = problem.requests[workloads] / np.maximum(problem.free[sites], 1e-9)
    for site in np.unique(sites).tolist():
        pairs = np.flatnonzero(sites == site)
        for resource, free in enumerate(problem.free[site].tolist()):
            asked = pairs[shares[pairs, resource] > 0].tolist()
            terms = [
                LinearTerm(pair, min(float(shares[pair, resource]), _MAX_SHARE_OF_FREE))
                for pair in asked
            ]
            program.add_constraint(terms, None, 1.0 if free > 0 else 0.0)
    solution = program.solve(max_nodes=max_nodes)
    nothing = np.zeros(len(workloads), np.int64)
    return nothing if solution is None else solution.values


_MAX_SHARE_OF_FREE = 2.0
"""Requests above what is free are cut to this share of it, so that coefficients stay small."""


def _packing_model(
    problem: PackingProblem, workloads: Ints, sites: Ints, profit: Floats, free: Floats
) -> Any:  # noqa: ANN401 - highspy has no types
    import highspy  # noqa: PLC0415 - a third of a second that most commands never need

    count, resources = len(problem.replicas), free.shape[1]
    pairs = len(workloads)
    model = highspy.HighsLp()
    model.num_col_ = pairs
    model.num_row_ = count + free.size
    model.col_cost_ = -profit
    model.col_lower_ = np.zeros(pairs)
    model.col_upper_ = problem.replicas[workloads].astype(np.float64)
    model.row_lower_ = np.full(count + free.size, -np.inf)
    model.row_upper_ = np.concatenate([problem.replicas.astype(np.float64), np.ones(free.size)])
    rows = np.empty((pairs, 1 + resources), np.int32)
    rows[:, 0] = workloads
    rows[:, 1:] = count + sites[:, None] * resources + np.arange(resources)
    values = np.empty((pairs, 1 + resources))
    values[:, 0] = 1.0
    values[:, 1:] = problem.requests[workloads] / free[sites]
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_ = np.arange(pairs + 1, dtype=np.int32) * (1 + resources)
    model.a_matrix_.index_ = rows.ravel()
    model.a_matrix_.value_ = values.ravel()
    return model


_FEASIBLE_STATUS = 2


def solver_version() -> str:
    """The version of HiGHS."""
    return str(quiet_highs().version())


def quiet_highs() -> Any:  # noqa: ANN401 - highspy has no types
    """A HiGHS solver that prints nothing, on one thread, with a fixed seed."""
    import highspy  # noqa: PLC0415 - a third of a second that most commands never need

    # highspy.Highs() prints a banner to stdout, which must hold one JSON object; _Highs does not.
    highs = highspy._core._Highs()  # noqa: SLF001 - see above
    highs.setOptionValue("output_flag", False)  # noqa: FBT003 - the solver has no keywords
    highs.setOptionValue("threads", THREADS)
    highs.setOptionValue("random_seed", SEED)
    return highs
