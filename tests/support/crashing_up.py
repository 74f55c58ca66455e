"""`kapok up` that kills itself (SIGKILL) at one step of the first placement.

    python -m tests.support.crashing_up STEP up --data-dir DIR …

STEP is `after-ledger`, `after-equal-ledger`, `after-status` or `after-order`. Everything else is
the program that users run.
"""

import os
import signal
import sys
from collections.abc import Collection, Mapping
from typing import Any

import scheduler.app
from scheduler.cli.entry import main
from scheduler.control.ports.agents import IndexVersion, OrderForSite
from scheduler.control.ports.hub import ApiResource, Object
from scheduler.control.ports.ledger import PreparedRecord, RecordReference
from scheduler.hub.client import HubClient
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.mqtt.order_publisher import OrderPublisher


def kill_self() -> None:
    """Kills this process, as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


class CrashingRecorder(LedgerRecorder):
    """Kills the process once the first placement is durable in the ledger."""

    def prepare(self, **facts: Any) -> PreparedRecord:  # noqa: ANN401 - those of the recorder
        append, decision = super().prepare(**facts), facts["content"].get("decision")

        async def append_and_die() -> RecordReference:
            recorded = await append()
            if decision and decision.phase == "Placed":
                kill_self()
            return recorded

        return append_and_die


class CrashingEqualRecorder(LedgerRecorder):
    """Kills the process once the first record of equal placements is durable in the ledger."""

    def prepare_equal(self, **facts: Any) -> list[PreparedRecord]:  # noqa: ANN401 - as above
        appends = super().prepare_equal(**facts)
        if any(one.phase == "Placed" for one in facts["decisions"].outcomes):
            appends[0] = _then_die(appends[0])
        return appends


def _then_die(append: PreparedRecord) -> PreparedRecord:
    async def append_and_die() -> RecordReference:
        await append()
        kill_self()
        raise AssertionError("unreachable")

    return append_and_die


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
    elif step == "after-equal-ledger":
        vars(scheduler.app)["LedgerRecorder"] = CrashingEqualRecorder
    elif step == "after-status":
        HubClient.merge_patch = crashing_merge_patch  # type: ignore[method-assign]
    elif step == "after-order":
        vars(scheduler.app)["OrderPublisher"] = CrashingPublisher
    else:
        raise SystemExit(f"no such step: {step}")
    sys.exit(main(words))
