"""What the fleet remembers of a site, in parts, and which of these parts an update changes.

Most of an update repeats what is known: a report changes the free capacity, an order what is in
flight, a heartbeat only its time. Whatever the fleet remembers is computed from one part, and from
nothing else: it is given the facts of the site with all other fields left out (`FactsPart.of`). The
same declaration says when a part differs. So no list can forget a field that an answer reads.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.site import NodeClass, SiteSpec, SiteStatus

Transform = Callable[[Any], Any]


class FactsPart:
    """Some fields of a site's facts.

    Args:
        facts: fields of `SiteFacts`; each as it is, or what a function keeps of it.
        status: fields of `SiteStatus`, likewise.
    """

    def __init__(
        self,
        facts: Mapping[str, Transform | None],
        status: Mapping[str, Transform | None] | None = None,
    ) -> None:
        status = status or {}
        self._facts_fields = tuple(facts)
        self._status_fields = tuple(status)
        self._transforms = (*facts.values(), *status.values())
        self._has_transforms = any(self._transforms)
        names = (*facts, *(f"status.{name}" for name in status))
        # The name is read too, because `attrgetter` gives no tuple for one field alone.
        self._values_of = attrgetter("name", *names)

    def differs(self, old: SiteFacts, new: SiteFacts) -> bool:
        """Whether the part differs between two states of a site."""
        before, after = self._values_of(old), self._values_of(new)
        if not self._has_transforms:
            return bool(before != after)
        for one, other, keep in zip(before[1:], after[1:], self._transforms, strict=True):
            if one is not other and (one != other if keep is None else keep(one) != keep(other)):
                return True
        return False

    def of(self, facts: SiteFacts) -> SiteFacts:
        """The facts with this part alone; every other field has its default."""
        name, *values = self._values_of(facts)
        kept = [
            value if keep is None else keep(value)
            for value, keep in zip(values, self._transforms, strict=True)
        ]
        count = len(self._facts_fields)
        return SiteFacts(
            name=name,
            status=SiteStatus(**dict(zip(self._status_fields, kept[count:], strict=True))),
            **dict(zip(self._facts_fields, kept[:count], strict=True)),
        )


def _keep_readiness(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """The first condition Ready without its texts and times, as `SiteFacts.is_silent` reads it."""
    ready = [each for each in conditions if each.type == "Ready"][:1]
    return tuple(Condition(type=each.type, status=each.status) for each in ready)


def _drop_free_capacity(node_classes: tuple[NodeClass, ...]) -> tuple[NodeClass, ...]:
    return tuple([msgspec.structs.replace(each, free=()) for each in node_classes])


def _keep_headroom(spec: SiteSpec) -> SiteSpec:
    return SiteSpec(headroom=spec.headroom)


_DESCRIPTION_FIELDS: Mapping[str, Transform | None] = {"labels": None, "spec": None, "grants": None}

DESCRIPTION = FactsPart(_DESCRIPTION_FIELDS)
"""What an operator and an authority say of a site."""
REPORT = FactsPart(
    _DESCRIPTION_FIELDS,
    {
        "api_kinds": None,
        "executor": None,
        "rtt": None,
        "conditions": _keep_readiness,
        "node_classes": _drop_free_capacity,
    },
)
"""The description, and what reports seldom change; of the nodes all but their free capacity."""
FIGURES = FactsPart(
    {"spec": None, "p90": None},
    {"observed_at": None, "conditions": None, "intensity": None, "power": None},
)
"""What the figures of a site are computed from, see `site_figures.py`."""
NODES = FactsPart({"spec": _keep_headroom}, {"node_classes": None})
"""What the rows of a site's nodes are read from."""
IN_FLIGHT = FactsPart({"in_flight": None})
"""What is ordered at a site and not bound yet, or reserved there."""
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


_PARTS = (DESCRIPTION, REPORT, FIGURES, NODES, IN_FLIGHT, NAMESPACES)
_ALL_CHANGED = SiteChanges(*[True] * len(_PARTS))


def changes_of(old: SiteFacts | None, new: SiteFacts) -> SiteChanges:
    """What differs between two states of a site; all of it when `old` is None."""
    if old is None:
        return _ALL_CHANGED
    return SiteChanges(*[part.differs(old, new) for part in _PARTS])
