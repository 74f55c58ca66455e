"""A workload that an autoscaler of the hub names gets a number of replicas, once."""

from typing import Any

import pytest

from scheduler.control.autoscaled_workloads import AUTOSCALERS, AutoscaledWorkloads
from scheduler.control.ports.hub import WORKLOADS, Busy
from tests.support.control_loops import ControlLoops
from tests.support.faults import make_faults
from tests.support.sites import Raw, nodes, site, workload
from tests.support.wire_hub import config_map, deployment

SITE = site("m1", nodes(8), observedAt="2026-11-24T08:00:00Z")


def wanting(*manifests: Raw, **spec: Any) -> Raw:  # noqa: ANN401 - fields
    made = workload(manifests=list(manifests))
    del made["spec"]["demand"]
    made["spec"] |= spec
    return made


def autoscaler(**reference: str) -> Raw:
    target = {"apiVersion": WORKLOADS.api_version, "kind": "Workload", "name": "app", **reference}
    return {"metadata": {"name": "a", "namespace": "ns"}, "spec": {"scaleTargetRef": target}}


async def replicas_after(scaled: Raw, found: Raw) -> int | None:
    """The number that the workload has after an autoscaler came and one look was made."""
    loops = ControlLoops()
    async with loops.started(SITE, scaled):
        await loops.clock.settle()
        loops.read_hub()
        await loops.hub.create(AUTOSCALERS, found)
        look = AutoscaledWorkloads(
            hub=loops.hub, objects=loops.objects, clock=loops.clock, faults=make_faults()
        )
        await look.look()
        await look.look()
        spec = (await loops.hub.get(WORKLOADS, "app", namespace="ns"))["spec"]
        number: int | None = spec.get("replicas")
        return number


@pytest.mark.parametrize(
    ("scaled", "found", "replicas"),
    [
        (wanting(deployment(replicas=3)), autoscaler(), 3),
        (wanting(deployment(replicas=3), replicas=5), autoscaler(), 5),
        (wanting(deployment(replicas=3)), autoscaler(name="other"), None),
        (wanting(deployment(replicas=3)), autoscaler(kind="Deployment"), None),
        (wanting(deployment(replicas=3)), autoscaler(apiVersion="apps/v1"), None),
        (wanting(config_map()), autoscaler(), None),
        (wanting(deployment("a"), deployment("b")), autoscaler(), None),
        (wanting(deployment(replicas=3)), {"metadata": {"name": "a"}, "spec": None}, None),
    ],
)
async def test_the_number_of_the_manifest_becomes_that_of_the_workload(
    scaled: Raw, found: Raw, replicas: int | None
) -> None:
    assert await replicas_after(scaled, found) == replicas


async def test_a_hub_without_autoscalers_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = ControlLoops()
    look = AutoscaledWorkloads(
        hub=loops.hub, objects=loops.objects, clock=loops.clock, faults=make_faults()
    )

    async def refuse(_resource: object) -> None:
        raise Busy("away")

    monkeypatch.setattr(loops.hub, "list", refuse)
    await look.look()
