"""What the web server answers from the ledger: pages of records, and blobs, as JSON.

Each call opens the ledger, so that any thread may call it. The bodies of records are passed on as
they were hashed, so that a reader elsewhere sees the same record.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from scheduler.ledger.errors import LedgerError
from scheduler.ledger.fleet import child_digests
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import VICTIMS, Record
from scheduler.ledger.storage.places import LedgerPlace
from scheduler.model.demand.facts import RESERVED_FOR_PREFIX
from scheduler.model.demand.preemption import POSSIBLE_VICTIMS

MAX_RECORDS = 256
"""The most records of one page."""


def read_page(place: LedgerPlace, query: Mapping[str, str]) -> bytes:
    """A page of records: by `id`, the `last` one, the last `about` a subject, or after a sequence.

    A share of a record has its own id, `ID#INDEX`, and the body of the record.

    Raises:
        LookupError: the ledger cannot be read; the message says why.
        ValueError: `after` or `limit` is no whole number.
    """
    after, limit = int(query.get("after", "0")), int(query.get("limit", str(MAX_RECORDS)))
    limit = max(1, min(limit, MAX_RECORDS))
    after = max(0, min(after, 2**62))
    try:
        with LedgerReader(place) as reader:
            records = _find(reader, query, after, limit)
    except LedgerError as error:
        raise LookupError(f"the ledger cannot be read: {error}") from error
    rows = [
        {
            "seq": one.seq,
            "id": one.id,
            "hash": one.hash,
            "subject": one.subject,
            "body": one.body.decode(),
        }
        for one in records
    ]
    return json.dumps({"records": rows}, ensure_ascii=False).encode()


def _find(reader: LedgerReader, query: Mapping[str, str], after: int, limit: int) -> list[Record]:
    if "id" in query:
        found = reader.find(query["id"])
    elif "about" in query:
        found = reader.last_about(query["about"])
    elif "last" in query:
        found = reader.last()
    else:
        return reader.records(after, limit, subject=query.get("subject"))
    return [found] if found else []


def read_blob(place: LedgerPlace, digest: str) -> bytes:
    """The JSON value under a digest.

    Raises:
        KeyError: there is none.
        LookupError: the ledger cannot be read.
    """
    try:
        with LedgerReader(place) as reader:
            if reader.packed_blob(digest) is None:
                raise KeyError(f"there is no blob {digest}")
            return json.dumps(reader.blob(digest), ensure_ascii=False).encode()
    except LedgerError as error:
        raise LookupError(f"the ledger cannot be read: {error}") from error


def read_blob_of(place: LedgerPlace, digest: str, record_id: str) -> bytes:
    """The JSON value under a digest, as who may read a record may see it.

    The workloads that were in flight or planned at sites, and those that could have ended, have no
    names there, but those of the record's namespace and those that its decision names: how much
    there was explains the decision, and not whose it was. Of what a batch assigned only these are
    there.

    Raises:
        KeyError: there is no such record, or it does not refer to the blob.
        LookupError: the ledger cannot be read.
    """
    try:
        with LedgerReader(place) as reader:
            record = reader.find(record_id)
            if record is None or digest not in _blobs_of(reader, record):
                raise KeyError(f"record {record_id} does not refer to blob {digest}")
            value, names = reader.blob(digest), _names_in(reader, record)
    except LedgerError as error:
        raise LookupError(f"the ledger cannot be read: {error}") from error
    return json.dumps(without_other_names(value, names), ensure_ascii=False).encode()


def _blobs_of(reader: LedgerReader, record: Record) -> frozenset[str]:
    """The digests of all blobs that a record refers to, with those of its state of the fleet."""
    known = _recent_blobs.get(record.hash)
    if known is None:
        found, waiting = set(record.refs), [str(record.content.get("fleet", ""))]
        while waiting:
            digest = waiting.pop()
            # What a spec says is a tenant's word: only the hub's own nodes are followed.
            below = child_digests(reader.blob(digest)) if digest in found else ()
            fresh = [one for one in below if one not in found]
            found.update(fresh)
            waiting += fresh
        known = frozenset(found)
        if len(_recent_blobs) >= _MAX_RECENT:
            _recent_blobs.clear()
        _recent_blobs[record.hash] = known
    return known


_MAX_RECENT = 8
_recent_blobs: dict[str, frozenset[str]] = {}
"""By the hash of a record; a client asks for the blobs of one record one after the other."""


@dataclass(frozen=True, slots=True)
class VisibleNames:
    """Which names who may read one namespace sees, and what stands for the others.

    Attributes:
        namespace: whose workloads are named.
        shown: names of other workloads and tenants that are seen too.
        aliases: what stands for a workload; for those that are not there, a digest does.
    """

    namespace: str
    shown: Collection[str] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the name of a workload is seen."""
        return name.startswith(f"{self.namespace}/") or name in self.shown

    def of(self, name: str) -> str:
        """The name of a workload, or what stands for it; two workloads stay two."""
        if self.has(name):
            return name
        return self.aliases.get(name) or f"-/{sha256(name.encode()).hexdigest()[:12]}"


