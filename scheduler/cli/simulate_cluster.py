"""`kapok simulate-cluster`: simulates nodes and controllers of member clusters, by their APIs."""

import argparse
import asyncio
import logging
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    UsageError,
    seconds_between,
)
from scheduler.cli.support.hub_access import HubNotFound, existing_kubeconfig
from scheduler.cli.support.output import print_error
from scheduler.cli.support.signals import leaf_errors, run_until_signalled
from scheduler.control.ports.hub import HubError
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.log_limit import limit_log_rate
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

_DAY_SECONDS = 86_400

_DESCRIPTION = """Simulates what a member cluster has besides its API server: the controllers of
Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob, HorizontalPodAutoscaler and
PodDisruptionBudget (its status), the scheduler, the kubelets, node leases, eviction, garbage
collection, and the deletion of namespaces. It is an ordinary API client: it works with
`kapok serve-api` and with a bare kube-apiserver. One process simulates many clusters. It does not
touch nodes that a real kubelet reports.

A pod is bound to the best fitting node that its requests, selectors, affinity, tolerations and
spread constraints allow. A pod that fits nowhere stays Pending, with a condition and an Event that
say why."""

_EPILOG = """nodes: --nodes FILE describes the nodes of the clusters,
  nodes:
  - {name: edge, count: 3, labels: {zone: a}, allocatable: {cpu: "8", memory: 32Gi, pods: "110"},
     taints: [{key: dedicated, value: health, effect: NoSchedule}], architecture: arm64}
or --spec FILE describes several clusters; their kubeconfigs are relative to the file:
  clusters:
  - {kubeconfig: members/nansha.yaml, context: nansha, startSeconds: 1, nodes: [...],
     loads: [{namespace: health, name: web, usage: {cpu: 2500m}}]}
Without both, the existing nodes of the cluster are simulated; if it has none, three nodes of 8 CPU
and 32Gi.

annotation of a pod (or of a workload's pod template):
  kapok.dev/simulated-seconds: "90"    the pod runs 90 s, then succeeds (restartPolicy Never or
                                       OnFailure)
annotation of a HorizontalPodAutoscaler or of its target, instead of `loads`:
  kapok.dev/simulated-load: "cpu=2500m,memory=4Gi"    what all of its pods use together; without
                                       a load, the autoscaler changes nothing
faults, by an annotation that may be set and removed at any time:
{faults}

examples:
  kapok serve-api --data-dir ./members --name nansha --name tianhe
  kapok simulate-cluster --kubeconfig ./members/nansha/kubeconfig ./members/tianhe/kubeconfig
  kapok simulate-cluster --kubeconfig member.yaml --nodes nodes.yaml --start-seconds 2
  kubectl annotate node edge-0 kapok.dev/simulate-fault=not-ready    the node becomes NotReady
  kubectl annotate node edge-0 kapok.dev/simulate-fault-             the node is Ready again

Ctrl-C or SIGTERM stops it. Exit code: 0 stopped, 1 a cluster refused, 2 wrong usage."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok simulate-cluster`."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG.replace("{faults}", _format_faults())
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        nargs="+",
        default=[],
        help="kubeconfigs of the clusters to simulate",
    )
    parser.add_argument(
        "--context",
        metavar="NAME",
        nargs="+",
        default=[],
        help="one context per kubeconfig, or several of one kubeconfig (default: current context)",
    )
    description = parser.add_mutually_exclusive_group()
    description.add_argument(
        "--nodes",
        metavar="FILE",
        nargs="+",
        default=[],
        help="files that describe nodes: one for all clusters, or one per cluster",
    )
    description.add_argument(
        "--spec", metavar="FILE", help="file that describes clusters with their nodes"
    )
    defaults, seconds = SimulationPace(), seconds_between(0, _DAY_SECONDS)
    parser.add_argument(
        "--start-seconds",
        type=seconds,
        default=defaults.start_seconds,
        metavar="S",
        help="time from the binding of a pod until it is Ready (default: %(default)s)",
    )
    parser.add_argument(
        "--stop-seconds",
        type=seconds,
        default=defaults.stop_seconds,
        metavar="S",
        help="time from the deletion of a pod until it is gone, at most its grace period "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--job-seconds",
        type=seconds,
        default=defaults.job_seconds,
        metavar="S",
        help="time that a pod of a Job runs, unless its annotation says another one "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="seed of the jitter in back-offs (default: random)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log every retry")


def run(arguments: argparse.Namespace) -> int:
    """Simulates the clusters until SIGINT or SIGTERM."""
    level = logging.INFO if arguments.verbose else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(message)s")
    limit_log_rate(SystemClock())
    try:
        members = _read_members(arguments)
    except (InvalidDescription, HubNotFound, UsageError) as error:
        print_error("simulate-cluster", error)
        return EXIT_USAGE
    work = run_members(members, clock=SystemClock(), seed=arguments.seed, on_ready=_print_ready)
    try:
        asyncio.run(run_until_signalled(work, name="members"))
    except BaseExceptionGroup as group:
        expected, unexpected = group.split(HubError)
        if unexpected is not None or expected is None:
            raise
        for cause in leaf_errors(expected):
            print_error("simulate-cluster", cause)
        return EXIT_NO
    return EXIT_GOOD


def _print_ready(name: str) -> None:
    sys.stderr.write(f"{name}: simulating its nodes and controllers\n")
    sys.stderr.flush()


def _read_members(arguments: argparse.Namespace) -> list[MemberSettings]:
    pace = SimulationPace(
        start_seconds=arguments.start_seconds,
        stop_seconds=arguments.stop_seconds,
        job_seconds=arguments.job_seconds,
    )
    if arguments.spec:
        if arguments.kubeconfig or arguments.context:
            raise UsageError(
                "--spec names its own kubeconfigs and contexts; leave out --kubeconfig and "
                "--context"
            )
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
    kubeconfig = _member_kubeconfig(description.kubeconfig)
    return MemberSettings(
        name=description.context or _name_of(kubeconfig),
        kubeconfig=kubeconfig,
        context=description.context,
        nodes=description.nodes,
        loads=description.loads,
        pace=replace(pace, start_seconds=start_seconds),
    )


def _cluster_targets(kubeconfigs: list[str], contexts: list[str]) -> list[tuple[Path, str | None]]:
    files = [_member_kubeconfig(text) for text in kubeconfigs]
    if not files:
        raise UsageError("name at least one cluster: --kubeconfig FILE, or --spec FILE")
    if not contexts:
        return [(file, None) for file in files]
    if len(files) == 1:
        return [(files[0], context) for context in contexts]
    if len(files) != len(contexts):
        raise UsageError(
            f"{len(files)} kubeconfigs but {len(contexts)} contexts; name one context for each "
            "kubeconfig"
        )
    return list(zip(files, contexts, strict=True))


def _member_kubeconfig(file: str) -> Path:
    return existing_kubeconfig(file, fix="`kapok serve-api` prints the kubeconfig of each cluster")


def _name_of(kubeconfig: Path) -> str:
    """A name for the log: `kapok serve-api` writes NAME/kubeconfig, others often NAME.yaml."""
    return kubeconfig.parent.name if kubeconfig.stem == "kubeconfig" else kubeconfig.stem


def _read_node_files(files: list[str], cluster_count: int) -> list[list[NodeDescription]]:
    if not files:
        return [[] for _ in range(cluster_count)]
    if len(files) not in (1, cluster_count):
        raise UsageError(
            f"{len(files)} files of nodes for {cluster_count} clusters; name one for all or "
            "one for each"
        )
    read = [read_nodes(Path(file)) for file in files]
    return read * cluster_count if len(read) == 1 else read


def _format_faults() -> str:
    lines = [f"  {faults.FAULT_ANNOTATION}: NAME"]
    for name, effect in faults.FAULT_DESCRIPTIONS.items():
        wrapped = textwrap.wrap(effect, 80)
        lines += [f"    {name:<11} {wrapped[0]}", *(f"{'':16}{line}" for line in wrapped[1:])]
    return "\n".join(lines)
