"""Which workload owns which Kubernetes object, so that two workloads never apply the same one."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from scheduler.model.demand.demand import NotAccepted
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload

ObjectName = tuple[str, str, str, str]
"""(namespace, API group, kind, name) of an object at every site."""


@dataclass(slots=True)
class ObjectOwnership:
    """Owners by object: the first workload that claims an object owns it."""

    _owners: dict[ObjectName, WorkKey] = field(default_factory=dict)
    _owned: dict[WorkKey, frozenset[ObjectName]] = field(default_factory=dict)

    def claim_all(self, workloads: Iterable[Workload]) -> None:
        """Claims for all workloads after a start: placed ones first, then older ones first."""
        for workload in sorted(workloads, key=_seniority):
            self.claim(workload)

    def claim(self, workload: Workload) -> tuple[WorkKey, str] | None:
        """Claims all objects of a workload, or none.

        Returns:
            None when the workload owns them now; else the owner of one of them, and which one.
        """
        key = (workload.metadata.namespace, workload.metadata.name)
        wanted = frozenset(_object_names(workload))
        for name in sorted(wanted):
            owner = self._owners.get(name)
            if owner is not None and owner != key:
                return owner, f"{name[2]} {name[3]}"
        self.release(key)
        self._owned[key] = wanted
        self._owners.update(dict.fromkeys(wanted, key))
        return None

    def release(self, key: WorkKey) -> bool:
        """Releases all objects of a workload; True if it owned any."""
        names = self._owned.pop(key, frozenset())
        for name in names:
            self._owners.pop(name, None)
        return bool(names)


def conflict_refusal(owner: WorkKey, object_name: str) -> NotAccepted:
    """The refusal of a workload that names an object of another workload."""
    return NotAccepted(
        reason="invalid",
        condition="Conflict",
        message=f"{object_name} already belongs to workload {owner[0]}/{owner[1]}; choose another "
        "name",
    )


def _object_names(workload: Workload) -> Iterable[ObjectName]:
    for manifest in workload.spec.manifests:
        meta = manifest.get("metadata")
        meta = meta if isinstance(meta, dict) else {}
        group = str(manifest.get("apiVersion", "")).rpartition("/")[0]
        namespace = str(meta.get("namespace") or workload.metadata.namespace)
        yield (namespace, group, str(manifest.get("kind")), str(meta.get("name")))


def _seniority(workload: Workload) -> tuple[bool, str, str]:
    created = workload.metadata.creation_timestamp
    age = created.isoformat() if created else "~"  # sorts after every date
    return (not workload.status.placement.groups, age, workload.metadata.key)
