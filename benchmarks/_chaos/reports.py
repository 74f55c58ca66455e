"""What a site says of its nodes and its orders, the truth or a lie."""

from collections.abc import Sequence
from typing import Any

from agents.protocol.index import IndexEcho
from agents.protocol.report import (
    FreeRow,
    OrderBoundPods,
    Report,
    ReportedExecutor,
    ReportedNodeClass,
)
from agents.protocol.status import OrderStatus, SiteStatusMessage
from benchmarks._chaos.cluster import GIB_PER_CORE, Cluster, Pods

LIES = {
    "capacity": "ten times the free cores",
    "epoch": "an index of an epoch that no leader has begun",
    "bound": "five bound pods more of each order, so that nothing seems on its way",
    "unbound": "no bound pods, so that all of it seems on its way",
    "orders": "orders of other sites and of no workload, all of them ready",
}
"""What a site may lie about, and what it says then."""

_API_KINDS = (
    "apps/v1/Deployment",
    "apps/v1/StatefulSet",
    "batch/v1/Job",
    "policy/v1/PodDisruptionBudget",
    "v1/Service",
)
_FALSE_GENERATION = 99


def make_report(
    cluster: Cluster,
    *,
    lies: str,
    foreign: Sequence[str],
    interval_seconds: float,
    **header: Any,  # noqa: ANN401 - the fields of the header
) -> Report:
    """The report of a site.

    Args:
        cluster: its nodes and pods.
        lies: what it lies about; "": nothing.
        foreign: orders that it does not have, and says that it runs.
        interval_seconds: time between two reports.
        header: the fields that every message has.
    """
    factor = 10 if lies == "capacity" else 1
    counts: dict[int, int] = {}
    for free in cluster.free_cores:
        counts[free] = counts.get(free, 0) + 1
    rows = tuple(
        FreeRow(
            count=count,
            resources={
                "cpu": str(free * factor),
                "memory": f"{(free + 1) * GIB_PER_CORE * factor}Gi",
                "pods": 100,
            },
        )
        for free, count in sorted(counts.items())
    )
    own = tuple(
        OrderBoundPods(id=order_id, generation=one.generation, bound=_bound(one, lies))
        for order_id, one in cluster.pods.items()
    )
    false = tuple(
        OrderBoundPods(id=order_id, generation=_FALSE_GENERATION, bound=1)
        for order_id in foreign
        if order_id not in cluster.pods
    )
    return Report(
        **header,
        node_classes=(ReportedNodeClass(architecture="amd64", free=rows),),
        api_kinds=_API_KINDS,
        orders=own + false,
        executor=ReportedExecutor(is_active=True),
        interval_seconds=interval_seconds,
    )


def make_status(
    cluster: Cluster,
    now: float,
    *,
    lies: str,
    foreign: Sequence[str],
    index: IndexEcho | None,
    **header: Any,  # noqa: ANN401 - the fields of the header
) -> SiteStatusMessage:
    """The status of a site; arguments as of `make_report`.

    Args:
        cluster: its nodes and pods.
        now: seconds since the start.
        lies: what it lies about; "": nothing.
        foreign: orders that it does not have, and says that it runs.
        index: the index that it works by.
        header: the fields that every message has, and those of a status about the index.
    """
    if lies == "epoch" and index is not None:
        index = IndexEcho(epoch=index.epoch + 1000, sequence=1, digest=index.digest)
    own = tuple(_state(order_id, one, now, lies) for order_id, one in cluster.pods.items())
    false = tuple(
        OrderStatus(
            id=order_id,
            generation=_FALSE_GENERATION,
            phase="Ready",
            applied_generation=_FALSE_GENERATION,
            desired=1,
            ready=1,
            bound=1,
        )
        for order_id in foreign
        if order_id not in cluster.pods
    )
    return SiteStatusMessage(index=index, orders=own + false, is_executing=True, **header)


def _bound(pods: Pods, lies: str) -> int:
    return {"bound": len(pods.nodes) + 5, "unbound": 0}.get(lies, len(pods.nodes))


def _state(order_id: str, pods: Pods, now: float, lies: str) -> OrderStatus:
    if pods.stops_at is not None:
        return OrderStatus(
            id=order_id,
            generation=pods.generation,
            phase="Withdrawing",
            bound=_bound(pods, lies),
        )
    if pods.ended:
        return OrderStatus(
            id=order_id,
            generation=pods.generation,
            phase="Finished",
            applied_generation=pods.generation,
            desired=pods.replicas,
            succeeded=pods.replicas,
            bound=0,
            finished="Succeeded",
        )
    ready = pods.ready(now)
    return OrderStatus(
        id=order_id,
        generation=pods.generation,
        phase="Ready" if ready == pods.replicas else "Applied",
        applied_generation=pods.generation,
        desired=pods.replicas,
        ready=ready,
        bound=_bound(pods, lies),
    )
