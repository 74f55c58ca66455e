"""`kapok simulate`: a trace of real pods through the placement code."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import msgspec
import yaml

from scheduler.model.decode import NotReadable, decode
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.policy import Placement, PlacementPolicy, PolicySpec, Preset, Strategy
from scheduler.runtime.clock import SystemClock
from scheduler.simulation.trace.kapok import UnsupportedTracePolicy
from scheduler.simulation.trace.reading import BadTrace, read_nodes, read_pods
from scheduler.simulation.trace.report import as_json, format_text, write_assignments
from scheduler.simulation.trace.simulate import BASELINES, ProgressCallback, Trace, simulate

EXIT_GOOD, EXIT_USAGE = 0, 2

_STRATEGIES = tuple(name for name in get_args(Strategy) if name != "Duplicated")
_PRESETS = get_args(Preset)
_PROGRESS_STEP_RATIO = 0.25  # of a run, where there is no terminal for a bar

_DESCRIPTION = """Groups the machines of a trace into sites and plays its pods in time: a pod
arrives at its creation_time, the placement code chooses its site, the site binds it best fit to a
node and GPU cards, and it leaves at its deletion_time. What fits nowhere waits; what is gone before
it was placed is refused, with the reason. A pod needs num_gpu cards with gpu_milli thousandths free
on each. The same trace is then played with two baselines: round-robin, and the site with the
largest sum of free capacity, as schedulers of clusters do it; wrong_fits counts how often the
chosen site could not hold the pod."""

_EPILOG = """files: CSV with a header, as in the openb trace of Alibaba (2023):
  nodes: sn,cpu_milli,memory_mib,gpu,model
  pods:  name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,…,creation_time,deletion_time
         (times in seconds; an empty deletion_time is never; gpu_spec: models that will do, with |)
--assignments writes pod,site,node,gpus,start,end: gpus are indexes of cards on the node, separated
  by ; and end is the second from which the room is free again (empty: never)
allocation: peak, and mean over time, as ratios of the capacity of all nodes

examples:
  kapok simulate --nodes nodes.csv --pods pods.csv --sites 20
  kapok simulate --nodes nodes.csv --pods pods.csv --sites 20 --policy Aggregated -o json
  kapok simulate --nodes nodes.csv --pods pods.csv --sites 50 --seed 1 --assignments placed.csv"""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok simulate`."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument("--nodes", type=Path, required=True, metavar="FILE", help="machines, CSV")
    parser.add_argument("--pods", type=Path, required=True, metavar="FILE", help="pods, CSV")
    parser.add_argument("--sites", type=int, required=True, metavar="N", help="how many sites")
    parser.add_argument(
        "--policy",
        default="CostOptimal",
        metavar="FILE|PRESET",
        help="a PlacementPolicy in YAML, a preset or a strategy: "
        f"{', '.join((*_STRATEGIES, *_PRESETS))} (default: %(default)s)",
    )
    parser.add_argument("--assignments", type=Path, metavar="CSV", help="writes where pods ran")
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="shuffles the machines before grouping (default: grouped by hardware)",
    )
    parser.add_argument(
        "--stretch",
        type=float,
        default=1.0,
        metavar="F",
        help="every pod stays F times as long, to see the machines under load (default: 1)",
    )
    parser.add_argument("-o", "--output", choices=["json"], help="one JSON object on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Plays the trace and prints what became of it."""
    try:
        policy = read_policy(arguments.policy)
        _check_folder_exists(arguments.assignments)
        trace = Trace(
            read_nodes(arguments.nodes),
            read_pods(arguments.pods),
            arguments.sites,
            arguments.seed,
            arguments.stretch,
        )
        with _show_progress() as progress:
            played = simulate(trace, policy, clock=SystemClock(), progress=progress)
        if arguments.assignments is not None:
            write_assignments(arguments.assignments, played.kapok, played.site_names)
    except OSError as error:
        return _print_usage_error(f"{error.filename}: {error.strerror}")
    except (BadTrace, UnsupportedTracePolicy, NotReadable, _UsageError, ValueError) as error:
        return _print_usage_error(str(error))
    if arguments.output == "json":
        sys.stdout.write(json.dumps(as_json(played)) + "\n")
    else:
        sys.stdout.write(format_text(played))
    return EXIT_GOOD


class _UsageError(ValueError):
    """An argument names nothing that can be used."""


def read_policy(text: str) -> PlacementPolicy:
    """A policy by the name of a strategy or preset, or from a file.

    Raises:
        NotReadable: the file holds something else than a good PlacementPolicy.
        OSError: the file cannot be read.
    """
    metadata = Metadata(name=text, namespace="trace")
    for field, names in (("strategy", _STRATEGIES), ("preset", _PRESETS)):
        if text in names:
            placement = msgspec.convert({field: text}, Placement)
            return PlacementPolicy(metadata=metadata, spec=PolicySpec(placement=placement))
    path = Path(text)
    if not path.is_file():
        known = ", ".join((*_STRATEGIES, *_PRESETS))
        raise _UsageError(f"--policy {text}: no such file, and none of {known}")
    return _read_policy_file(path)


def _read_policy_file(path: Path) -> PlacementPolicy:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _UsageError(f"{path}: not YAML: {error}") from error
    if not isinstance(raw, Mapping) or raw.get("kind") != "PlacementPolicy":
        raise _UsageError(f"{path}: holds no PlacementPolicy")
    metadata: dict[str, Any] = {**(raw.get("metadata") or {}), "namespace": "trace"}
    metadata.setdefault("name", path.stem)
    found = decode({**raw, "metadata": metadata})
    if not isinstance(found, PlacementPolicy):
        raise _UsageError(f"{path}: holds no PlacementPolicy")
    return found


def _check_folder_exists(file: Path | None) -> None:
    """A minute of work must not end in a folder that is not there."""
    if file is not None and not file.parent.is_dir():
        raise _UsageError(f"--assignments {file}: no such folder as {file.parent}")


def _print_usage_error(message: str) -> int:
    sys.stderr.write(f"kapok simulate: {message}\n")
    return EXIT_USAGE


@contextmanager
def _show_progress() -> Iterator[ProgressCallback]:
    """A bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _print_progress
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import Progress as Bars  # noqa: PLC0415 - only a terminal needs it

    with Bars(console=Console(stderr=True), transient=True) as bars:
        tasks = {name: bars.add_task(name, start=False) for name in ("kapok", *BASELINES)}

        def advance(name: str, done: int, whole: int) -> None:
            if done == 1:
                bars.start_task(tasks[name])
            bars.update(tasks[name], completed=done, total=whole)

        yield advance


def _print_progress(name: str, done: int, total: int) -> None:
    step = max(1, int(total * _PROGRESS_STEP_RATIO))
    if done % step == 0 or done == total:
        sys.stderr.write(f"{name}: {done} of {total} pods\n")
