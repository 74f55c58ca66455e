"""Energy: experiments on public jobs and carbon intensities, against published policies.

`gaia` lets jobs wait on one grid; `clusters` places them in five zones with little capacity.
docs/experiments.md has method, baselines and figures.
"""

import argparse

from benchmarks._energy import clusters, gaia, grid, guangzhou, latency

_EXPERIMENTS = {
    "clusters": clusters.rows,
    "gaia": gaia.rows,
    "grid": grid.rows,
    "guangzhou": guangzhou.rows,
    "latency": latency.rows,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument(
        "experiment",
        nargs="?",
        choices=sorted(_EXPERIMENTS),
        help="which one (default: all)",
    )


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """The rows of one experiment, or of all.

    Raises:
        FileNotFoundError: the data set is missing.
        ValueError: the data cannot be read.
    """
    chosen = [arguments.experiment] if arguments.experiment else sorted(_EXPERIMENTS)
    return [
        {"experiment": name, **row}
        for name in chosen
        for row in _EXPERIMENTS[name](arguments.data, arguments.seed)
    ]
