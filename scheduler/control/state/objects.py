"""The hub's objects as types, decoded when they change.

An object that does not decode is listed in `HubObjects.invalid` with the reason.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from scheduler.control.ports.hub import (
    CLUSTER_POLICIES,
    GRANTS,
    POLICIES,
    SCHEMES,
    SITES,
    TENANTS,
    WORKLOADS,
    ApiResource,
    Object,
    WatchEvent,
)
from scheduler.control.ports.telemetry import Telemetry
from scheduler.control.state.manifest_readings import ManifestReadings
from scheduler.control.state.resolved_demands import ResolvedDemands
from scheduler.model.canonical import to_plain_json
from scheduler.model.decode import NotReadable, decode
from scheduler.model.kinds.kinds import (
    ClusterPlacementPolicy,
    DataClassScheme,
    PlacementPolicy,
    Site,
    SiteGrant,
    Tenant,
    Workload,
)
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.tenant_tree import TenantTree, tenant_tree
from scheduler.model.kinds.workload import WorkloadStatus
from scheduler.model.packed_manifests import pack_manifests
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

DEFAULT_SCHEME = "default"

OnChange = Callable[[str, WorkKey, frozenset[str]], None]
"""Called with (kind, (namespace, name), sites that a Site or SiteGrant is about) after a change."""


@dataclass(slots=True)
class HubObjects:
    """The hub's objects, with the indexes that decisions need.

    Attributes:
        telemetry: counts objects that do not decode.
        on_change: called after every change; again with the next event if it failed.
        faults: handles faults of the decoder.
        sites: by name.
        grants: by name.
        schemes: by name.
        tenants: by name.
        policies: by namespace and name.
        cluster_policies: by name.
        workloads: by namespace and name.
        raw_workloads: the JSON of each workload without its spec, in little memory, for patches
            against exactly what the hub holds.
        invalid: why an object does not decode, by (kind, (namespace, name)).
        readings: what the manifests of workloads hold.
        demands: what workloads ask for, by the objects that apply to them.
    """

    telemetry: Telemetry
    on_change: OnChange
    faults: Faults
    sites: dict[str, Site] = field(default_factory=dict)
    grants: dict[str, SiteGrant] = field(default_factory=dict)
    schemes: dict[str, DataClassScheme] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    policies: dict[WorkKey, PlacementPolicy] = field(default_factory=dict)
    cluster_policies: dict[str, ClusterPlacementPolicy] = field(default_factory=dict)
    workloads: dict[WorkKey, Workload] = field(default_factory=dict)
    raw_workloads: dict[WorkKey, Mapping[str, Any]] = field(default_factory=dict)
    invalid: dict[tuple[str, WorkKey], str] = field(default_factory=dict)
    readings: ManifestReadings = field(default_factory=ManifestReadings)
    demands: ResolvedDemands = field(default_factory=ResolvedDemands)
    _held: dict[WorkKey, list[WatchEvent]] = field(default_factory=dict)
    _leaders_epoch: int = 0
    _restored: set[WorkKey] = field(default_factory=set)
    _late_statuses: set[WorkKey] = field(default_factory=set)
    _sent_statuses: dict[WorkKey, Object] = field(default_factory=dict)
    _assumed: dict[WorkKey, Workload] = field(default_factory=dict)
    _workloads_at: dict[str, dict[WorkKey, None]] = field(default_factory=dict)
    _grants_by_site: dict[str, dict[str, SiteGrant]] = field(default_factory=dict)
    _tenant_tree: TenantTree = field(default_factory=TenantTree)
    _is_tenant_index_old: bool = False
    _tenants_by_namespace: dict[str, tuple[Tenant, ...]] = field(default_factory=dict)
    _unannounced: dict[tuple[str, WorkKey], frozenset[str]] = field(default_factory=dict)

    def apply_event(self, resource: ApiResource, event: WatchEvent) -> None:
        """Takes in one change from the informer, and calls `on_change`.

        If that fails, the change is taken in, and the same event calls `on_change` again.
        """
        meta = event.object["metadata"]
        kind, key = resource.kind, (meta.get("namespace", ""), meta["name"])
        held = self._held.get(key) if resource is WORKLOADS else None
        if held is not None:
            held.append(event)
            return
        unannounced = self._unannounced.get((kind, key))
        if unannounced is None and self._is_older(resource, key, event):
            return
        before = self._collection(kind).get(self._collection_key(kind, key))
        is_late = resource is WORKLOADS and self._is_status_late(key, event)
        self._replace(kind, key, None if event.type == "DELETED" else event.object)
        if is_late and isinstance(before, Workload):
            self._keep_status(key, before.status, event.object)
        after = self._collection(kind).get(self._collection_key(kind, key))
        if unannounced is None and resource is not WORKLOADS and _is_same_spec(before, after):
            return
        sites = _sites_concerned(before) | _sites_concerned(after) | (unannounced or frozenset())
        self._unannounced[kind, key] = sites
        self.on_change(kind, key, sites)
        del self._unannounced[kind, key]

    @contextmanager
    def writing(self, key: WorkKey) -> Iterator[None]:
        """Holds the events of a workload while its one writer waits for the hub's answer.

        The watch often brings our own write before its answer does. Taken in at once it would
        look like the change of another client, and the workload would be reconciled again.
        """
        held = self._held[key] = []
        try:
            yield
        finally:
            del self._held[key]
            for event in held:
                with self.faults.barrier("object"):
                    self.apply_event(WORKLOADS, event)

    def expect_restored(self) -> None:
        """Has the next event of every workload count, though its version may be a lower one."""
        self._restored = set(self.raw_workloads)

    def begin_term(self, epoch: int) -> None:
        """Notes that this scheduler leads: all statuses of former leaders are listed."""
        self._leaders_epoch = epoch

    def end_term(self) -> None:
        """Notes that this scheduler does not lead any more: the hub's statuses count."""
        self._leaders_epoch = 0
        self._assumed.clear()
        self._sent_statuses.clear()
        late, self._late_statuses = self._late_statuses, set()
        for key in late & self.raw_workloads.keys():
            self._replace(WORKLOADS.kind, key, self._with_spec(key, self.raw_workloads[key]))

    def _is_status_late(self, key: WorkKey, event: WatchEvent) -> bool:
        """Whether another client has written a status after this leader began.

        Whatever this leader writes comes with the answer to it, and has its epoch. So any other
        change is of a former leader, whose write came late, or of someone who may write
        `/status`: neither places or withdraws anything. The hub refuses the former where
        `manifests/admission` is installed. A higher epoch is that of the next leader.
        """
        known, fresh = self.raw_workloads.get(key), event.object
        if not self._leaders_epoch or known is None or event.type == "DELETED":
            return False
        status = fresh.get("status") or {}
        epoch, is_ours = status.get("epoch", 0), status == self._sent_statuses.get(key)
        if epoch > self._leaders_epoch or is_ours or not _is_same_object(known, fresh):
            self._late_statuses.discard(key)
            return False
        if _without_epoch(status) != _without_epoch(known.get("status") or {}):
            self._late_statuses.add(key)
            self.telemetry.count_late_status()
            who = "a former leader" if epoch < self._leaders_epoch else "another client"
            _log.warning("%s/%s: %s wrote its status; it is overwritten", *key, who)
        return key in self._late_statuses

    def note_sent(self, key: WorkKey, status: Object | None) -> None:
        """Notes a status that was sent and whose answer is not known; None: there is none.

        It may appear later, and is this leader's own then.
        """
        if status is None:
            self._sent_statuses.pop(key, None)
        else:
            self._sent_statuses[key] = status

    def _keep_status(self, key: WorkKey, status: WorkloadStatus, body: Object) -> None:
        """Keeps this leader's view; the next write is compared with what the hub holds."""
        late = self.workloads.get(key)
        if late is None:  # the status of the other client does not decode; the spec may
            late = self._decode({**body, "status": {}})
        if isinstance(late, Workload):
            self.invalid.pop((WORKLOADS.kind, key), None)
            self._unindex_placement(key, late)
            self._put(WORKLOADS.kind, key, msgspec.structs.replace(late, status=status))

    def put_workload(self, body: Object) -> Mapping[str, Any]:
        """Takes in what the hub returned for our own write, without calling `on_change`.

        If the watch was faster and has brought something newer, or the deletion, that stays.

        Returns:
            What is in `raw_workloads` of it; the object itself if it was not taken in.
        """
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        known = self.raw_workloads.get(key)
        if known is None or known["metadata"].get("uid") != body["metadata"].get("uid"):
            return body
        if _resource_version(body["metadata"]) < _resource_version(known["metadata"]):
            return body
        if (body.get("status") or {}).get("epoch", 0) >= self._leaders_epoch:
            self._late_statuses.discard(key)
        self._replace(WORKLOADS.kind, key, body, has_known_spec=self._has_known_spec(key, body))
        return self.raw_workloads[key]

    def _has_known_spec(self, key: WorkKey, body: Object) -> bool:
        """Whether the hub's answer says that the spec is the one that is known: its generation."""
        former = self.workloads.get(key)
        if former is None or former.metadata.uid != body["metadata"].get("uid"):
            return False
        generation = body["metadata"].get("generation")
        return bool(generation) and former.metadata.generation == generation

    def assume(self, key: WorkKey, workload: Workload) -> None:
        """Has others see a workload with a placement that is decided and not written yet."""
        self._assumed[key] = workload

    def end_assumption(self, key: WorkKey) -> None:
        """Has others see a workload as the hub holds it."""
        self._assumed.pop(key, None)

    def present_workloads(self) -> list[Workload]:
        """All workloads, with the placements that are decided."""
        if not self._assumed:
            return list(self.workloads.values())
        return [self._assumed.get(key, one) for key, one in self.workloads.items()]

    def workloads_in(self, namespace: str) -> list[Workload]:
        """The workloads of a namespace, with the placements that are decided."""
        return [
            self._assumed.get(key, one)
            for key, one in self.workloads.items()
            if key[0] == namespace
        ]

    def default_scheme(self) -> DataClassScheme | None:
        """The data class scheme in force: the one named "default"."""
        return self.schemes.get(DEFAULT_SCHEME)

    def tenant_of(self, namespace: str) -> Tenant | None:
        """The tenant to which a namespace counts; of several the first by name.

        Nothing new is placed for a namespace that several tenants list (`demand_of`).
        """
        return next(iter(self.tenants_of(namespace)), None)

    def tenants_of(self, namespace: str) -> tuple[Tenant, ...]:
        """All tenants that list a namespace, by name."""
        self._index_tenants()
        return self._tenants_by_namespace.get(namespace, ())

    @property
    def tenant_tree(self) -> TenantTree:
        """The tenants with their parents and teams, and what is wrong with them."""
        self._index_tenants()
        return self._tenant_tree

    def workloads_at(self, site: str) -> list[WorkKey]:
        """The workloads that have replicas at a site, or get some by a decision."""
        assumed = (key for key, one in self._assumed.items() if site in _placed_sites(one))
        return list(dict.fromkeys((*self._workloads_at.get(site, ()), *assumed)))

    def is_at(self, key: WorkKey, site: str) -> bool:
        """Whether a workload is among `workloads_at` a site."""
        if key in self._workloads_at.get(site, ()):
            return True
        assumed = self._assumed.get(key)
        return assumed is not None and site in _placed_sites(assumed)

    def sites_named(self, names: Iterable[str]) -> list[Site]:
        """Those of the named sites that exist."""
        return [self.sites[name] for name in names if name in self.sites]

    def grants_of(self, site: str) -> Iterator[SiteGrant]:
        """The grants that name a site."""
        return iter(self._grants_by_site.get(site, {}).values())

    def _is_older(self, resource: ApiResource, key: WorkKey, event: WatchEvent) -> bool:
        """Whether an event is not newer than what our own write returned already."""
        known = self.raw_workloads.get(key) if resource is WORKLOADS else None
        if known is None or event.type == "DELETED":
            return False
        if key in self._restored:
            self._restored.discard(key)
            return False
        meta, fresh = known["metadata"], event.object["metadata"]
        same = meta.get("uid") == fresh.get("uid")
        return same and _resource_version(fresh) <= _resource_version(meta)

    def _replace(
        self, kind: str, key: WorkKey, body: Object | None, *, has_known_spec: bool = False
    ) -> None:
        """Replaces an object, once it is decoded; None removes it.

        A workload whose spec is as before keeps that very spec: nothing of it is read again.

        Args:
            kind: its kind.
            key: namespace and name.
            body: as the hub has it.
            has_known_spec: it is a workload with the spec that is known; that is not decoded.
        """
        former = self.workloads.get(key) if kind == WORKLOADS.kind else None
        tenant = self.tenants.get(key[1]) if kind == TENANTS.kind else None
        decoded = None
        if body is not None:
            decoded = self._decode({**body, "spec": {}} if has_known_spec else body)
        if isinstance(decoded, Workload):
            spec = decoded.spec if former is None else former.spec
            if former is None or not (has_known_spec or decoded.spec == spec):
                manifests = pack_manifests(decoded.spec.manifests)
                spec = msgspec.structs.replace(decoded.spec, manifests=manifests)
            decoded = msgspec.structs.replace(decoded, spec=spec)
        self._drop(kind, key)
        if kind == TENANTS.kind and not (
            tenant and isinstance(decoded, Tenant) and _is_same_spec(tenant, decoded)
        ):
            self._is_tenant_index_old = True
        if body is None:
            if kind == WORKLOADS.kind:
                self._sent_statuses.pop(key, None)
            return
        if kind == WORKLOADS.kind:
            self.raw_workloads[key] = _packed(_without_spec(body))
        if isinstance(decoded, str):
            self.invalid[kind, key] = decoded
            self.telemetry.count_invalid_object(kind)
            _log.warning("%s %s/%s does not decode: %s", kind, *key, decoded)
        else:
            self._put(kind, key, decoded)

    def _with_spec(self, key: WorkKey, body: Mapping[str, Any]) -> Object:
        known = self.workloads.get(key)
        return {**body} if known is None else {**body, "spec": to_plain_json(known.spec)}

    def _decode(self, body: Object) -> Any:  # noqa: ANN401 - any of our kinds
        """The object as one of our types; a text says why it cannot be decoded."""
        decoded: Any = "the decoder failed; the log has the fault"
        with self.faults.barrier("object"):
            try:
                decoded = decode(body, allow_unknown=True)
            except NotReadable as error:
                decoded = str(error)
        return decoded

    def _put(self, kind: str, key: WorkKey, decoded: Any) -> None:  # noqa: ANN401 - any of our kinds
        self._collection(kind)[self._collection_key(kind, key)] = decoded
        if isinstance(decoded, Workload):
            for site in _placed_sites(decoded):
                self._workloads_at.setdefault(site, {})[key] = None
        elif isinstance(decoded, SiteGrant):
            for site in decoded.spec.sites:
                self._grants_by_site.setdefault(site, {})[key[1]] = decoded

    def _drop(self, kind: str, key: WorkKey) -> None:
        self.invalid.pop((kind, key), None)
        gone = self._collection(kind).pop(self._collection_key(kind, key), None)
        if kind == WORKLOADS.kind:
            self.raw_workloads.pop(key, None)
        if isinstance(gone, Workload):
            self._unindex_placement(key, gone)
        elif isinstance(gone, SiteGrant):
            for site in gone.spec.sites:
                self._grants_by_site.get(site, {}).pop(key[1], None)

    def _unindex_placement(self, key: WorkKey, gone: Workload) -> None:
        for site in _placed_sites(gone):
            workloads = self._workloads_at.get(site, {})
            workloads.pop(key, None)
            if not workloads:
                self._workloads_at.pop(site, None)

    def _index_tenants(self) -> None:
        """Builds the tree and the index after tenants have changed; a status alone changes none."""
        if not self._is_tenant_index_old:
            return
        self._is_tenant_index_old = False
        found: dict[str, tuple[Tenant, ...]] = {}
        self._tenant_tree = tenant_tree(self.tenants.values())
        for _, tenant in sorted(self._tenant_tree.tenants.items()):
            for namespace in set(tenant.spec.namespaces):
                found[namespace] = (*found.get(namespace, ()), tenant)
        self._tenants_by_namespace = found

    @staticmethod
    def _collection_key(kind: str, key: WorkKey) -> WorkKey | str:
        return key if kind in _NAMESPACED else key[1]

    def _collection(self, kind: str) -> dict[Any, Any]:
        collections: dict[str, dict[Any, Any]] = {
            SITES.kind: self.sites,
            GRANTS.kind: self.grants,
            SCHEMES.kind: self.schemes,
            TENANTS.kind: self.tenants,
            POLICIES.kind: self.policies,
            CLUSTER_POLICIES.kind: self.cluster_policies,
            WORKLOADS.kind: self.workloads,
        }
        return collections[kind]


