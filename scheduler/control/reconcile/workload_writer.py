"""Writes to Workload objects in the hub: status and finalizer."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from scheduler.control.ports.hub import (
    WORKLOADS,
    Conflict,
    Gone,
    Hub,
    HubError,
    NotFound,
    Object,
    Refused,
)
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.placement_slices import PlacementSlices, split, stored_status
from scheduler.control.status.finalizer import finalizer_patch, has_finalizer, removal_patch
from scheduler.control.status.workload import merge_patch
from scheduler.model.canonical import to_plain_json
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload, WorkloadStatus
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

NOTHING_WRITTEN = (Conflict, Gone, NotFound, Refused)
"""Answers to a request that had no effect, unless a proxy sent it twice; it is not read again."""
_FIRST_READ_PAUSE_SECONDS = 0.5
_LAST_READ_PAUSE_SECONDS = 10.0


@dataclass(slots=True, kw_only=True)
class WorkloadWriter:
    """Writes against exactly the version of an object that `objects` holds.

    Every patch names the resourceVersion that it is based on, so that the hub refuses it with
    `Conflict` if another client wrote first.

    Attributes:
        hub: where the objects are written.
        objects: takes in what the hub returns, so that the next step sees it at once.
        clock: for the pauses between attempts to read.
        slices: writes the slices of placements on many sites, and puts them into what is read.
    """

    hub: Hub
    objects: HubObjects
    clock: Clock
    slices: PlacementSlices

    async def ensure_finalizer(self, key: WorkKey, base: Mapping[str, Any]) -> Mapping[str, Any]:
        """Sets the finalizer, so that the object stays until its orders are withdrawn.

        Where `manifests/admission` is installed, and on the embedded hub, each object has it from
        its creation, and nothing is written.

        Args:
            key: namespace and name.
            base: the object as it was read.

        Returns:
            The object with the finalizer, and with nothing else that `base` has not.

        Raises:
            HubError: the hub refused the write or could not do it.
        """
        if has_finalizer(base):
            return base
        return await self._patch(key, finalizer_patch(base), subresource=None)

    async def write_status(
        self, key: WorkKey, base: Mapping[str, Any], status: WorkloadStatus
    ) -> bool:
        """Writes what differs from the status in the hub; nothing when they are equal.

        The epoch alone is no difference: a new leader would otherwise write every object once.
        When it is not known whether a new decision was written, after a time-out or a cut
        connection, the object is read until that is known.

        Args:
            key: namespace and name.
            base: the object that the status was computed from.
            status: what is to be written.

        Returns:
            Whether the object has another version now; False when they are equal.

        Raises:
            HubError: nothing was written, as the hub says or as the object shows.
        """
        stored, slices = split(to_plain_json(status))
        patch = merge_patch(stored_status(base), stored)
        if not patch.keys() - {"epoch"}:
            return False
        if self.objects.raw_workloads.get(key) is not base:
            raise Conflict(f"{'/'.join(key)} has been modified", status=409, reason="Conflict")
        await self.slices.store(self.hub, base, slices)
        version = base["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version}, "status": patch}
        self.objects.note_sent(key, stored)
        try:
            await self._patch(key, patch, subresource="status")
        except NOTHING_WRITTEN:
            self.objects.note_sent(key, None)
            raise
        except HubError as error:
            is_new = "decision" in patch["status"] and status.decision is not None
            if not is_new or not await self._has_landed(key, base, status):
                raise
            _log.info("%s/%s: was written all the same: %s", *key, error)
        self.objects.note_sent(key, None)
        await self.slices.remove_former(self.hub, base, slices)
        return True

    async def _has_landed(
        self, key: WorkKey, base: Mapping[str, Any], status: WorkloadStatus
    ) -> bool:
        """Whether the object has the decision of a status; asks until the hub answers."""
        body = await self._read_until_answered(key)
        if body is None or body["metadata"].get("uid") != base["metadata"].get("uid"):
            return False
        written = (body.get("status") or {}).get("decision") or {}
        wanted = to_plain_json(status.decision)
        has_landed = all(written.get(one) == wanted[one] for one in ("id", "hash"))
        if has_landed and _is_same_but_status(base, body):
            self.objects.put_workload(body)  # else the watch brings it, and with it who else wrote
        return has_landed

    async def _read_until_answered(self, key: WorkKey) -> Object | None:
        """The object as the hub has it; None when it is gone. Until one is known, it stays open."""
        namespace, name = key
        pause = _FIRST_READ_PAUSE_SECONDS
        while True:
            try:
                return await self.slices.filled(await self.hub.get(WORKLOADS, name, namespace))
            except NotFound:
                return None
            except HubError as error:
                _log.warning("%s/%s: not known whether it was written: %s", *key, error)
            await self.clock.sleep(pause)
            pause = min(2 * pause, _LAST_READ_PAUSE_SECONDS)

    async def remove_finalizer(self, key: WorkKey, workload: Workload) -> None:
        """Removes the finalizer, so that the hub deletes the object.

        An object that is gone is what was wanted: an attempt that timed out may have landed.

        Raises:
            HubError: the hub refused the write or could not do it.
        """
        namespace, name, patch = *key, removal_patch(workload)
        # What the hub returns is not taken in: the object is gone, and the watch says so.
        with suppress(NotFound):
            await self.hub.merge_patch(WORKLOADS, name, patch, namespace=namespace)

    async def _patch(
        self, key: WorkKey, patch: Mapping[str, Any], *, subresource: str | None
    ) -> Mapping[str, Any]:
        namespace, name = key
        with self.objects.writing(key):
            body = await self.hub.merge_patch(
                WORKLOADS, name, patch, namespace=namespace, subresource=subresource
            )
            return self.objects.put_workload(await self.slices.filled(body))


def _is_same_but_status(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether nothing that other clients write differs between two versions of an object."""
    return all(one["metadata"].get(name) == other["metadata"].get(name) for name in _METADATA)


_METADATA = ("generation", "deletionTimestamp", "labels", "annotations", "finalizers")
