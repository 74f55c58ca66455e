"""Decodes reports of sites, and reads of each only what has changed since the one before."""

import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from operator import attrgetter, is_
from typing import Any, Final, NamedTuple

import msgspec

from agents.protocol.codec import Codec, parse_json
from agents.protocol.delta import (
    SECTION_NAMES,
    apply_delta,
    canonicalise_report,
    decode_report,
    node_class_key,
)
from agents.protocol.errors import WireError
from agents.protocol.report import (
    REPORT,
    REPORT_DELTA,
    Report,
    ReportDelta,
    ReportedNodeClass,
    ReportSections,
)
from agents.protocol.report_totals import check_totals
from agents.protocol.shapes import Reader, reader_of, to_camel_case
from scheduler.control.ports.agents import SiteReport
from scheduler.model.kinds.site import SiteStatus
from scheduler.mqtt.reading.node_classes import ClassMemory, ClassReader, ReadClass, find_classes
from scheduler.mqtt.site_reports import (
    MAX_AMOUNT_TEXTS_PER_SITE,
    MAX_LABELS_PER_SITE,
    MAX_NODE_CLASSES_PER_SITE,
    MAX_RESOURCES_PER_SITE,
    amounts_of_limits,
    site_report_with,
    small_status_of,
    status_of,
)

_MAX_REMEMBERED_BYTES: Final = 256 * 1024
"""A larger report is read whole, on a thread of its own."""

_MAX_REMEMBERED_CLASSES: Final = 5_000
_LISTED: Final = attrgetter("rtt", "api_kinds", "cluster_kinds", "namespaces")
_SMALL: Final = attrgetter("power", "intensity", "energy", "executor")
_KEYED: Final = attrgetter("node_classes", "orders")
_COUNTED: Final = attrgetter("node_classes", "namespaces")
_CLASSES: Final = "node_classes"
_PARTS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Remembered(NamedTuple):
    """Sections of a site's last report as they arrived, and what was made of them.

    Attributes:
        sections: by kind of the message and name: the JSON, and the value.
        delta: the node classes of the last delta.
        full: those of the last full report.
    """

    sections: dict[tuple[bool, str], tuple[bytes, object]]
    delta: ClassMemory
    full: ClassMemory


class _Figures(NamedTuple):
    """A report, its figures, which were checked, and the amounts in limits of its namespaces."""

    report: Report
    status: SiteStatus
    limit_amounts: int


