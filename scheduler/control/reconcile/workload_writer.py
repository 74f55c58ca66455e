"""Writes to Workload objects in the hub: status and finalizer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.control.ports.hub import WORKLOADS, Hub
from scheduler.control.state.objects import HubObjects
from scheduler.control.status.workload import merge_patch
from scheduler.model.canonical import to_plain_json
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload, WorkloadStatus

FINALIZER = "kapok.dev/withdraw"


@dataclass(slots=True, kw_only=True)
class WorkloadWriter:
    """Writes against exactly the version of an object that `objects` holds.

    Every patch names the resourceVersion that it is based on, so that the hub refuses it with
    `Conflict` if another client wrote first.

    Attributes:
        hub: where the objects are written.
        objects: takes in what the hub returns, so that the next step sees it at once.
    """

    hub: Hub
    objects: HubObjects

    async def ensure_finalizer(self, key: WorkKey, workload: Workload) -> Workload:
        """Sets the finalizer, so that the object stays until its orders are withdrawn.

        Returns:
            The workload with the finalizer.

        Raises:
            HubError: the hub refused the write or could not do it.
        """
        meta = workload.metadata
        if FINALIZER in meta.finalizers:
            return workload
        metadata = {
            "resourceVersion": meta.resource_version,
            "finalizers": sorted({*meta.finalizers, FINALIZER}),
        }
        await self._patch(key, {"metadata": metadata}, subresource=None)
        return self.objects.workloads[key]

    async def write_status(self, key: WorkKey, status: WorkloadStatus) -> None:
        """Writes what differs from the status in the hub; nothing when they are equal.

        The epoch alone is no difference: a new leader would otherwise write every object once.

        Raises:
            HubError: the hub refused the write or could not do it.
        """
        raw = self.objects.raw_workloads[key]
        patch = merge_patch(raw.get("status") or {}, to_plain_json(status))
        if patch.keys() - {"epoch"}:
            version = raw["metadata"]["resourceVersion"]
            await self._patch(
                key,
                {"metadata": {"resourceVersion": version}, "status": patch},
                subresource="status",
            )

    async def remove_finalizer(self, key: WorkKey, workload: Workload) -> None:
        """Removes the finalizer, so that the hub deletes the object.

        Raises:
            HubError: the hub refused the write or could not do it.
        """
        meta = workload.metadata
        finalizers = [one for one in meta.finalizers if one != FINALIZER]
        patch = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": finalizers}}
        namespace, name = key
        # What the hub returns is not taken in: the object is gone, and the watch says so.
        await self.hub.merge_patch(WORKLOADS, name, patch, namespace=namespace)

    async def _patch(
        self, key: WorkKey, patch: Mapping[str, Any], *, subresource: str | None
    ) -> None:
        namespace, name = key
        body = await self.hub.merge_patch(
            WORKLOADS, name, patch, namespace=namespace, subresource=subresource
        )
        self.objects.put_workload(body)
