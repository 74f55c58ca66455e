"""What the fleet remembers of a site, in parts, and which of these parts an update changes.

Most of an update repeats what is known: a report changes the free capacity, an order what is in
flight, a heartbeat only its time. Whatever the fleet remembers is computed from one part, and from
nothing else: it is given the facts of the site with all other fields left out (`FactsPart.of`). The
same declaration says when a part differs. So no list can forget a field that an answer reads.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from scheduler.model.demand.facts import CLUSTER_UNREACHABLE, SiteFacts
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.site import NodeClass, SiteSpec, SiteStatus


class Kept(NamedTuple):
    """What a part keeps of a field.

    Attributes:
        of: what is kept, in any form that can be compared.
        restore: the field with this alone.
    """

    of: Callable[[Any], Any]
    restore: Callable[[Any], Any]


class FactsPart:
    """Some fields of a site's facts.

    Args:
        facts: fields of `SiteFacts`; each with what is kept of it, None: all.
        status: fields of `SiteStatus`, likewise.
    """

    def __init__(
        self, facts: Mapping[str, Kept | None], status: Mapping[str, Kept | None] | None = None
    ) -> None:
        status = status or {}
        self._facts_fields = tuple(facts)
        self._status_fields = tuple(status)
        self._kept = (*facts.values(), *status.values())
        self._keeps_all = not any(self._kept)
        names = (*facts, *(f"status.{name}" for name in status))
        # The name is read too, because `attrgetter` gives no tuple for one field alone.
        self._values_of = attrgetter("name", *names)

    def differs(self, old: SiteFacts, new: SiteFacts) -> bool:
        """Whether the part differs between two states of a site."""
        before, after = self._values_of(old), self._values_of(new)
        if self._keeps_all:
            return bool(before != after)
        for one, other, kept in zip(before[1:], after[1:], self._kept, strict=True):
            if one is other:
                continue
            if one != other if kept is None else kept.of(one) != kept.of(other):
                return True
        return False

    def of(self, facts: SiteFacts) -> SiteFacts:
        """The facts with this part alone; every other field has its default."""
        name, *values = self._values_of(facts)
        found = [
            value if kept is None else kept.restore(kept.of(value))
            for value, kept in zip(values, self._kept, strict=True)
        ]
        count = len(self._facts_fields)
        return SiteFacts(
            name=name,
            status=SiteStatus(**dict(zip(self._status_fields, found[count:], strict=True))),
            **dict(zip(self._facts_fields, found[:count], strict=True)),
        )


_KIND_FIELDS = tuple(name for name in NodeClass.__struct_fields__ if name != "free")
_kind_of = attrgetter(*_KIND_FIELDS)
_READINESS = Kept(
    # The first condition Ready counts, as `SiteFacts` reads it; not its texts and times, and of
    # its reasons one.
    lambda conditions: [
        (each.status, each.reason if each.reason == CLUSTER_UNREACHABLE else "")
        for each in conditions
        if each.type == "Ready"
    ][:1],
    lambda found: tuple(
        Condition(type="Ready", status=status, reason=reason) for status, reason in found
    ),
)
_ALL_BUT_FREE_CAPACITY = Kept(
    lambda node_classes: [_kind_of(each) for each in node_classes],
    lambda found: tuple(NodeClass(**dict(zip(_KIND_FIELDS, each, strict=True))) for each in found),
)
_HEADROOM = Kept(attrgetter("headroom"), lambda found: SiteSpec(headroom=found))

_DESCRIPTION_FIELDS: Mapping[str, Kept | None] = {
    "labels": None,
    "spec": None,
    "grants": None,
    "kept_forecast": None,
    "zone_forecast": None,
}

DESCRIPTION = FactsPart(_DESCRIPTION_FIELDS)
"""What an operator and an authority say of a site, and what the forecast last said."""
REPORT = FactsPart(
    _DESCRIPTION_FIELDS,
    {
        "api_kinds": None,
        "cluster_kinds": None,
        "executor": None,
        "rtt": None,
        "conditions": _READINESS,
        "node_classes": _ALL_BUT_FREE_CAPACITY,
    },
)
"""The description, and what reports seldom change; of the nodes all but their free capacity."""
FIGURES = FactsPart(
    {"spec": None, "p90": None, "zone_intensity": None},
    {"observed_at": None, "conditions": None, "intensity": None, "power": None},
)
"""What the figures of a site are computed from, see `site_figures.py`."""
NODES = FactsPart({"spec": _HEADROOM}, {"node_classes": None})
"""What the rows of a site's nodes are read from."""
IN_FLIGHT = FactsPart({"in_flight": None})
"""What is ordered at a site and not bound yet, or reserved there."""
PLANNED = FactsPart({"planned": None})
"""What is planned to start there later."""
NAMESPACES = FactsPart({}, {"namespaces": None})
"""The limits of namespaces."""


class SiteChanges(NamedTuple):
    """Which parts of a site's facts have changed; as the constants of this module."""

    description: bool
    report: bool
    figures: bool
    nodes: bool
    in_flight: bool
    namespaces: bool
    planned: bool


_PARTS = (DESCRIPTION, REPORT, FIGURES, NODES, IN_FLIGHT, NAMESPACES, PLANNED)
_ALL_CHANGED = SiteChanges(*[True] * len(_PARTS))


def changes_of(old: SiteFacts | None, new: SiteFacts) -> SiteChanges:
    """What differs between two states of a site; all of it when `old` is None."""
    if old is None:
        return _ALL_CHANGED
    return SiteChanges(*[part.differs(old, new) for part in _PARTS])
