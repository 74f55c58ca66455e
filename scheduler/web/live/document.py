"""What one view shows, and the difference between two such documents as a server-sent event.

A document has named values and tables of rows. An event replaces values, sets rows, and removes a
row by null. The first event of a stream holds the whole document.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

_KEPT_EVENTS: Final = 32
"""A reader that is further behind gets the whole document again."""

_DELETED_ROW: Final = msgspec.Raw(b"null")

Rows = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Document:
    """What one view shows.

    Attributes:
        values: encoded values by name.
        tables: encoded rows by key, by table.
    """

    values: Mapping[str, bytes] = field(default_factory=dict)
    tables: Mapping[str, Rows] = field(default_factory=dict)


@dataclass(slots=True)
class SharedView:
    """The documents of one view over time, for all its readers.

    Attributes:
        document: the newest; None: there is none yet.
        version: counts the documents that differed from the one before.
    """

    document: Document | None = None
    version: int = 0
    _events: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=_KEPT_EVENTS))
    _whole: tuple[int, bytes] = (0, b"")
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def next_event(self, document: Document, now: str) -> bytes:
        """The event that leads from the newest document to this one; b"": they are equal.

        It changes nothing, so another thread may make it.

        Args:
            document: what the view shows now.
            now: the time of the state that it shows, RFC 3339.
        """
        if self.document is None:
            return encode_event({"first": True, **document_body(document)}, now)
        body = _difference(self.document, document)
        return encode_event(body, now) if body["values"] or body["tables"] else b""

    def advance(self, document: Document, event: bytes) -> None:
        """Takes in a document and the event that leads to it, and wakes its readers."""
        self.version += 1
        self.document = document
        self._events.append((self.version, event))
        self.wake()

    def wake(self) -> None:
        """Wakes the readers, also without a change."""
        woken, self._woken = self._woken, asyncio.Event()
        woken.set()

    async def wait(self) -> None:
        """Waits for the next change or call of `wake`."""
        await self._woken.wait()

    def since(self, version: int, now: str) -> bytes:
        """The events after `version`; all of the newest document if they are not kept.

        Args:
            version: what the reader has; 0: nothing.
            now: the time of the newest look, RFC 3339.
        """
        if version == self.version:
            return encode_event({}, now)  # nothing changed: it says that the stream lives
        missing = [event for number, event in self._events if number > version]
        if version and len(missing) == self.version - version:
            return b"".join(missing)
        if self._whole[0] != self.version and self.document is not None:
            body = {"first": True, **document_body(self.document)}
            self._whole = (self.version, encode_event(body, now))
        return self._whole[1]


def document_body(document: Document) -> dict[str, object]:
    """All of a document, as the body of an event."""
    return {
        "values": {name: msgspec.Raw(value) for name, value in document.values.items()},
        "tables": {
            name: {key: msgspec.Raw(row) for key, row in rows.items()}
            for name, rows in document.tables.items()
        },
    }


def encode_event(body: Mapping[str, object], now: str) -> bytes:
    """A body as a server-sent event."""
    values = body.get("values")
    dated = {**(values if isinstance(values, dict) else {}), "now": now}
    return b"data: " + msgspec.json.encode({**body, "values": dated}) + b"\n\n"


def _difference(before: Document, after: Document) -> dict[str, object]:
    values = {
        name: msgspec.Raw(value)
        for name, value in after.values.items()
        if before.values.get(name) != value
    }
    values |= {name: _DELETED_ROW for name in before.values if name not in after.values}
    changes = {
        name: _changed_rows(before.tables.get(name, {}), rows)
        for name, rows in after.tables.items()
    }
    return {"values": values, "tables": {name: rows for name, rows in changes.items() if rows}}


def _changed_rows(before: Rows, after: Rows) -> dict[str, msgspec.Raw]:
    if before is after:
        return {}
    changed = {
        name: msgspec.Raw(row)
        for name, row in after.items()
        if (known := before.get(name)) is not row and known != row
    }
    if len(after) - len(changed) < len(before):  # else each former row is still there
        changed |= {name: _DELETED_ROW for name in before if name not in after}
    return changed
