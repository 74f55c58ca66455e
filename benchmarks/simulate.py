"""A public trace through the placement code: placed pods and speed, compared with baselines.

Runs the code of `kapok simulate` on openb-gpu-v2023, as recorded and with longer pods, so that the
machines fill up and a wrong choice has a cost.
"""

import argparse
import resource
from pathlib import Path

from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.policy import Placement, PlacementPolicy, PolicySpec
from scheduler.runtime.clock import SystemClock
from scheduler.simulation.trace.reading import read_nodes, read_pods
from scheduler.simulation.trace.report import TraceComparison
from scheduler.simulation.trace.runner import TraceOutcome
from scheduler.simulation.trace.simulate import Trace, simulate

_FOLDER = "openb-gpu-v2023"
_NODES, _PODS = "openb_node_list_all_node.csv", "openb_pod_list_default.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument(
        "--sites", type=int, nargs="+", default=[20, 100], metavar="N", help="default: 20 100"
    )
    parser.add_argument(
        "--stretch",
        type=float,
        nargs="+",
        default=[1.0, 10_000.0],
        metavar="F",
        help="let pods stay F times as long (default: 1 10000)",
    )


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row per number of sites and stretch.

    Raises:
        FileNotFoundError: the data set is missing.
    """
    folder = _folder(arguments.data)
    nodes, pods = read_nodes(folder / _NODES), read_pods(folder / _PODS)
    # Seed 0 means grouping by hardware; any other seed shuffles the machines.
    seed = arguments.seed or None
    return [
        _row(
            simulate(
                Trace(nodes=nodes, pods=pods, site_count=sites, seed=seed, stretch=stretch),
                _policy(),
                clock=SystemClock(),
                progress=lambda _name, _done, _whole: None,
            )
        )
        for sites in arguments.sites
        for stretch in arguments.stretch
    ]


def _folder(data: Path | None) -> Path:
    if data is None:
        raise FileNotFoundError(f"give --data DIR or KAPOK_DATA_DIR; it holds {_FOLDER}/")
    return data / _FOLDER


def _policy() -> PlacementPolicy:
    metadata = Metadata(name="CostOptimal", namespace="trace")
    placement = Placement(strategy="CostOptimal")
    return PlacementPolicy(metadata=metadata, spec=PolicySpec(placement=placement))


def _row(run: TraceComparison) -> dict[str, object]:
    row: dict[str, object] = {
        "sites": len(run.site_names),
        "stretch": run.stretch,
        **_outcome_figures("", run.kapok),
        "decisions_per_second": round(run.timings.decisions / run.timings.deciding_seconds, 1),
        "decisions": run.timings.decisions,
        "gpu_peak_ratio": round(run.kapok.usage.ratios()["gpu"]["peak"], 4),
        "seconds": round(run.elapsed_seconds, 2),
        "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    for name, outcome in run.baselines.items():
        row |= _outcome_figures(name.replace("-", "_") + "_", outcome)
    return row


def _outcome_figures(prefix: str, outcome: TraceOutcome) -> dict[str, object]:
    return {
        f"{prefix}placed": len(outcome.assignments),
        f"{prefix}refused": outcome.refused.total(),
        f"{prefix}wrong_fits": outcome.wrong_fits,
    }
