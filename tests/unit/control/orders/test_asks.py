"""What orders ask of agents, and that a workload says so where an agent is too old for it."""

from typing import Any

import pytest

from scheduler.control.ports.agents import OrderState, OrderStatusReport
from tests.support.control_loops import ControlLoops
from tests.support.pod_kinds import of_kind, template
from tests.support.sites import Raw, nodes, site, workload

SITE = site("m1", nodes(8), observedAt="2026-11-24T08:00:00Z")
WORDS = {
    "ready-when": "kapok.dev/ready-when",
    "update-strategy": "spec.updateStrategy",
    "on-drift": "spec.onDrift",
}


def asking(**spec: Any) -> Raw:  # noqa: ANN401 - any field
    manifest = of_kind("apps/v1", "Deployment", replicas=1, template=template())
    notes = {"kapok.dev/ready-when": "{.status.readyReplicas}=1"}
    manifest["metadata"] = {"name": "web", "annotations": notes}
    made = workload(name="web", manifests=[manifest], **spec)
    del made["spec"]["demand"], made["status"]
    return made


@pytest.mark.parametrize("acts_on", [frozenset[str](), frozenset(WORDS)])
async def test_what_an_agent_does_not_act_on_is_named_as_not_enforced(
    acts_on: frozenset[str],
) -> None:
    loops = ControlLoops()
    async with loops.started(SITE, asking(updateStrategy="Recreate", onDrift="Report")):
        for _ in range(4):
            loops.read_hub()
            loops.dispatcher.flush()
            await loops.clock.settle()
            await loops.clock.advance(1.0)
        (order,) = loops.dispatcher.plans["m1"].orders.values()
        assert (order.update_strategy, order.on_drift) == ("Recreate", "Report")
        assert set(order.asks) == WORDS.keys()
        plan = loops.dispatcher.plans["m1"]
        state = OrderState(id=order.id, generation=1, applied_generation=1, phase="Ready")
        loops.controller.on_order_status(
            OrderStatusReport(
                site="m1",
                site_uid=plan.uid,
                version=plan.version,
                digest=plan.index_digest,
                orders={order.id: state},
                acts_on=acts_on,
            )
        )
        await loops.clock.settle()
        await loops.clock.advance(1.0)
        found = (await loops.workload("web"))["status"]["conditions"]
        texts = [one["message"] for one in found if one["type"] == "NotEnforced"]
        assert bool(texts) is not bool(acts_on)
        assert all(word in text for text in texts for word in WORDS.values())
