"""What a data directory or a hub has lost since it was last used: found by what is left of it.

Each loss is known by its traces in the other files: a ledger with records had a hub with objects,
statuses with decision hashes had a ledger, a public key had its private half. A start with a loss
is refused, because a new file in its place would look like a new hub, which withdraws everything
that it does not know. `adopt.py` accepts a loss on an operator's word.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from scheduler.control.leader_election import LEASE_NAME
from scheduler.control.ports.hub import LEASES, NAMESPACE, WORKLOADS, Hub, NotFound, Object
from scheduler.control.replicas import leaders_key_of
from scheduler.ledger.errors import LedgerMissingError
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.storage.places import LedgerPlace
from scheduler.ledger.storage.sqlite import LEDGER_FILE
from scheduler.model.kinds.workload import DecisionReference, Workload
from scheduler.mqtt.keyring import load_or_make_key
from scheduler.recovery.databases import has_content, read_only
from scheduler.recovery.files import OBJECTS_FILE, read_public_key
from scheduler.runtime.data_dir import (
    HUB_KEY_FILE,
    HUB_PUBLIC_KEY_FILE,
    PORTS_FILE,
    RECEIVED_FILE,
    RECEIVED_MARK_FILE,
    DataDirectoryError,
)

LossName = Literal["objects", "lease", "ledger", "keys", "received"]
LOSS_NAMES: tuple[LossName, ...] = ("objects", "lease", "ledger", "keys", "received")
ADOPTION_KIND = "adoption"
"""Kind of the ledger's record that an operator accepted a loss."""
ADOPTION_SUBJECT = "hub"
"""The subject of these records, which are about no single workload."""
_MOVE = "; `kapok ledger move` brings the records of the file that was used before"
_MAX_ADOPTIONS = 1000
_NEWEST_RECORDS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Something that is missing or was replaced.

    Attributes:
        name: the value of `--lost` that accepts it.
        file: the file or object.
        what: what was found, as a clause after the file's name.
        meaning: what starting all the same would mean.
        data_dir: the data directory.
    """

    name: LossName
    file: str
    what: str
    meaning: str
    data_dir: Path

    @property
    def sentence(self) -> str:
        """One sentence with the file, what it means and the way out."""
        return (
            f"{self.file}: {self.what}; {self.meaning}; put it back, or accept the loss: "
            f"kapok hub adopt --data-dir {self.data_dir} --lost {self.name}"
        )


class LossNotAccepted(DataDirectoryError):
    """The start is refused, because something is lost and no operator has accepted that."""


def refuse_losses(losses: Iterable[Loss]) -> None:
    """Refuses the start if there is a loss.

    Raises:
        LossNotAccepted: the message has one sentence for each loss.
    """
    sentences = [loss.sentence for loss in losses]
    if sentences:
        raise LossNotAccepted("; ".join(sentences))


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFacts:
    """What the ledger's file shows of the time before.

    Attributes:
        records: number of its records; 0 also without a file.
        epoch: the epoch of the newest of them that has one.
    """

    records: int = 0
    epoch: int = 0


def read_ledger_facts(place: LedgerPlace) -> LedgerFacts:
    """Reads what a ledger holds.

    Raises:
        LedgerError: this is not a ledger, or its server does not answer.
        ValueError: it cannot be read.
    """
    if isinstance(place, Path) and not has_content(place):
        return LedgerFacts()
    try:
        with LedgerReader(place) as reader:
            last = reader.last()
            newest = reader.newest_ids(_NEWEST_RECORDS)
    except LedgerMissingError:  # a database in which there is none yet
        return LedgerFacts()
    if last is None:
        return LedgerFacts()
    # Ids are EPOCH-SEQ; an adoption has no epoch.
    return LedgerFacts(records=last.seq, epoch=max(map(_epoch_of, newest)))


def _epoch_of(record_id: str) -> int:
    text = record_id.partition("-")[0]
    return int(text) if text.isdecimal() else 0


def find_file_losses(
    root: Path, ledger: LedgerFacts, *, is_hub_embedded: bool, is_key_shared: bool = False
) -> list[Loss]:
    """The losses that a data directory's files show, before any of them is opened for use.

    Args:
        root: the data directory.
        ledger: what its ledger holds.
        is_hub_embedded: its hub is in the directory too.
        is_key_shared: the signing key is not in the directory.
    """
    found = []
    if is_hub_embedded and ledger.records and not _has_objects(root / OBJECTS_FILE):
        found.append(
            Loss(
                name="objects",
                file=str(root / OBJECTS_FILE),
                what=f"lost: missing or empty beside a ledger of {ledger.records} records",
                meaning="a hub that starts without its objects would withdraw what its sites run",
                data_dir=root,
            )
        )
    problem = "" if is_key_shared else _key_problem(root, ledger)
    if problem:
        found.append(
            Loss(
                name="keys",
                file=str(root / HUB_KEY_FILE),
                what=problem,
                meaning="agents refuse orders that are signed by a key which they do not trust",
                data_dir=root,
            )
        )
    if (root / RECEIVED_MARK_FILE).exists() and not has_content(root / RECEIVED_FILE):
        found.append(
            Loss(
                name="received",
                file=str(root / RECEIVED_FILE),
                what=f"lost: missing or empty beside {RECEIVED_MARK_FILE}",
                meaning="what agents without nonces sent before could be played again",
                data_dir=root,
            )
        )
    return found


def _has_objects(path: Path) -> bool:
    if not has_content(path):
        return False
    with read_only(path) as database:
        return database.execute("SELECT 1 FROM objects LIMIT 1").fetchone() is not None


def _key_problem(root: Path, ledger: LedgerFacts) -> str:
    """What is wrong with the signing key; "" if nothing is."""
    key, public = root / HUB_KEY_FILE, root / HUB_PUBLIC_KEY_FILE
    if public.exists():
        known = read_public_key(public)
        if not key.exists():
            return f"lost: missing beside {HUB_PUBLIC_KEY_FILE} with its public half {known}"
        present = str(load_or_make_key(key).public)
        if present != known:
            return f"replaced: its public half is {present}, and {HUB_PUBLIC_KEY_FILE} has {known}"
    elif not key.exists() and ledger.records and (root / PORTS_FILE).exists():
        return f"lost: missing beside a ledger of {ledger.records} records"
    return ""


def find_unaccepted_ledger_loss(root: Path, place: LedgerPlace) -> list[Loss]:
    """The loss of a ledger without which the hub started: nothing else showed that it was lost.

    Such a hub decides all but the names that sites report and that it does not know (reason
    `NotAdopted`), and waits for the operator's word.

    Raises:
        LedgerError: the file is not a ledger.
    """
    if not (root / HUB_KEY_FILE).exists():
        return []
    if not isinstance(place, Path) or has_content(place):
        with LedgerReader(place) as reader:
            about_loss = [
                record
                for record in reader.records(0, _MAX_ADOPTIONS, subject=ADOPTION_SUBJECT)
                if "ledger" in (record.content.get("lost") or ())
            ]
        if not about_loss or about_loss[-1].kind == ADOPTION_KIND:
            return []
    return [
        Loss(
            name="ledger",
            file=str(place),
            what="lost before the last start, and begun again",
            meaning="workloads that only sites know wait for an operator's word",
            data_dir=root,
        )
    ]


async def find_hub_losses(
    hub: Hub,
    root: Path,
    ledger: LedgerFacts,
    *,
    is_ledger_expected: bool,
    place: LedgerPlace | None = None,
    key: str = "",
) -> list[Loss]:
    """The losses that show in the hub's objects, before the ledger and the key are opened.

    Args:
        hub: the hub, embedded or real.
        root: the data directory.
        ledger: what its ledger holds.
        is_ledger_expected: whether decisions of the hub were recorded there: the hub is embedded,
            the directory has been used, or replicas share the ledger. The first start of a further
            scheduler of a real cluster with a file has no ledger yet.
        place: where its ledger is; None: in the data directory.
        key: the public key with which this scheduler signs; "" when it has none yet.

    Raises:
        HubError: the hub cannot be read.
    """
    found = []
    place = place or root / LEDGER_FILE
    lease = await _read_lease(hub)
    has_lease = lease is not None
    leaders_key = leaders_key_of(lease or {})
    if key and leaders_key and key != leaders_key:
        found.append(
            Loss(
                name="keys",
                file=f"Lease {NAMESPACE}/{LEASE_NAME}",
                what=f"it names the signing key {leaders_key}, and the one here is {key}",
                meaning="agents refuse orders that are signed by a key which they do not trust, and"
                " replicas share one (hub.signing_key_secret, hub.signing_key_file)",
                data_dir=root,
            )
        )
    needs_statuses = not has_lease or (is_ledger_expected and not ledger.records)
    statuses = await _statuses(hub) if needs_statuses else []
    epoch = max((_number(one.get("epoch")) for one in statuses), default=0)
    if not has_lease and (ledger.records or epoch):
        traces = f"a ledger of {ledger.records} records" if ledger.records else "decided workloads"
        found.append(
            Loss(
                name="lease",
                file=f"Lease {NAMESPACE}/{LEASE_NAME}",
                what=f"lost: missing in the hub beside {traces}",
                meaning="epochs would begin again at 1, and sites refuse a lower epoch",
                data_dir=root,
            )
        )
    decided = sum(bool((one.get("decision") or {}).get("hash")) for one in statuses)
    if is_ledger_expected and not ledger.records and decided:
        found.append(
            Loss(
                name="ledger",
                file=str(place),
                what=f"lost: missing or empty beside {decided} workloads with recorded decisions",
                meaning="their decisions could not be explained or proven any more"
                + ("" if isinstance(place, Path) else _MOVE),
                data_dir=root,
            )
        )
    return found


def find_ledger_cut(
    root: Path,
    workloads: Iterable[Workload],
    *,
    is_hub_embedded: bool,
    place: LedgerPlace | None = None,
) -> list[Loss]:
    """The loss of the ledger's end, or of the whole ledger if another one stands in its place.

    A record is durable before a status names it, so the ledger holds the newest decision that any
    status names. With a real cluster as the hub, another scheduler may have had a file of its own.
    """
    place = place or root / LEDGER_FILE
    has_all = is_hub_embedded or not isinstance(place, Path)
    newest = max(
        (one.status.decision for one in workloads if one.status.decision and has_all),
        key=lambda each: each.decided_at.timestamp() if each.decided_at else 0.0,
        default=None,
    )
    if newest is None or not newest.id:
        return []
    with LedgerReader(place) as reader:
        if _is_recorded(reader, newest) or _is_accepted(reader, newest.decided_at):
            return []
    return [
        Loss(
            name="ledger",
            file=str(place),
            what=f"replaced: it lacks record {newest.id}, the newest decision that a status names",
            meaning="decisions could not be explained or proven any more",
            data_dir=root,
        )
    ]


def _is_recorded(reader: LedgerReader, decision: DecisionReference) -> bool:
    record = reader.find(decision.id)
    return record is not None and record.hash == decision.hash


def _is_accepted(reader: LedgerReader, decided_at: datetime | None) -> bool:
    """Whether an operator accepted the loss of the ledger after this decision."""
    accepted = [
        record
        for record in reader.records(limit=_MAX_ADOPTIONS, subject=ADOPTION_SUBJECT)
        if record.kind == ADOPTION_KIND and "ledger" in record.content.get("lost", ())
    ]
    return any(
        decided_at is None or datetime.fromisoformat(record.at) >= decided_at for record in accepted
    )


async def _read_lease(hub: Hub) -> Object | None:
    try:
        return await hub.get(LEASES, LEASE_NAME, NAMESPACE)
    except NotFound:
        return None


async def _statuses(hub: Hub) -> list[Object]:
    try:
        listing = await hub.list(WORKLOADS)
    except NotFound:  # the kinds are not installed, so there is no workload
        return []
    found = (item.get("status") for item in listing.items)
    return [one for one in found if isinstance(one, dict)]


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
