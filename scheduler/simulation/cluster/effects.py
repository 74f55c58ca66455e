"""Carries out the writes of plans through the API, and updates the mirror with the answers.

All writes go through here, so errors are handled in one place: a write that was done before counts
as done, a refused one becomes an Event, and the caller retries when the API is busy.
"""

import hashlib
import logging

import msgspec

from scheduler.control.ports.hub import (
    EVENTS,
    ApiResource,
    Busy,
    Conflict,
    NotFound,
    Object,
    Refused,
)
from scheduler.hub.client import HubClient
from scheduler.model.formatters import format_rfc3339
from scheduler.runtime.clock import Clock
from scheduler.simulation.cluster.mirror import Mirror, NamespacedName
from scheduler.simulation.cluster.objects import (
    PODS,
    RESOURCES_BY_KIND,
    VIEW_TYPES,
    ObjectView,
    decode_view,
)
from scheduler.simulation.cluster.plan import (
    Bind,
    Create,
    Delete,
    DeleteIfOrphaned,
    Patch,
    RecordEvent,
    Write,
)

_log = logging.getLogger(__name__)

_COMPONENT = "kapok-simulate-cluster"
SERVICE_ACCOUNTS = ApiResource("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)


class ClusterWriter:
    """Carries out writes in one cluster.

    Args:
        client: client of the cluster's API.
        mirror: the mirror to update.
        clock: gives the time of Events and of updates.
    """

    def __init__(self, *, client: HubClient, mirror: Mirror, clock: Clock) -> None:
        self._client = client
        self._mirror = mirror
        self._clock = clock

    async def execute(self, write: Write) -> None:
        """Carries out one write.

        Raises:
            HubError: the API is busy or refuses, or the mirror was out of date; try again later.
        """
        match write:
            case Create():
                await self._create(write)
            case Patch():
                await self._patch(write)
            case Delete():
                await self._delete(write)
            case Bind():
                await self._bind(write)
            case RecordEvent():
                await self._record_event(write)
            case DeleteIfOrphaned():
                await self._delete_if_orphaned(write)

    async def _create(self, write: Create) -> None:
        try:
            found = await self._client.create(write.resource, write.body)
        except Conflict:  # it was created before, and the answer or the watch event is late
            meta = write.body["metadata"]
            found = await self._client.get(write.resource, meta["name"], meta.get("namespace"))
            if not _has_same_owners(write.body, found):
                raise
        except Refused as error:
            await self._record_refusal(write, error)
            raise
        self._update_mirror(write.resource, found)

    async def _record_refusal(self, write: Create, error: Refused) -> None:
        """Records an Event about the owner of a refused object; `kubectl describe` shows it."""
        meta = write.body["metadata"]
        for owner in meta.get("ownerReferences") or []:
            resource = RESOURCES_BY_KIND.get(owner["kind"])
            if resource is not None:
                name = (meta.get("namespace", ""), owner["name"])
                event = RecordEvent(
                    resource=resource,
                    name=name,
                    uid=owner["uid"],
                    reason="FailedCreate",
                    message=str(error),
                    component=_COMPONENT,
                )
                await self._record_event(event)

    async def _patch(self, write: Patch) -> None:
        namespace, name = write.name
        try:
            found = await self._client.merge_patch(
                write.resource,
                name,
                write.body,
                namespace=namespace or None,
                subresource=write.subresource,
            )
        except NotFound:
            self._remove_from_mirror(write.resource, write.name)
            return
        if write.subresource != "scale":  # its answer is a Scale, not the object
            self._update_mirror(write.resource, found)

    async def _delete(self, write: Delete) -> None:
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": write.uid},
            "propagationPolicy": "Background",
        }
        if write.is_immediate:
            options["gracePeriodSeconds"] = 0
        path = write.resource.path(write.name[0] or None, write.name[1])
        try:
            found = await self._client.raw("DELETE", path, body=options)
        except (NotFound, Conflict):  # gone, or another object has this name now
            self._remove_from_mirror(write.resource, write.name, write.uid)
            return
        meta = found.get("metadata") or {}
        stays = meta.get("finalizers") or (meta.get("deletionTimestamp") and not write.is_immediate)
        if found.get("kind") == "Status" or not stays:
            self._remove_from_mirror(write.resource, write.name, write.uid)
        else:
            self._update_mirror(write.resource, found)

    async def _bind(self, write: Bind) -> None:
        namespace, name = write.name
        self._assume(write)
        body: Object = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": write.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": write.node},
        }
        try:
            await self._client.raw("POST", PODS.path(namespace, name) + "/binding", body=body)
        except NotFound:
            await self._handle_unbound(write)
        except BaseException:
            self._mirror.forget_assumed(write.name)
            raise

    def _assume(self, write: Bind) -> None:
        """Counts the pod on its node before the API answers, so no capacity is used twice."""
        pod = self._mirror.pod(write.name)
        if pod is not None and pod.metadata.uid == write.uid:
            spec = msgspec.structs.replace(pod.spec, node_name=write.node)
            self._mirror.assume(msgspec.structs.replace(pod, spec=spec), self._clock.now())

    async def _handle_unbound(self, write: Bind) -> None:
        """Handles a 404 for a binding: the pod is gone, or the server does not serve bindings.

        Raises:
            Busy: the server does not serve bindings; retried, and logged by the caller.
        """
        namespace, name = write.name
        try:
            await self._client.get(PODS, name, namespace)
        except NotFound:
            self._remove_from_mirror(PODS, write.name, write.uid)
            return
        self._mirror.forget_assumed(write.name)
        raise Busy(f"pod {namespace}/{name}: the server does not serve pods/binding")

    async def _record_event(self, write: RecordEvent) -> None:
        """Creates one Event per object, reason and message; a second one changes nothing."""
        namespace = write.name[0] or "default"
        # The name follows from the content, so creating the same Event again is a conflict.
        text = f"{write.uid}/{write.reason}/{write.message}"
        name = f"{write.name[1][:200]}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        now = format_rfc3339(self._clock.now())
        body: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": write.resource.api_version,
                "kind": write.resource.kind,
                "namespace": write.name[0],
                "name": write.name[1],
                "uid": write.uid,
            },
            "reason": write.reason,
            "message": write.message[:1024],
            "type": "Warning",
            "source": {"component": write.component},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._client.create(EVENTS, body)
        except (Conflict, NotFound, Refused) as error:
            _log.debug("event %s: %s", name, error)

    async def _delete_if_orphaned(self, write: DeleteIfOrphaned) -> None:
        view = self._mirror.find(write.resource, write.name)
        if view is None:
            return
        for owner in view.metadata.owner_references:
            resource = RESOURCES_BY_KIND[owner.kind]
            namespace = write.name[0] if resource.namespaced else None
            try:
                found = await self._client.get(resource, owner.name, namespace)
            except NotFound:
                continue
            if found["metadata"].get("uid") == owner.uid:
                return
        await self._delete(Delete(resource=write.resource, name=write.name, uid=view.metadata.uid))

    async def create_default_service_account(self, namespace: str) -> None:
        """Creates the service account `default`, which pods need, if the server did not."""
        meta = {"name": "default", "namespace": namespace}
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}
        try:
            await self._client.create(SERVICE_ACCOUNTS, body)
        except (Conflict, NotFound, Refused) as error:
            _log.debug("namespace %s: service account not created: %s", namespace, error)

    def _update_mirror(self, resource: ApiResource, body: Object) -> None:
        view = decode_or_skip(resource, body) if resource in VIEW_TYPES else None
        if view is not None:
            self._mirror.put(resource, view, self._clock.now())

    def _remove_from_mirror(
        self, resource: ApiResource, name: NamespacedName, uid: str | None = None
    ) -> None:
        view = self._mirror.find(resource, name)
        if view is not None and (uid is None or view.metadata.uid == uid):
            self._mirror.tombstone(resource, view)


def _has_same_owners(wanted: Object, found: Object) -> bool:
    """Whether an existing object is the one to create: same owners, and not being deleted."""
    uids = [
        {owner.get("uid") for owner in body["metadata"].get("ownerReferences") or []}
        for body in (wanted, found)
    ]
    return uids[0] == uids[1] and not found["metadata"].get("deletionTimestamp")


def decode_or_skip(resource: ApiResource, body: Object) -> ObjectView | None:
    """Decodes an object of the API; logs and skips (None) one that does not match its kind."""
    try:
        return decode_view(resource, body)
    except msgspec.ValidationError as error:
        meta = body.get("metadata") or {}
        _log.warning(
            "ignoring invalid %s %s/%s: %s",
            resource.kind,
            meta.get("namespace", ""),
            meta.get("name", ""),
            error,
        )
        return None