@dataclass(slots=True)
class ReportReader:
    """Decodes reports of sites, and reads of each only the sections that have changed.

    Most of a report is as in the one before. A section whose JSON has the same bytes says the same,
    so what was read of it is used again, and so are the figures that were made of it and checked.
    Everything else is decoded as `decode_report` does, and a report that is refused is refused by
    that, with its reason. Of a site no more is remembered than its last messages hold. Any thread
    may use this.
    """

    _known: dict[str, _Remembered] = field(default_factory=dict)
    _canonical: dict[str, tuple[Report, Report]] = field(default_factory=dict)
    _figures: dict[str, _Figures] = field(default_factory=dict)

    def decode(self, site: str, data: bytes) -> Report | ReportDelta:
        """Decodes a report that a key of this site has signed.

        Raises:
            WireError: as `decode_report`.
        """
        if len(data) > _MAX_REMEMBERED_BYTES:
            return decode_report(data)
        try:
            parts: dict[str, Any] = _PARTS.decode(data)
            kind = parts.get("kind")
            is_delta = kind is not None and bytes(kind) == b'"delta"'
            known = self._known.get(site) or _Remembered({}, ClassMemory(), ClassMemory())
            read, memory = _read_sections(parts, known, is_delta=is_delta)
            codec: Codec[Any] = REPORT_DELTA if is_delta else REPORT
            message: Report | ReportDelta = codec.from_json(_parse_parts(parts))
        except (WireError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return decode_report(data)  # its error says where in the message
        known = known._replace(sections={**known.sections, **read})
        if memory is not None:
            known = known._replace(delta=memory) if is_delta else known._replace(full=memory)
        self._known[site] = known
        # Nothing else has this message yet; `replace` would make all its fields again.
        message.__dict__.update({name: value for (_, name), (_, value) in read.items()})
        return message

    def canonicalise(self, report: Report) -> Report:
        """The report as `canonicalise_report` returns it."""
        before = self._canonical.get(report.site)
        if before is not None and _has_same(before[0], report, _KEYED):
            classes, orders = before[1].node_classes, before[1].orders
            return replace(report, node_classes=classes, orders=orders)
        sorted_report = canonicalise_report(report)
        self._canonical[report.site] = (report, sorted_report)
        return sorted_report

    def apply_delta(self, base: Report, change: ReportDelta) -> Report:
        """The full report that a delta describes, as the function of that name; raises like it."""
        known = self._known.get(base.site)
        by_id = [known.delta.by_id, known.full.by_id] if known else []

        def identity_of(value: ReportedNodeClass) -> bytes:
            for each in by_id:
                one = each.get(id(value))
                if one is not None and one.value is value:
                    return one.identity
            return node_class_key(value)

        return apply_delta(base, change, identity_of)

    def check_totals(self, report: Report) -> None:
        """Checks what the lists hold together, as the function of that name; raises like it.

        What was checked in the report before is not counted again.
        """
        before = self._figures.get(report.site)
        if before is None or not _has_same(before.report, report, _COUNTED):
            check_totals(report)

    def site_report_of(self, report: Report) -> SiteReport:
        """The figures of a report, as the function of that name; raises like it."""
        before = self._figures.get(report.site)
        status = None
        if before is not None and _has_same(before.report, report, _LISTED):
            status = self._status_after(before, report)
        limit_amounts = before.limit_amounts if before and status else amounts_of_limits(report)
        if status is None:
            status = status_of(report)
        if len(report.node_classes or ()) <= _MAX_REMEMBERED_CLASSES:
            self._figures[report.site] = _Figures(report, status, limit_amounts)
        return site_report_with(report, status)

    def forget(self, site: str) -> None:
        """Drops what is remembered of a site that is gone or has new keys."""
        for each in (self._known, self._canonical, self._figures):
            each.pop(site, None)

    def _status_after(self, before: _Figures, report: Report) -> SiteStatus | None:
        """The figures of a report whose lists are as before, but for its node classes.

        Returns:
            None: it has to be read and checked as a whole.
        """
        status = before.status
        if before.report.node_classes is not report.node_classes:
            classes = self._classes_of(report, before.limit_amounts)
            if classes is None:
                return None
            figures = tuple([each.figures for each in classes if each.figures is not None])
            status = msgspec.structs.replace(status, node_classes=figures)
        if _has_same(before.report, report, _SMALL):
            return status
        # The lists were checked; what is left are two figures and the executor.
        small = small_status_of(report)
        return msgspec.structs.replace(
            status, power=small.power, intensity=small.intensity, executor=small.executor
        )

    def _classes_of(self, report: Report, limit_amounts: int) -> list[ReadClass] | None:
        """The node classes as they were read, if they are surely within the bounds of a site."""
        known, values = self._known.get(report.site), report.node_classes
        if known is None or values is None or len(values) > MAX_NODE_CLASSES_PER_SITE:
            return None
        found = find_classes((known.delta, known.full), values)
        if found is None or any(each.figures is None for each in found):
            return None
        is_small = (
            sum(each.amounts for each in found) + limit_amounts <= MAX_AMOUNT_TEXTS_PER_SITE
            and sum(len(each.value.labels) for each in found) <= MAX_LABELS_PER_SITE
            and len(frozenset[str]().union(*[each.resources for each in found]))
            <= MAX_RESOURCES_PER_SITE
        )
        return found if is_small else None


def _has_same(one: Report, other: Report, sections_of: Callable[[Report], Iterable[Any]]) -> bool:
    """Whether these sections are the same objects in both reports."""
    return all(map(is_, sections_of(one), sections_of(other)))


def _read_sections(
    parts: dict[str, Any], known: _Remembered, *, is_delta: bool
) -> tuple[dict[tuple[bool, str], tuple[bytes, object]], ClassMemory | None]:
    """Takes the sections out of a message and reads those that are not known.

    Returns:
        By kind and name of the field: the JSON and the value; and what to remember of the node
        classes, None if they are as before.

    Raises:
        WireError: a section is invalid.
    """
    read: dict[tuple[bool, str], tuple[bytes, object]] = {}
    memory: ClassMemory | None = None
    readers = _section_readers()
    for key in [one for one in parts if one in readers]:
        name, reader = readers[key]
        raw = bytes(parts.pop(key))
        if raw == b"null":
            continue
        before = known.sections.get((is_delta, name))
        if before is not None and before[0] == raw:
            read[is_delta, name] = before
        elif name == _CLASSES:
            classes = ClassReader((known.delta, known.full))
            read[is_delta, name] = raw, classes.read(raw)
            memory = classes.memory
        else:
            read[is_delta, name] = raw, reader(parse_json(raw))
    return read, memory


def _parse_parts(parts: dict[str, Any]) -> dict[str, Any]:
    """Parses what is left of a message: at once, as that takes a fifth of the time.

    Raises:
        WireError: a part is not JSON.
    """
    if not all(name.isidentifier() and name.isascii() for name in parts):
        return {name: parse_json(bytes(each)) for name, each in parts.items()}
    fields = [b'"%b":%b' % (name.encode(), bytes(each)) for name, each in parts.items()]
    parsed: Any = parse_json(b"{%b}" % b",".join(fields))
    return dict(parsed)


@cache
def _section_readers() -> dict[str, tuple[str, Reader]]:
    """By the key of a section in JSON: the name of its field, and its reader."""
    hints = typing.get_type_hints(ReportSections, include_extras=True)
    return {to_camel_case(name): (name, reader_of(hints[name])) for name in SECTION_NAMES}