_NAMESPACED = frozenset({WORKLOADS.kind, POLICIES.kind})


class _PackedObject(Mapping[str, Any]):
    """An object whose metadata are at hand, and all else as JSON that is decoded when it is read.

    Decoded, the status of a workload takes five times the memory of its JSON, in a hundred objects
    that the collector of cyclic garbage would look through. Between two writes no code reads it.
    """

    __slots__ = ("_data", "_metadata", "_names")

    def __init__(self, body: Object) -> None:
        rest = {name: value for name, value in body.items() if name != "metadata"}
        self._data = msgspec.json.encode(rest)
        self._names = frozenset(rest)
        self._metadata = body["metadata"]

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - JSON
        if name == "metadata":
            return self._metadata
        if name not in self._names:
            raise KeyError(name)
        return msgspec.json.decode(self._data)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(("metadata", *msgspec.json.decode(self._data)))

    def __len__(self) -> int:
        return 1 + len(self._names)


def _packed(body: Object) -> Mapping[str, Any]:
    """The same object in little memory; as it is, if it cannot be written as JSON again."""
    try:
        return _PackedObject(body)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return body


def _placed_sites(workload: Workload) -> set[str]:
    return {site for group in workload.status.placement.groups for site in group.sites}


def _sites_concerned(one: Any) -> frozenset[str]:  # noqa: ANN401 - any of our kinds, or none
    if isinstance(one, SiteGrant):
        return frozenset(one.spec.sites)
    return frozenset({one.metadata.name}) if isinstance(one, Site) else frozenset()


def _is_same_spec(before: Any, after: Any) -> bool:  # noqa: ANN401 - any of our kinds, or none
    """Whether nothing changed but the status, which the scheduler itself writes."""
    if before is None or after is None:
        return before is after
    old, new = before.metadata, after.metadata
    return (before.spec, old.uid, old.labels) == (after.spec, new.uid, new.labels)


def _without_spec(body: Object) -> Object:
    """What is kept of a workload's JSON: its spec is decoded, and managedFields are not used."""
    kept = {name: value for name, value in body.items() if name != "spec"}
    metadata = kept["metadata"]
    if "managedFields" in metadata:
        kept["metadata"] = {
            name: value for name, value in metadata.items() if name != "managedFields"
        }
    return kept


def _is_same_object(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["metadata"].get("uid") == other["metadata"].get("uid"))


def _without_epoch(status: Mapping[str, Any]) -> dict[str, Any]:
    """A status but for its epoch, which a leader lowers where it is no leader's (`epoch_reset`)."""
    return {name: value for name, value in status.items() if name != "epoch"}


def _resource_version(meta: Object) -> int:
    """A resourceVersion as an integer, as KEP-5504 has it; 0 for any other form."""
    text = str(meta.get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0
