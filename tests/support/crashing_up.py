"""`kapok up` that kills itself (SIGKILL) at one step of the first placement.

    python -m tests.support.crashing_up STEP up --data-dir DIR …

STEP is `after-ledger`, `after-status` or `after-order`. Everything else is
the program that users run.
"""

import os
import signal
import sys
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import scheduler.app
from scheduler.cli.entry import main
from scheduler.control.ports.agents import IndexVersion, OrderForSite
from scheduler.control.ports.hub import ApiResource, Object
from scheduler.control.ports.ledger import RecordReference
from scheduler.hub.client import HubClient
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.mqtt.order_publisher import OrderPublisher


def kill_self() -> None:
    """Kills this process, as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


class CrashingRecorder(LedgerRecorder):
    """Kills the process once the first placement is durable in the ledger."""

    async def record(
        self,
        *,
        subject: str,
        epoch: int,
        at: datetime,
        content: dict[str, Any],
        spec: WorkloadSpec,
        incarnation: str = "",
    ) -> RecordReference:
        recorded = await super().record(
            subject=subject,
            epoch=epoch,
            at=at,
            content=content,
            spec=spec,
            incarnation=incarnation,
        )
        if content.get("decision") and content["decision"].phase == "Placed":
            kill_self()
        return recorded


async def crashing_merge_patch(
    self: HubClient,
    resource: ApiResource,
    name: str,
    patch: Mapping[str, Any],
    *,
    namespace: str | None = None,
    subresource: str | None = None,
) -> Object:
    """Kills the process once the hub has accepted the status with the placement."""
    body = await _merge_patch(
        self, resource, name, patch, namespace=namespace, subresource=subresource
    )
    if resource.kind == "Workload" and (patch.get("status") or {}).get("placement"):
        kill_self()
    return body


_merge_patch = HubClient.merge_patch


class CrashingPublisher(OrderPublisher):
    """Kills the process just before the first index with an order is published."""

    def publish_index(
        self,
        site: str,
        site_uid: str,
        version: IndexVersion,
        orders: Mapping[str, OrderForSite],
        *,
        purge: Collection[str] = (),
        takes_deltas: bool = False,
        renews_base: bool = False,
    ) -> str:
        if orders:
            kill_self()
        return super().publish_index(
            site,
            site_uid,
            version,
            orders,
            purge=purge,
            takes_deltas=takes_deltas,
            renews_base=renews_base,
        )


if __name__ == "__main__":
    step, *words = sys.argv[1:]
    if step == "after-ledger":
        vars(scheduler.app)["LedgerRecorder"] = CrashingRecorder
    elif step == "after-status":
        HubClient.merge_patch = crashing_merge_patch  # type: ignore[method-assign]
    elif step == "after-order":
        vars(scheduler.app)["OrderPublisher"] = CrashingPublisher
    else:
        raise SystemExit(f"no such step: {step}")
    sys.exit(main(words))
