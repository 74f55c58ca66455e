"""Which workload owns which Kubernetes object, so that two workloads never apply the same one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from scheduler.model.demand.demand import NotAccepted
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.checks import identities_of

ObjectName = tuple[str, str, str, str]
"""(namespace, API group, kind, name) of an object at every site; see `identities_of`."""


@dataclass(slots=True)
class ObjectOwnership:
    """Owners by object: the first workload that claims an object owns it.

    A claim counts while its workload is decided, and as long as it is placed. What an edited
    workload gives up stays its own until the new decision is carried out: its order still holds it.
    """

    _owners: dict[ObjectName, WorkKey] = field(default_factory=dict)
    _owned: dict[WorkKey, frozenset[ObjectName]] = field(default_factory=dict)
    _denied: set[ObjectName] = field(default_factory=set)
    _former: dict[WorkKey, frozenset[ObjectName]] = field(default_factory=dict)

    def claim_all(self, workloads: Mapping[WorkKey, Workload], slice_size: int) -> Iterator[None]:
        """Claims for all workloads after a start: placed ones first, then older ones first.

        Args:
            workloads: all of them; what changes meanwhile is claimed for as it is then.
            slice_size: yields after so many, so that the event loop serves others.
        """
        in_order = sorted(workloads, key=lambda key: _seniority(workloads[key]))
        for number, key in enumerate(in_order, start=1):
            if number % slice_size == 0:
                yield
            workload = workloads.get(key)
            if workload is not None:
                self.claim(workload)
        self._former.clear()

    def claim(self, workload: Workload) -> tuple[WorkKey, str] | None:
        """Claims all objects of a workload, or none.

        Returns:
            None when the workload owns them now; else the owner of one of them, and which one.
        """
        key = (workload.metadata.namespace, workload.metadata.name)
        wanted = frozenset(identities_of(workload.spec.manifests, key[0]))
        for name in sorted(wanted):
            owner = self._owners.get(name)
            if owner is not None and owner != key:
                self._denied.add(name)
                return owner, f"{name[2]} {name[3]}"
        former = self._owned.get(key, frozenset())
        if wanted != former:
            self._former.setdefault(key, former)
            self._owned[key] = wanted
            self._owners.update(dict.fromkeys(wanted, key))
        return None

    def settle(self, key: WorkKey) -> bool:
        """Gives up what the newest claim leaves out: its decision is carried out.

        Returns:
            Whether another workload was refused one of these objects, and may have it now.
        """
        given_up = self._former.pop(key, frozenset()) - self._owned.get(key, frozenset())
        return self._give_up(given_up)

    def undo(self, key: WorkKey) -> bool:
        """Returns to the claim before the newest one: its decision is not carried out.

        Returns:
            Whether another workload was refused an object that is given back, and may have it now.
        """
        former = self._former.pop(key, None)
        if former is None:
            return False
        given_up = self._owned.pop(key, frozenset()) - former
        if former:
            self._owned[key] = former
        return self._give_up(given_up)

    def _give_up(self, names: frozenset[ObjectName]) -> bool:
        wanted_by_others = self._denied & names
        self._denied -= wanted_by_others
        for name in names:
            self._owners.pop(name, None)
        return bool(wanted_by_others)

    def release(self, key: WorkKey) -> bool:
        """Releases all objects of a workload; True if it owned any."""
        names = self._owned.pop(key, frozenset()) | self._former.pop(key, frozenset())
        for name in names:
            self._owners.pop(name, None)
        return bool(names)

    def release_unplaced(self, key: WorkKey) -> bool:
        """Releases the objects of a workload that runs nowhere.

        Returns:
            Whether another workload was refused one of them, and may have it now.
        """
        wanted_by_others = self._denied & self._owned.get(key, frozenset())
        self._denied -= wanted_by_others
        self.release(key)
        return bool(wanted_by_others)


def conflict_refusal(owner: WorkKey, object_name: str) -> NotAccepted:
    """The refusal of a workload that names an object of another workload."""
    return NotAccepted(
        reason="invalid",
        condition="Conflict",
        message=f"{object_name} already belongs to workload {owner[0]}/{owner[1]}; choose another "
        "name",
    )


def _seniority(workload: Workload) -> tuple[bool, str, str]:
    created = workload.metadata.creation_timestamp
    age = created.isoformat() if created else "~"  # sorts after every date
    return (not workload.status.placement.groups, age, workload.metadata.key)
