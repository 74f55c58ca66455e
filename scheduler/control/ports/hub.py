"""The port to the hub: resources, watch events, errors, and the protocol of the client.

`scheduler.hub.client` implements it. Errors are named by what the caller can do about them.
"""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON; `scheduler.model` turns it into a type."""

NAMESPACE = "kapok-system"
"""The namespace of what the scheduler writes for itself: its Lease, and lists for operators."""


class HubError(Exception):
    """A request to the hub failed.

    Attributes:
        status: the HTTP status, 0 when no response came.
        reason: the `reason` of the `Status` object, e.g. "NotFound".
        retry_after_seconds: how long the server asks to wait (RFC 9110, Retry-After); 0: not said.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        retry_after_seconds: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_trouble_of_the_hub(self) -> bool:
        """Whether it says something of the hub, which is logged once, and not of the request."""
        return isinstance(self, Busy) or self.status in (401, 403)


class Conflict(HubError):
    """Another client wrote first, or the name is taken (409): read again, then decide again."""


class NotFound(HubError):
    """The object does not exist (404)."""


class Gone(HubError):
    """The resourceVersion of the watch is too old (410): list again."""


class Refused(HubError):
    """The hub will never accept this request (400, 401, 403, 413, 422): do not repeat it."""


class Busy(HubError):
    """The hub cannot serve the request now (429, 5xx) or does not answer: wait, then repeat."""


@dataclass(frozen=True, slots=True)
class ApiResource:
    """Where the API serves a kind.

    Attributes:
        group: API group, "" for the core group.
        version: e.g. "v1alpha1".
        plural: the name in paths, e.g. "workloads".
        kind: the name in objects, e.g. "Workload".
        namespaced: whether objects live in namespaces.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The URL path of the collection, or of one object.

        Raises:
            NotFound: no object can have such a name; its path would be that of something else.
        """
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        middle = f"/namespaces/{_segment(namespace)}" if self.namespaced and namespace else ""
        return f"{root}{middle}/{self.plural}" + (f"/{_segment(name)}" if name else "")


_PLAIN_SEGMENT = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~:-]*")


def _segment(name: str) -> str:
    """A name as one segment of a path, whatever a person has typed.

    A slash, a percent sign or dots alone would lead to a subresource or to another object; no
    object of Kubernetes has such a name.
    """
    if _PLAIN_SEGMENT.fullmatch(name):
        return name
    try:
        quoted = quote(name, safe=":")
    except UnicodeEncodeError:  # bytes of a command line that are no UTF-8
        raise NotFound(f"invalid name {name!r}: it is no text") from None
    if name in (".", "..") or "/" in name or "%" in name:
        raise NotFound(f"invalid name {name!r}: it must not be '.' or '..', nor contain '/' or '%'")
    return quoted


_GROUP, _VERSION = "kapok.dev", "v1alpha1"
SITES = ApiResource(_GROUP, _VERSION, "sites", "Site", namespaced=False)
GRANTS = ApiResource(_GROUP, _VERSION, "sitegrants", "SiteGrant", namespaced=False)
SCHEMES = ApiResource(_GROUP, _VERSION, "dataclassschemes", "DataClassScheme", namespaced=False)
TENANTS = ApiResource(_GROUP, _VERSION, "tenants", "Tenant", namespaced=False)
POLICIES = ApiResource(_GROUP, _VERSION, "placementpolicies", "PlacementPolicy", namespaced=True)
CLUSTER_POLICIES = ApiResource(
    _GROUP, _VERSION, "clusterplacementpolicies", "ClusterPlacementPolicy", namespaced=False
)
WORKLOADS = ApiResource(_GROUP, _VERSION, "workloads", "Workload", namespaced=True)
CONTROLLER_REVISIONS = ApiResource(
    "apps", "v1", "controllerrevisions", "ControllerRevision", namespaced=True
)
CONFIG_MAPS = ApiResource("", "v1", "configmaps", "ConfigMap", namespaced=True)
EVENTS = ApiResource("", "v1", "events", "Event", namespaced=True)
LEASES = ApiResource("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True)
SECRETS = ApiResource("", "v1", "secrets", "Secret", namespaced=True)
SERVICE_ACCOUNTS = ApiResource("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)
PERSISTENT_VOLUME_CLAIMS = ApiResource(
    "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", namespaced=True
)
PRIORITY_CLASSES = ApiResource(
    "scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False
)
NAMESPACES = ApiResource("", "v1", "namespaces", "Namespace", namespaced=False)

KAPOK_RESOURCES = (SITES, GRANTS, SCHEMES, TENANTS, POLICIES, CLUSTER_POLICIES, WORKLOADS)


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One watch event.

    Attributes:
        type: ADDED, MODIFIED, DELETED or BOOKMARK.
        object: the object after the change (before it, when DELETED).
    """

    type: str
    object: Object


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a collection at one resourceVersion."""

    items: list[Object]
    resource_version: str


class Hub(Protocol):
    """The part of the Kubernetes API that Kapok uses. Every method may raise `HubError`."""

    async def get(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object:
        """Reads one object."""
        ...

    async def list(self, resource: ApiResource, namespace: str | None = None) -> Listing:
        """Lists the whole collection, page by page."""
        ...

    def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        """Yields the collection in parts, so that it is never in memory as a whole.

        All parts are of one resourceVersion. `Gone` when the hub does not have that any more: what
        has come stays true of then, and the rest needs another list.
        """
        ...

    async def list_metadata(self, resource: ApiResource) -> Listing:
        """Lists a whole collection as the hub holds it now: namespace, name, uid and version."""
        ...

    def watch(self, resource: ApiResource, resource_version: str) -> AsyncIterator[WatchEvent]:
        """Yields changes after `resource_version`, until the server ends the stream."""
        ...

    async def create(self, resource: ApiResource, body: Object) -> Object:
        """Creates an object; `Conflict` when the name is taken."""
        ...

    async def merge_patch(
        self,
        resource: ApiResource,
        name: str,
        patch: Mapping[str, Any],
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        """Patches (RFC 7386); `Conflict` when its `metadata.resourceVersion` is not current."""
        ...

    async def apply(
        self,
        resource: ApiResource,
        body: Object,
        *,
        field_manager: str,
        force: bool = True,
        subresource: str | None = None,
    ) -> Object:
        """Applies an object, or one subresource of it, on the server's side (KEP-555)."""
        ...

    async def delete(self, resource: ApiResource, name: str, namespace: str | None = None) -> None:
        """Deletes an object; succeeds when it does not exist."""
        ...