def _names_in(reader: LedgerReader, record: Record) -> VisibleNames:
    """The names that readers of a record see: of its namespace, and what its own words name.

    These are what ends by its decision, the budgets that breaks, and who gives quota back.
    """
    decision, demand = record.content.get("decision") or {}, record.content.get("demand") or {}
    preemption = decision.get("preemption") or {}
    ended = (str(one["workload"]) for one in preemption.get("victims") or ())
    broken = preemption.get("brokenBudgets") or ()
    shown = frozenset(ended).union(broken, demand.get("reclaim") or ())
    names = VisibleNames(record.subject.partition("/")[0], shown)
    digest = record.content.get(VICTIMS)
    victims = reader.blob(str(digest))[POSSIBLE_VICTIMS] if digest else ()
    aliases = _aliases([str(one["workload"]) for one in victims], names)
    return replace(names, aliases=aliases)


def _aliases(workloads: list[str], names: VisibleNames) -> dict[str, str]:
    """What stands for the possible victims that are not seen: it sorts as their names do.

    A decision between equal victims goes by their names, and a replay must come to the same.
    """
    found, before = dict[str, str](), ""
    for index, name in enumerate(sorted(workloads)):
        if names.has(name):
            before = name
        else:  # "!" sorts before all that a name may go on with
            found[name] = f"{before}!{index:04}"
    return found


def without_other_names(value: Any, names: VisibleNames) -> Any:  # noqa: ANN401 - any JSON value
    """A blob without the names of workloads that are not seen.

    Args:
        value: the blob, as JSON.
        names: which are seen.
    """
    if isinstance(value, list):
        return [one for one in value if _is_seen(one, names)]
    if not isinstance(value, dict):
        return value
    in_flight, victims = value.get(_IN_FLIGHT), value.get(POSSIBLE_VICTIMS)
    if isinstance(in_flight, list):
        value = {**value, _IN_FLIGHT: [_unnamed(one, names) for one in in_flight]}
    planned = value.get(_PLANNED)
    if isinstance(planned, list):
        value = {**value, _PLANNED: [_unnamed_run(one, names) for one in planned]}
    if isinstance(victims, list):
        value = {**value, POSSIBLE_VICTIMS: [_unnamed_victim(one, names) for one in victims]}
    return value


_IN_FLIGHT, _PLANNED, _HIDDEN = "inFlight", "planned", "-"


def _is_seen(one: Any, names: VisibleNames) -> bool:  # noqa: ANN401 - any JSON value
    """Whether an entry of a list is of no workload, or of one whose name is seen."""
    name = one.get("workload") if isinstance(one, dict) else None
    return name is None or names.has(str(name))


def _unnamed(one: Any, names: VisibleNames) -> Any:  # noqa: ANN401 - any JSON value
    name = str(one.get("workload", ""))
    prefix = RESERVED_FOR_PREFIX if name.startswith(RESERVED_FOR_PREFIX) else ""
    return {**one, "workload": prefix + names.of(name.removeprefix(prefix))}


def _unnamed_run(one: Any, names: VisibleNames) -> Any:  # noqa: ANN401 - any JSON value
    if "workload" not in one:
        return one
    return {**_unnamed(one, names), "pods": [_unnamed(pod, names) for pod in one.get("pods", ())]}


def _unnamed_victim(one: Any, names: VisibleNames) -> Any:  # noqa: ANN401 - any JSON value
    name, budget = str(one["workload"]), one.get("budget")
    if name.startswith(f"{names.namespace}/"):
        return one
    hidden = {"budget": _HIDDEN} if budget and f"{name}: {budget}" not in names.shown else {}
    hidden |= {} if one.get("tenant") in names.shown else {"tenant": _HIDDEN}
    return {**one, "workload": names.of(name), **hidden}
