"""Node classes of a site's reports: read row by row, and of each row only what is new.

Node classes are most of a report, and between two reports few of their rows change. A row whose
JSON has the same bytes says the same. What the fleet makes of a row is remembered with it, so a
report is read and checked at the price of what differs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import msgspec

from agents.protocol.bounds import MAX_NODE_ROWS
from agents.protocol.codec import Codec, parse_json
from agents.protocol.delta import node_class_key
from agents.protocol.errors import WireError
from agents.protocol.report import FreeRow, ReportedNodeClass
from scheduler.model.kinds.site import NodeClass
from scheduler.mqtt.site_reports import can_fleet_read

_NODE_CLASS: Final = Codec(ReportedNodeClass)
_FREE_ROW: Final = Codec(FreeRow)
_PARTS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_NO_ROWS: Final = msgspec.Raw(b"[]")


FrameKey = tuple[tuple[str, bytes], ...]
"""The JSON of each field of a node class but its rows."""


class _ReadRow(NamedTuple):
    """A row of free capacity, and the same row as a figure of the site."""

    value: FreeRow
    figures: dict[str, float | str]


class _Frame(NamedTuple):
    """A node class without its rows: its value, its identity in deltas, and its figures."""

    value: ReportedNodeClass
    identity: bytes
    figures: NodeClass


class ReadClass(NamedTuple):
    """A node class that was read.

    Attributes:
        value: the class.
        identity: what deltas know it by.
        figures: the class as a figure of its site; None: the fleet cannot read it.
        amounts: the number of amounts in its rows.
        resources: what its rows name.
        frame: the JSON of all but its rows.
        rows: the JSON of each row.
    """

    value: ReportedNodeClass
    identity: bytes
    figures: NodeClass | None
    amounts: int
    resources: frozenset[str]
    frame: "FrameKey"
    rows: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ClassMemory:
    """What was read of the node classes of one message.

    Attributes:
        classes: by their JSON.
        by_id: the same, by the id of the value.
        frames: by the JSON of all but the rows.
        rows: by their JSON.
    """

    classes: dict[bytes, ReadClass] = field(default_factory=dict)
    by_id: dict[int, ReadClass] = field(default_factory=dict)
    frames: dict[FrameKey, _Frame] = field(default_factory=dict)
    rows: dict[bytes, _ReadRow] = field(default_factory=dict)


class ClassReader:
    """Reads the node classes of one message; `memory` is what to remember of it."""

    def __init__(self, known: Sequence[ClassMemory]) -> None:
        """Takes what is remembered of the messages before."""
        self.memory = ClassMemory()
        self._known = known
        self._new_rows: list[dict[str, float | str]] = []

    def read(self, data: bytes) -> tuple[ReportedNodeClass, ...]:
        """Reads a list of node classes.

        Raises:
            WireError: they are none.
            msgspec.MsgspecError: the same, from another parser.
        """
        items = [bytes(each) for each in _ITEMS.decode(data)]
        if len(items) > MAX_NODE_ROWS:
            raise WireError("too-large", f"more than {MAX_NODE_ROWS} node classes")
        read = {each: self._read_class(each) for each in dict.fromkeys(items)}
        if self._new_rows and not can_fleet_read(self._new_rows):
            read = {data: one._replace(figures=None) for data, one in read.items()}
        self.memory.classes.update(read)
        self.memory.by_id.update((id(one.value), one) for one in read.values())
        return tuple(read[each].value for each in items)

    def _read_class(self, data: bytes) -> ReadClass:
        for known in self._known:
            if data in known.classes:
                return self._keep_parts(known.classes[data])
        parts = _PARTS.decode(data)
        items = tuple([bytes(each) for each in _ITEMS.decode(parts.pop("free", _NO_ROWS))])
        if len(items) > MAX_NODE_ROWS:
            raise WireError("too-large", f"more than {MAX_NODE_ROWS} rows of a node class")
        key = tuple([(name, bytes(each)) for name, each in parts.items()])
        frame, rows = self._read_frame(key), self._read_rows(items)
        value = replace(frame.value, free=tuple([each.value for each in rows]))
        figures = tuple([each.figures for each in rows])
        return ReadClass(
            value=value,
            identity=frame.identity,
            figures=msgspec.structs.replace(frame.figures, free=figures),
            amounts=sum(map(len, figures)),
            resources=frozenset[str]().union(*figures),
            frame=key,
            rows=items,
        )

    def _keep_parts(self, known: ReadClass) -> ReadClass:
        """Remembers frame and rows of a class that is known: the next one may share them."""
        self._read_frame(known.frame)
        self._read_rows(known.rows)
        return known

    def _read_frame(self, key: FrameKey) -> _Frame:
        found = self.memory.frames.get(key)
        if found is None:
            found = next((each.frames[key] for each in self._known if key in each.frames), None)
            found = self.memory.frames[key] = found or _frame_of(key)
        return found

    def _read_rows(self, items: Iterable[bytes]) -> list[_ReadRow]:
        """Reads rows, most of which are known; this is where a report of many nodes takes time."""
        remembered, rows = self.memory.rows, []
        known = [each.rows.get for each in self._known]
        for data in items:
            found = remembered.get(data)
            if found is None:
                for find in known:
                    found = find(data)
                    if found is not None:
                        break
                else:
                    found = _row_of(data)
                    self._new_rows.append(found.figures)
                remembered[data] = found
            rows.append(found)
        return rows


def find_classes(
    memories: Iterable[ClassMemory], values: Sequence[ReportedNodeClass]
) -> list[ReadClass] | None:
    """What was read of these very objects; None if one of them is not known."""
    known = [each.by_id for each in memories]
    found = []
    for value in values:
        one = next((by_id[id(value)] for by_id in known if id(value) in by_id), None)
        if one is None or one.value is not value:
            return None
        found.append(one)
    return found


def _frame_of(key: FrameKey) -> _Frame:
    value = _NODE_CLASS.from_json({name: parse_json(data) for name, data in key})
    figures = msgspec.convert(_NODE_CLASS.to_json(value), NodeClass)
    return _Frame(value, node_class_key(value), figures)


def _row_of(data: bytes) -> _ReadRow:
    value = _FREE_ROW.from_json(parse_json(data))
    # As a figure it has been through the same conversion as in a report that is read as a whole.
    [figures] = msgspec.convert({"free": [_FREE_ROW.to_json(value)]}, NodeClass).free
    return _ReadRow(value, figures)
