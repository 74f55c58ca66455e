"""One record as JSON, for those who ask over HTTP."""

import json
import sqlite3
from pathlib import Path

from scheduler.ledger.errors import LedgerError
from scheduler.ledger.reader import LedgerReader


def decision_json(path: Path, record_id: str) -> bytes | None:
    """A record with its place and hash, or None when there is no such record.

    Opens the file anew, so that it may be called on any thread.

    Raises:
        LookupError: the ledger cannot be read; the message says why.
    """
    try:
        with LedgerReader(path) as reader:
            record = reader.find(record_id)
    except (LedgerError, sqlite3.Error) as error:
        raise LookupError(f"the ledger cannot be read: {error}") from error
    if record is None:
        return None
    facts = {"id": record.id, "seq": record.seq, "hash": record.hash, "subject": record.subject}
    return json.dumps({**facts, **record.fields}, ensure_ascii=False).encode()
