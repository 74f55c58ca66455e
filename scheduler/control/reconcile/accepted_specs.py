"""What was accepted last, of each workload: from the hub, else from this scheduler's ledger.

The hub has it in `Workload.status.accepted`, or beside the workload in a ControllerRevision when it
is too large for a status: of that kind tenants may read, and only cluster roles may write. The
ledger is asked for objects that an older version wrote.
"""

import logging
from collections import OrderedDict
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
from scheduler.model.kinds.workload import AcceptedReference, Workload

_log = logging.getLogger(__name__)

ACCEPTED_LABEL = "kapok.dev/accepted"
"""Label of the ControllerRevisions that hold what was accepted."""

_Reading = tuple[AcceptedReference, AcceptedSpec | AcceptedDamaged]

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
    _read: dict[WorkKey, _Reading] = field(default_factory=dict, init=False)
    _unpacked: OrderedDict[WorkKey, _Reading] = field(default_factory=OrderedDict, init=False)

    def last_accepted(self, workload: Workload) -> AcceptedSpec | None:
        """The spec and the demand that were accepted last; None: nothing says so any more.

        Raises:
            ValueError: the record in the ledger cannot be read.
        """
        found = self._read_status(workload)
        if isinstance(found, AcceptedSpec):
            return found
        return self.recorder.last_accepted(workload.metadata.key)

    def problem_of(self, workload: Workload) -> str:
        """Why what the hub keeps as accepted cannot be used; "" if it can, or if it keeps none."""
        found = self._read_status(workload)
        return str(found) if isinstance(found, AcceptedDamaged) else ""

    def needs_load(self, workload: Workload) -> bool:
        """Whether what was accepted stands in an object of its own, which was not read yet."""
        reference = workload.status.accepted
        if reference is None or reference.content:
            return False
        return self._read.get(_key_of(workload), (None, None))[0] != reference

    async def load(self, workload: Workload) -> None:
        """Reads it.

        Raises:
            HubError: the hub does not answer now.
        """
        reference = workload.status.accepted
        if reference is None:
            return
        key, name = _key_of(workload), revision_name(workload, reference.digest)
        try:
            body = await self.hub.get(CONTROLLER_REVISIONS, name, key[0])
        except NotFound:
            problem = AcceptedDamaged(f"ControllerRevision {name}, which has it, is gone")
            self._read[key] = (reference, problem)
            return
        self._read[key] = (reference, _unpack(reference.digest, _content_of(body)))

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

    async def remove_former(self, workload: Workload, present: AcceptedReference | None) -> None:
        """Deletes what a written status does not name any more; else it goes with the workload."""
        former = workload.status.accepted
        if former is None or former.content or not former.digest:
            return
        if present is not None and (present.digest, present.content) == (former.digest, ""):
            return
        name = revision_name(workload, former.digest)
        try:
            await self.hub.delete(CONTROLLER_REVISIONS, name, workload.metadata.namespace)
        except HubError as error:
            _log.warning("ControllerRevision %s stays until its workload goes: %s", name, error)

    def forget(self, key: WorkKey) -> None:
        """Drops what was read of a workload that is gone."""
        self._read.pop(key, None)
        self._unpacked.pop(key, None)

    def _read_status(self, workload: Workload) -> AcceptedSpec | AcceptedDamaged | None:
        reference, key = workload.status.accepted, _key_of(workload)
        if reference is None:
            return None
        known, found = self._read.get(key, (None, None))
        if known == reference and found is not None:
            return found
        if not reference.content:
            return AcceptedDamaged("the object that has it was not read yet")
        known, found = self._unpacked.pop(key, (None, None))
        if known != reference or found is None:
            found = _unpack(reference.digest, reference.content)
        self._unpacked[key] = (reference, found)
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


def _key_of(workload: Workload) -> WorkKey:
    return (workload.metadata.namespace, workload.metadata.name)
