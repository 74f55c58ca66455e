"""What the web server answers from the ledger: pages of records, and blobs, as JSON.

Each call opens the ledger, so that any thread may call it. The bodies of records are passed on as
they were hashed, so that a reader elsewhere sees the same record.
"""

import json
from collections.abc import Mapping

from scheduler.ledger.errors import LedgerError
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import Record
from scheduler.ledger.storage.places import LedgerPlace

MAX_RECORDS = 256
"""The most records of one page."""


def read_page(place: LedgerPlace, query: Mapping[str, str]) -> bytes:
    """A page of records: by `id`, the `last` one, the last `about` a subject, or after a sequence.

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
        LookupError: there is none, or the ledger cannot be read.
    """
    try:
        with LedgerReader(place) as reader:
            return json.dumps(reader.blob(digest), ensure_ascii=False).encode()
    except LedgerError as error:
        raise LookupError(f"the ledger cannot be read: {error}") from error
