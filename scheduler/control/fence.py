"""The hub as a leader may use it: no write is sent unless the lease outlasts the request.

A leader that stood still (a paused process, a long garbage collection) wakes up with requests in
hand that another leader's work has overtaken. The check before each write and a time-out on it keep
such a request inside the lease. What was sent in time and is held up on the way is refused by the
hub itself: an object that the present leader has not written yet has an older epoch, so the rule of
the CRD alone would accept it. The embedded hub has this check built in;
`manifests/admission/epoch-fence.yaml` has it for others, and a test compares both.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.control.ports.hub import ApiResource, Conflict, Hub, Listing, Object, WatchEvent
from scheduler.model.kinds.workload import MAX_KEPT_EPOCH

FENCE_NAME = "kapok-epoch-fence"
MESSAGE = (
    "status.epoch must not be below spec.leaseTransitions of Lease kapok-system/kapok-scheduler: a"
    " newer leader has begun; stop writing as the older leader"
)


class NotLeading(Conflict):
    """The lease may end before a request does, so nothing was sent; another one may lead by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FencedHub:
    """Implements `scheduler.control.ports.hub.Hub` for a leader.

    Attributes:
        reads: reads and watches.
        writes: writes, with a time-out that `may_write` knows.
        may_write: whether a request that is sent now ends before the lease.
    """

    reads: Hub
    writes: Hub
    may_write: Callable[[], bool]

    async def get(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object:
        """Reads one object."""
        return await self.reads.get(resource, name, namespace)

    async def list(self, resource: ApiResource, namespace: str | None = None) -> Listing:
        """Lists the whole collection."""
        return await self.reads.list(resource, namespace)

    def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        """Yields the collection in parts."""
        return self.reads.list_pages(resource)

    async def list_metadata(self, resource: ApiResource) -> Listing:
        """Lists the versions of a whole collection."""
        return await self.reads.list_metadata(resource)

    def watch(self, resource: ApiResource, resource_version: str) -> AsyncIterator[WatchEvent]:
        """Yields changes after `resource_version`."""
        return self.reads.watch(resource, resource_version)

    async def create(self, resource: ApiResource, body: Object) -> Object:
        """Creates an object.

        Raises:
            NotLeading: nothing was sent.
        """
        self._check("create", resource)
        return await self.writes.create(resource, body)

    async def merge_patch(
        self,
        resource: ApiResource,
        name: str,
        patch: Mapping[str, Any],
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        """Patches an object.

        Raises:
            NotLeading: nothing was sent.
        """
        self._check("patch", resource)
        return await self.writes.merge_patch(
            resource, name, patch, namespace=namespace, subresource=subresource
        )

    async def apply(
        self,
        resource: ApiResource,
        body: Object,
        *,
        field_manager: str,
        force: bool = True,
        subresource: str | None = None,
    ) -> Object:
        """Applies an object on the server's side.

        Raises:
            NotLeading: nothing was sent.
        """
        self._check("apply", resource)
        return await self.writes.apply(
            resource, body, field_manager=field_manager, force=force, subresource=subresource
        )

    async def delete(self, resource: ApiResource, name: str, namespace: str | None = None) -> None:
        """Deletes an object.

        Raises:
            NotLeading: nothing was sent.
        """
        self._check("delete", resource)
        await self.writes.delete(resource, name, namespace)

    def _check(self, verb: str, resource: ApiResource) -> None:
        if not self.may_write():
            raise NotLeading(
                f"{verb} {resource.plural}: not sent, because the lease may end before the request"
            )


def late_status_problem(old: dict[str, Any], new: dict[str, Any], lease: dict[str, Any]) -> str:
    """Why a status is refused; "" if it is not.

    `kapok hub adopt --epoch` repairs what is at the end of the epochs; it is never refused.
    """
    begun = (lease.get("spec") or {}).get("leaseTransitions")
    if not isinstance(begun, int) or begun > MAX_KEPT_EPOCH or _epoch_of(old) > MAX_KEPT_EPOCH:
        return ""
    return MESSAGE if _epoch_of(new) < begun else ""


def _epoch_of(workload: dict[str, Any]) -> int:
    epoch = (workload.get("status") or {}).get("epoch")
    return epoch if isinstance(epoch, int) else 0
