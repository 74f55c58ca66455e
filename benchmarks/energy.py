"""Energy: experiments on public jobs and carbon intensities, against published policies.

`forecasts` says how good forecasts are; `gaia` lets jobs wait on one grid; `clusters` places them
in five zones with little capacity; `latency` moves services rarely; `guangzhou` runs a trace over
the national hubs; `grid` sheds load. docs/experiments.md has method, baselines and figures.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks._energy import clusters, forecasts, gaia, grid, guangzhou, latency

_Rows = Callable[[Path | None, int], list[dict[str, object]]]
_EXPERIMENTS: dict[str, _Rows] = {
    "clusters": clusters.rows,
    "forecasts": forecasts.rows,
    "grid": grid.rows,
    "guangzhou": guangzhou.rows,
    "latency": latency.rows,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument(
        "experiment",
        nargs="?",
        choices=sorted([*_EXPERIMENTS, "gaia"]),
        help="which one (default: all)",
    )
    parser.add_argument(
        "--zone",
        default=gaia.ZONE,
        metavar="ZONE",
        help="the grid of `gaia` (default: %(default)s)",
    )
    parser.add_argument(
        "--first-hour",
        type=int,
        default=gaia.FIRST_HOUR,
        metavar="N",
        help="of the year, at which `gaia` begins (default: %(default)s)",
    )


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """The rows of one experiment, or of all.

    Raises:
        FileNotFoundError: the data set is missing.
        ValueError: the data cannot be read.
    """

    def of_gaia(data: Path | None, _seed: int) -> list[dict[str, object]]:
        return gaia.rows(data, zone=arguments.zone, first_hour=arguments.first_hour)

    experiments = {**_EXPERIMENTS, "gaia": of_gaia}
    chosen = [arguments.experiment] if arguments.experiment else sorted(experiments)
    return [
        {"experiment": name, **row}
        for name in chosen
        for row in experiments[name](arguments.data, arguments.seed)
    ]
