"""What the web server answers from the ledger: pages of records, and blobs, as JSON.

Each call opens the ledger, so that any thread may call it. The bodies of records are passed on as
they were hashed, so that a reader elsewhere sees the same record.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from scheduler.ledger.errors import LedgerError
from scheduler.ledger.fleet import child_digests
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import Record
from scheduler.ledger.storage.places import LedgerPlace
from scheduler.model.demand.facts import RESERVED_FOR_PREFIX

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

    The workloads that were in flight at sites have no names there, but that of the record itself
    and those of its namespace: how much was in flight explains the decision, and not whose it was.

    Raises:
        KeyError: there is no such record, or it does not refer to the blob.
        LookupError: the ledger cannot be read.
    """
    try:
        with LedgerReader(place) as reader:
            record = reader.find(record_id)
            if record is None or digest not in _blobs_of(reader, record):
                raise KeyError(f"record {record_id} does not refer to blob {digest}")
            value = reader.blob(digest)
    except LedgerError as error:
        raise LookupError(f"the ledger cannot be read: {error}") from error
    namespace = record.subject.partition("/")[0]
    return json.dumps(_without_other_names(value, namespace), ensure_ascii=False).encode()


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


def _without_other_names(value: Any, namespace: str) -> Any:  # noqa: ANN401 - any JSON value
    in_flight = value.get("inFlight") if isinstance(value, dict) else None
    if not isinstance(in_flight, list):
        return value
    return {**value, "inFlight": [_unnamed(one, namespace) for one in in_flight]}


def _unnamed(one: Any, namespace: str) -> Any:  # noqa: ANN401 - any JSON value
    name = str(one.get("workload", ""))
    prefix = RESERVED_FOR_PREFIX if name.startswith(RESERVED_FOR_PREFIX) else ""
    if name.removeprefix(prefix).startswith(f"{namespace}/"):
        return one
    # A digest keeps two workloads apart, and the order of equal ones.
    return {**one, "workload": f"{prefix}-/{sha256(name.encode()).hexdigest()[:12]}"}
