"""A fleet with running workloads as Deployments, for the benchmark of what-ifs."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec

from benchmarks._city import NOW, read_machines, read_shapes, site
from scheduler.model.kinds.kinds import SiteGrant, Workload
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.model.manifests.pods import PodShape
from scheduler.whatif.demands import DemandReader
from scheduler.whatif.fleet_copy import CopyObjects, FleetCopy
from scheduler.whatif.settling.settle import settle, waiting_tasks
from scheduler.whatif.settling.settled_fleet import open_fleet

_NAMESPACES = 50
_WAITING_OF = 100
"""Of so many workloads one is larger than any node, so that it waits."""


def fleet_copy(
    data: Path | None, *, sites: int, workloads: int, nodes: int, seed: int
) -> FleetCopy:
    """A copy in which nearly all workloads run where the engine has placed them.

    Raises:
        FileNotFoundError: the data set is missing.
    """
    random = Random(seed)  # noqa: S311 - a synthetic city, nothing secret
    machines, shapes = read_machines(data), read_shapes(data)
    facts = tuple(site(number, nodes, machines, random) for number in range(sites))
    grants = tuple(
        SiteGrant(metadata=Metadata(name=f"g-{one.name}"), spec=one.grants[0].spec) for one in facts
    )
    copy = FleetCopy(
        objects=CopyObjects(now=NOW, grants=grants),
        facts=facts,
        workloads=tuple(_workloads(shapes, workloads, random)),
    )
    return _placed(copy)


def _placed(copy: FleetCopy) -> FleetCopy:
    """The copy after the engine has placed what fits; what it placed is bound to no node yet."""
    reader = DemandReader(copy)
    settled = open_fleet(copy, reader, reader.read_all())
    settle(settled, list(waiting_tasks(settled)))
    return msgspec.structs.replace(
        copy,
        facts=tuple(settled.fleet.all_facts()),
        workloads=tuple(settled.workloads.values()),
    )


def _workloads(shapes: list[PodShape], count: int, random: Random) -> Iterator[Workload]:
    for number in range(count):
        shape, is_large = random.choice(shapes), not number % _WAITING_OF
        cpu = 1_000_000 if is_large else shape.requests["cpu"]
        requests = {"cpu": f"{cpu}m", "memory": str(shape.requests["memory"])}
        replicas = random.choice((1, 1, 2, 3))
        yield Workload(
            metadata=Metadata(name=f"app-{number}", namespace=f"ns-{number % _NAMESPACES}"),
            spec=WorkloadSpec(
                data_class=random.choice(("general-1", "general-2")),
                priority=random.choice((0, 0, 0, 10, 100)),
                manifests=(_deployment(number, replicas, requests),),
            ),
        )


def _deployment(number: int, replicas: int, requests: dict[str, str]) -> dict[str, object]:
    labels = {"app": f"app-{number}"}
    container = {
        "name": "main",
        "image": "registry.local/app:1",
        "resources": {"requests": requests},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"app-{number}"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
