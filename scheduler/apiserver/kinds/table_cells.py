"""What the columns of Tables are made of: cells that grow with time, name and age."""

from collections.abc import Callable
from dataclasses import dataclass

from scheduler.apiserver.kinds.resources import Column
from scheduler.hub.schema.json_types import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Age:
    """A cell that grows: printed as the time since an instant."""

    since: str | None


def at(item: JsonObject, *path: str, default: Json = None) -> Json:
    """The value at a path of keys."""
    found: Json = item
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return default if found is None else found


def column(
    name: str,
    value: Callable[[JsonObject], Json],
    kind: str = "string",
    *,
    wide: bool = False,
) -> Column:
    """A column whose cells a function finds in the object."""
    return Column(name, value, kind, priority=1 if wide else 0)


NAME = Column("Name", lambda item: at(item, "metadata", "name"), format="name")
AGE = column("Age", lambda item: Age(at(item, "metadata", "creationTimestamp")))


@dataclass(frozen=True, slots=True)
class Span:
    """A cell that shows the time between two instants; without an end it grows."""

    start: str | None
    end: str | None
