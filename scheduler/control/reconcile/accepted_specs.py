"""What was accepted last, of each workload: from the hub, else from this scheduler's ledger.

The hub has it in `Workload.status.accepted`, or beside the workload in a ControllerRevision when it
is too large for a status: of that kind tenants may read, and only cluster roles may write. The
ledger is asked for objects that an older version wrote.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from scheduler.control.ports.hub import (
    CONTROLLER_REVISIONS,
    Conflict,
    Hub,
    HubError,
    NotFound,
    Object,
)
from scheduler.control.ports.ledger import AcceptedSpec, DecisionRecorder
from scheduler.control.status.accepted import (
    AcceptedDamaged,
    PackedAcceptance,
    unpack_accepted,
)
from scheduler.model.kinds.fields import API_VERSION
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import AcceptedReference, Workload, WorkloadStatus

_log = logging.getLogger(__name__)

ACCEPTED_LABEL = "kapok.dev/accepted"
"""Label of the ControllerRevisions that hold what was accepted."""

_Reading = tuple[AcceptedReference, AcceptedSpec | AcceptedDamaged]
_Slot = tuple[str, str, str]
"""Namespace and name of a workload, and which of its two contents."""
_PRESENT, _FORMER = "accepted", "former"

_DIGEST_DIGITS = 16
_MAX_UNPACKED = 128
"""So many that stand in statuses are kept unpacked; the status has them anyway."""
_MAX_NAME_LENGTH = 200


@dataclass(slots=True, kw_only=True)
class AcceptedSpecs:
    """Reads and keeps what was accepted last.

    Attributes:
        hub: for what is too large for a status.
        recorder: the ledger.
    """

    hub: Hub
    recorder: DecisionRecorder
    _read: dict[_Slot, _Reading] = field(default_factory=dict, init=False)
    _unpacked: OrderedDict[_Slot, _Reading] = field(default_factory=OrderedDict, init=False)

    def last_accepted(self, workload: Workload) -> AcceptedSpec | None:
        """The spec and the demand that were accepted last; None: nothing says so any more.

        Raises:
            ValueError: the record in the ledger cannot be read.
        """
        found = self._read_reference(workload, workload.status.accepted)
        if isinstance(found, AcceptedSpec):
            return found
        return self.recorder.last_accepted(workload.metadata.key)

    def former_accepted(self, workload: Workload) -> AcceptedSpec | None:
        """What was accepted before, while a rollout has not replaced it; None: not known."""
        found = self._read_reference(workload, workload.status.former_accepted, _FORMER)
        return found if isinstance(found, AcceptedSpec) else None

    def problem_of(self, workload: Workload) -> str:
        """Why what the hub keeps as accepted cannot be used; "" if it can, or if it keeps none."""
        found = self._read_reference(workload, workload.status.accepted)
        return str(found) if isinstance(found, AcceptedDamaged) else ""

    def needs_load(self, workload: Workload) -> bool:
        """Whether what was accepted stands in an object of its own, which was not read yet."""
        return any(self._to_load(workload))

    async def load(self, workload: Workload) -> None:
        """Reads it.

        Raises:
            HubError: the hub does not answer now.
        """
        for slot, reference in self._to_load(workload):
            name = revision_name(workload, reference.digest)
            try:
                body = await self.hub.get(CONTROLLER_REVISIONS, name, slot[0])
            except NotFound:
                problem = AcceptedDamaged(f"ControllerRevision {name}, which has it, is gone")
                self._read[slot] = (reference, problem)
                continue
            self._read[slot] = (reference, _unpack(reference.digest, _content_of(body)))

    def _to_load(self, workload: Workload) -> Iterator[tuple[_Slot, AcceptedReference]]:
        status = workload.status
        for part, reference in ((_PRESENT, status.accepted), (_FORMER, status.former_accepted)):
            slot = _slot_of(workload, part)
            if reference is None or reference.content:
                continue
            if self._read.get(slot, (None, None))[0] != reference:
                yield slot, reference

    async def store(self, workload: Workload, packed: PackedAcceptance) -> None:
        """Writes what is too large for a status; the status that names it is written after it.

        Raises:
            HubError: the hub refused the write or could not do it.
        """
        body = _revision_of(workload, packed)
        try:
            await self.hub.create(CONTROLLER_REVISIONS, body)
        except Conflict:
            namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
            if await self._holds(name, namespace, packed, workload.metadata.uid):
                return
            await self.hub.delete(CONTROLLER_REVISIONS, name, namespace)
            await self.hub.create(CONTROLLER_REVISIONS, body)

    async def remove_former(self, workload: Workload, written: WorkloadStatus) -> None:
        """Deletes what a written status does not name any more; else it goes with the workload."""
        named = {
            one.digest
            for one in (written.accepted, written.former_accepted)
            if one is not None and not one.content
        }
        status = workload.status
        before = [one for one in (status.accepted, status.former_accepted) if one is not None]
        for former in before:
            if former.content or not former.digest or former.digest in named:
                continue
            name = revision_name(workload, former.digest)
            try:
                await self.hub.delete(CONTROLLER_REVISIONS, name, workload.metadata.namespace)
            except HubError as error:
                _log.warning("ControllerRevision %s stays until its workload goes: %s", name, error)

    def forget(self, key: WorkKey) -> None:
        """Drops what was read of a workload that is gone."""
        for part in (_PRESENT, _FORMER):
            self._read.pop((*key, part), None)
            self._unpacked.pop((*key, part), None)

    def _read_reference(
        self, workload: Workload, reference: AcceptedReference | None, part: str = _PRESENT
    ) -> AcceptedSpec | AcceptedDamaged | None:
        slot = _slot_of(workload, part)
        if reference is None:
            return None
        known, found = self._read.get(slot, (None, None))
        if known == reference and found is not None:
            return found
        if not reference.content:
            return AcceptedDamaged("the object that has it was not read yet")
        known, found = self._unpacked.pop(slot, (None, None))
        if known != reference or found is None:
            found = _unpack(reference.digest, reference.content)
        self._unpacked[slot] = (reference, found)
        while len(self._unpacked) > _MAX_UNPACKED:
            self._unpacked.popitem(last=False)
        return found

    async def _holds(self, name: str, namespace: str, packed: PackedAcceptance, uid: str) -> bool:
        """Whether the object of that name has the content, and goes with the workload."""
        body = await self.hub.get(CONTROLLER_REVISIONS, name, namespace)
        owners = [one.get("uid") for one in body["metadata"].get("ownerReferences") or ()]
        return _content_of(body) == packed.content and owners == [uid]


def revision_name(workload: Workload, digest: str) -> str:
    """The name of the ControllerRevision that has what was accepted of a workload."""
    digits = digest.removeprefix("sha256:")[:_DIGEST_DIGITS]
    return f"{workload.metadata.name[:_MAX_NAME_LENGTH].rstrip('-.')}-{digits}"


def _revision_of(workload: Workload, packed: PackedAcceptance) -> Object:
    meta = workload.metadata
    owner = {
        "apiVersion": API_VERSION,
        "kind": Workload.KIND,
        "name": meta.name,
        "uid": meta.uid,
    }
    return {
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": {
            "name": revision_name(workload, packed.digest),
            "namespace": meta.namespace,
            "labels": {ACCEPTED_LABEL: "true", "app.kubernetes.io/managed-by": "kapok"},
            "ownerReferences": [owner],
        },
        "data": {"content": packed.content},
        "revision": meta.generation,
    }


def _content_of(body: Object) -> str:
    data = body.get("data")
    content = data.get("content") if isinstance(data, dict) else None
    return content if isinstance(content, str) else ""


def _unpack(digest: str, content: str) -> AcceptedSpec | AcceptedDamaged:
    try:
        return unpack_accepted(digest, content)
    except AcceptedDamaged as error:
        return error


def _slot_of(workload: Workload, part: str) -> _Slot:
    return (workload.metadata.namespace, workload.metadata.name, part)
