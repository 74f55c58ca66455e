"""`kapok simulate-cluster`: plays the controllers of member clusters through their APIs."""

import argparse
import asyncio
import logging
import signal
import sys
import textwrap
from pathlib import Path

from scheduler.control.ports.hub import HubError
from scheduler.runtime.clock import SystemClock
from scheduler.simulation.cluster import faults
from scheduler.simulation.cluster.description import (
    ClusterDescription,
    InvalidDescription,
    NodeDescription,
    read_clusters,
    read_nodes,
)
from scheduler.simulation.cluster.kubelet import SimulationPace
from scheduler.simulation.cluster.member import MemberSettings, run_members

EXIT_GOOD, EXIT_NO, EXIT_USAGE = 0, 1, 2
_DAY_SECONDS = 86_400

_DESCRIPTION = """Plays what a member cluster has besides its API server: the controllers of
Deployment, ReplicaSet, StatefulSet, DaemonSet, Job and CronJob, the binder, the kubelets, node
leases, eviction, garbage collection, the end of namespaces. It is an ordinary API client: it works
on `kapok serve-api` and on a bare kube-apiserver. One process plays many clusters. Nodes that a
real kubelet reports are left alone.

Pods are bound node by node (requests, selectors, affinity, taints, spread), best fit first. A pod
that fits nowhere stays Pending, with a condition and an Event that say why."""

