"""`kapok simulate`: replays a trace of real pods through the placement code."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import msgspec

from scheduler.cli.support.arguments import EXIT_GOOD, EXIT_USAGE, UsageError, add_output_option
from scheduler.cli.support.output import print_error, print_json
from scheduler.hub.schema.yaml_documents import YamlDocumentError, load_documents
from scheduler.model.decode import NotReadable, decode
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.policy import Placement, PlacementPolicy, PolicySpec, Preset, Strategy
from scheduler.runtime.clock import SystemClock
from scheduler.simulation.trace.kapok import UnsupportedTracePolicy
from scheduler.simulation.trace.reading import BadTrace, read_nodes, read_pods
from scheduler.simulation.trace.report import as_json, format_text, write_assignments
from scheduler.simulation.trace.simulate import BASELINES, ProgressCallback, Trace, simulate

_STRATEGIES = tuple(name for name in get_args(Strategy) if name != "Duplicated")
_PRESETS = get_args(Preset)
_PROGRESS_STEP_RATIO = 0.25  # share of a run between two progress lines, without a terminal

_DESCRIPTION = """Groups the machines of a trace into sites and replays its pods in time: a pod
arrives at its creation_time, the placement code chooses a site, the site binds the pod to the best
fitting node and GPU cards, and the pod leaves at its deletion_time. A pod that fits nowhere waits;
a pod that leaves before it was placed counts as refused, with the reason. A pod needs num_gpu cards
with gpu_milli thousandths free on each.

The same trace is then replayed with two baselines: round-robin, and sum-of-free, which takes the
site with the largest sum of free capacity, as multi-cluster schedulers do. wrong_fits counts how
often the chosen site could not hold the pod."""

_EPILOG = """files: CSV with a header, as in the openb trace of Alibaba (2023):
  nodes: sn,cpu_milli,memory_mib,gpu,model
  pods:  name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,…,creation_time,deletion_time
         times are in seconds, an empty deletion_time means never; gpu_spec lists the GPU models
         that the pod accepts, separated by | (empty: any)
--assignments writes pod,site,node,gpus,start,end: gpus are indexes of the node's cards, separated
  by ; and end is the second at which the capacity is free again (empty: never)
allocation in the JSON output: peak, and mean over time, as ratios of the capacity of all nodes

examples:
  kapok simulate --nodes nodes.csv --pods pods.csv --sites 20
  kapok simulate --nodes nodes.csv --pods pods.csv --sites 20 --policy Aggregated -o json
  kapok simulate --nodes nodes.csv --pods pods.csv --sites 50 --seed 1 --assignments placed.csv

Exit code: 0 the trace was replayed, 2 wrong usage or unreadable files."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok simulate`."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument(
        "--nodes", type=Path, required=True, metavar="FILE", help="machines of the trace, CSV"
    )
    parser.add_argument(
        "--pods", type=Path, required=True, metavar="FILE", help="pods of the trace, CSV"
    )
    parser.add_argument(
        "--sites", type=int, required=True, metavar="N", help="number of sites to group nodes into"
    )
    parser.add_argument(
        "--policy",
        default="CostOptimal",
        metavar="FILE|PRESET",
        help="a file with a PlacementPolicy in YAML, or a strategy or preset: "
        f"{', '.join((*_STRATEGIES, *_PRESETS))} (default: %(default)s)",
    )
    parser.add_argument(
        "--assignments", type=Path, metavar="CSV", help="write where each pod ran into this file"
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="shuffle the machines with this seed before grouping (default: group by hardware)",
    )
    parser.add_argument(
        "--stretch",
        type=float,
        default=1.0,
        metavar="F",
        help="let every pod stay F times as long, for a higher load (default: %(default)g)",
    )
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Replays the trace and prints the result."""
    try:
        policy = read_policy(arguments.policy)
        _check_folder_exists(arguments.assignments)
        trace = Trace(
            nodes=read_nodes(arguments.nodes),
            pods=read_pods(arguments.pods),
            site_count=arguments.sites,
            seed=arguments.seed,
            stretch=arguments.stretch,
        )
        with _show_progress() as progress:
            comparison = simulate(trace, policy, clock=SystemClock(), progress=progress)
        if arguments.assignments is not None:
            write_assignments(arguments.assignments, comparison.kapok, comparison.site_names)
    except OSError as error:
        print_error("simulate", f"{error.filename}: {error.strerror}")
        return EXIT_USAGE
    except (BadTrace, UnsupportedTracePolicy, NotReadable, UsageError, ValueError) as error:
        print_error("simulate", error)
        return EXIT_USAGE
    if arguments.output == "json":
        print_json(as_json(comparison))
    else:
        sys.stdout.write(format_text(comparison))
    return EXIT_GOOD


def read_policy(text: str) -> PlacementPolicy:
    """A policy by the name of a strategy or preset, or from a file.

    Raises:
        NotReadable: the file holds an invalid PlacementPolicy.
        OSError: the file cannot be read.
        UsageError: `text` names no policy, or the file holds no PlacementPolicy.
    """
    metadata = Metadata(name=text, namespace="trace")
    for field, names in (("strategy", _STRATEGIES), ("preset", _PRESETS)):
        if text in names:
            placement = msgspec.convert({field: text}, Placement)
            return PlacementPolicy(metadata=metadata, spec=PolicySpec(placement=placement))
    path = Path(text)
    if not path.is_file():
        known = ", ".join((*_STRATEGIES, *_PRESETS))
        raise UsageError(f"--policy {text}: no such file, and none of {known}")
    return _read_policy_file(path)


def _read_policy_file(path: Path) -> PlacementPolicy:
    try:
        raw = next((one.value for one in load_documents(path.read_text(encoding="utf-8"))), None)
    except (YamlDocumentError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}, {error}") from None
    if not isinstance(raw, Mapping) or raw.get("kind") != "PlacementPolicy":
        raise UsageError(f"{path}: holds no PlacementPolicy")
    own = raw.get("metadata")
    metadata: dict[str, Any] = {**(own if isinstance(own, Mapping) else {}), "namespace": "trace"}
    metadata.setdefault("name", path.stem)
    found = decode({**raw, "metadata": metadata})
    if not isinstance(found, PlacementPolicy):
        raise UsageError(f"{path}: holds no PlacementPolicy")
    return found


def _check_folder_exists(file: Path | None) -> None:
    """Refuses a file in a missing folder before a minute of work, not after it."""
    if file is not None and not file.parent.is_dir():
        raise UsageError(f"--assignments {file}: the folder {file.parent} does not exist")


@contextmanager
def _show_progress() -> Iterator[ProgressCallback]:
    """A progress bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _print_progress
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import Progress  # noqa: PLC0415 - only a terminal needs it

    with Progress(console=Console(stderr=True), transient=True) as bars:
        tasks = {name: bars.add_task(name, start=False) for name in ("kapok", *BASELINES)}

        def advance(name: str, done: int, total: int) -> None:
            if done == 1:  # the run begins; before, its elapsed time must not count
                bars.start_task(tasks[name])
            bars.update(tasks[name], completed=done, total=total)

        yield advance


def _print_progress(name: str, done: int, total: int) -> None:
    step = max(1, int(total * _PROGRESS_STEP_RATIO))
    if done % step == 0 or done == total:
        sys.stderr.write(f"{name}: {done} of {total} pods\n")