_EPILOG = """nodes: --nodes FILE describes the nodes of the clusters,
  nodes:
  - {name: edge, count: 3, labels: {zone: a}, allocatable: {cpu: "8", memory: 32Gi, pods: "110"},
     taints: [{key: dedicated, value: health, effect: NoSchedule}], architecture: arm64}
or --spec FILE several clusters at once; kubeconfigs are relative to the file:
  clusters:
  - {kubeconfig: members/nansha.yaml, context: nansha, startSeconds: 1, nodes: [...]}
Without either, the nodes that are there are played; if there are none, three of 8 CPU, 32Gi.

on a pod (or a workload's pod template):
  kapok.dev/simulated-seconds: "90"    runs so long, then succeeds (Jobs, restartPolicy Never)
faults, as annotations that may come and go while it runs:
{faults}

examples:
  kapok serve-api --data-dir ./members --name nansha --name tianhe
  kapok simulate-cluster --kubeconfig ./members/nansha/kubeconfig ./members/tianhe/kubeconfig
  kapok simulate-cluster --kubeconfig member.yaml --nodes nodes.yaml --start-seconds 2
  kubectl annotate node edge-0 kapok.dev/simulate-fault=not-ready    the node falls silent
  kubectl annotate node edge-0 kapok.dev/simulate-fault-             and is back"""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok simulate-cluster`."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG.replace("{faults}", _format_faults())
    parser.add_argument(
        "--kubeconfig", metavar="FILE", nargs="+", default=[], help="clusters to play, one per file"
    )
    parser.add_argument(
        "--context",
        metavar="NAME",
        nargs="+",
        default=[],
        help="contexts: one per kubeconfig, or several of one file (default: the current one)",
    )
    description = parser.add_mutually_exclusive_group()
    description.add_argument(
        "--nodes",
        metavar="FILE",
        nargs="+",
        default=[],
        help="node descriptions: one for all clusters, or one per cluster",
    )
    description.add_argument(
        "--spec", metavar="FILE", help="clusters with their nodes, in one file"
    )
    defaults = SimulationPace()
    parser.add_argument(
        "--start-seconds",
        type=_parse_seconds,
        default=defaults.start_seconds,
        metavar="S",
        help="from bound to Ready (default: %(default)s)",
    )
    parser.add_argument(
        "--stop-seconds",
        type=_parse_seconds,
        default=defaults.stop_seconds,
        metavar="S",
        help="from deleted to gone, at most the pod's grace period (default: %(default)s)",
    )
    parser.add_argument(
        "--job-seconds",
        type=_parse_seconds,
        default=defaults.job_seconds,
        metavar="S",
        help="how long a Job's pod runs unless it says so itself (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="of the jitter in back-offs (default: by chance)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tell of every retry")


def run(arguments: argparse.Namespace) -> int:
    """Plays the clusters until it is told to end."""
    level = logging.INFO if arguments.verbose else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(message)s")
    try:
        members = _read_members(arguments)
    except (InvalidDescription, _UsageError) as error:
        sys.stderr.write(f"kapok simulate-cluster: {error}\n")
        return EXIT_USAGE
    try:
        asyncio.run(_run_until_signalled(members, arguments.seed))
    except BaseExceptionGroup as group:
        expected, unexpected = group.split(HubError)
        if unexpected is not None or expected is None:
            raise
        for cause in _leaf_errors(expected):
            sys.stderr.write(f"kapok simulate-cluster: {cause}\n")
        return EXIT_NO
    return EXIT_GOOD


class _UsageError(ValueError):
    """The arguments do not go together."""


async def _run_until_signalled(members: list[MemberSettings], seed: int | None) -> None:
    """Runs until SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    async with asyncio.TaskGroup() as group:
        playing = group.create_task(
            run_members(members, clock=SystemClock(), seed=seed, on_ready=_print_ready)
        )
        ended = group.create_task(told.wait())
        await asyncio.wait([playing, ended], return_when=asyncio.FIRST_COMPLETED)
        playing.cancel()
        ended.cancel()


def _print_ready(name: str) -> None:
    sys.stderr.write(f"{name}: playing its controllers\n")
    sys.stderr.flush()


def _leaf_errors(group: BaseExceptionGroup[HubError]) -> list[HubError]:
    found: list[HubError] = []
    for error in group.exceptions:
        found += _leaf_errors(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _read_members(arguments: argparse.Namespace) -> list[MemberSettings]:
    pace = SimulationPace(arguments.start_seconds, arguments.stop_seconds, arguments.job_seconds)
    if arguments.spec:
        if arguments.kubeconfig or arguments.context:
            raise _UsageError("--spec names its own kubeconfigs; leave out --kubeconfig")
        return [_member_settings(one, pace) for one in read_clusters(Path(arguments.spec))]
    targets = _cluster_targets(arguments.kubeconfig, arguments.context)
    nodes = _read_node_files(arguments.nodes, len(targets))
    return [
        MemberSettings(
            name=context or _name_of(kubeconfig),
            kubeconfig=kubeconfig,
            context=context,
            nodes=described,
            pace=pace,
        )
        for (kubeconfig, context), described in zip(targets, nodes, strict=True)
    ]


def _member_settings(description: ClusterDescription, pace: SimulationPace) -> MemberSettings:
    start_seconds = (
        pace.start_seconds if description.start_seconds is None else description.start_seconds
    )
    kubeconfig = _check_kubeconfig(description.kubeconfig)
    return MemberSettings(
        name=description.context or _name_of(kubeconfig),
        kubeconfig=kubeconfig,
        context=description.context,
        nodes=description.nodes,
        pace=SimulationPace(start_seconds, pace.stop_seconds, pace.job_seconds),
    )


def _cluster_targets(kubeconfigs: list[str], contexts: list[str]) -> list[tuple[Path, str | None]]:
    files = [_check_kubeconfig(text) for text in kubeconfigs]
    if not files:
        raise _UsageError("name at least one cluster: --kubeconfig FILE, or --spec FILE")
    if not contexts:
        return [(file, None) for file in files]
    if len(files) == 1:
        return [(files[0], context) for context in contexts]
    if len(files) != len(contexts):
        raise _UsageError(
            f"{len(files)} kubeconfigs and {len(contexts)} contexts; give one context for each"
        )
    return list(zip(files, contexts, strict=True))


def _name_of(kubeconfig: Path) -> str:
    """`serve-api` keeps each cluster's kubeconfig in a folder of the cluster's name."""
    return kubeconfig.parent.name if kubeconfig.stem == "kubeconfig" else kubeconfig.stem


def _check_kubeconfig(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise _UsageError(f"{text}: no such kubeconfig")
    return path


def _read_node_files(files: list[str], cluster_count: int) -> list[list[NodeDescription]]:
    if not files:
        return [[] for _ in range(cluster_count)]
    if len(files) not in (1, cluster_count):
        raise _UsageError(
            f"{len(files)} files of nodes for {cluster_count} clusters; give one for all or "
            "one for each"
        )
    read = [read_nodes(Path(file)) for file in files]
    return read * cluster_count if len(read) == 1 else read


def _parse_seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= _DAY_SECONDS:
        raise argparse.ArgumentTypeError(f"{text}: write seconds, 0 to {_DAY_SECONDS}")
    return value


def _format_faults() -> str:
    lines = [f"  {faults.FAULT_ANNOTATION}: NAME"]
    for name, effect in faults.FAULT_DESCRIPTIONS.items():
        wrapped = textwrap.wrap(effect, 80)
        lines += [f"    {name:<11} {wrapped[0]}", *(f"{'':16}{line}" for line in wrapped[1:])]
    return "\n".join(lines)
