"""Building blocks of table columns: cells that depend on the current time, name and age."""

from collections.abc import Callable
from dataclasses import dataclass

from scheduler.apiserver.kinds.resources import TableColumn
from scheduler.apiserver.kinds.unstructured import value_at
from scheduler.hub.schema.json_types import Json, JsonObject


@dataclass(frozen=True, slots=True)
class AgeCell:
    """A cell that shows the time since an instant."""

    since: str | None


def make_column(
    name: str,
    value: Callable[[JsonObject], Json],
    kind: str = "string",
    *,
    is_wide: bool = False,
) -> TableColumn:
    """A column whose cells a function computes from the object."""
    return TableColumn(name, value, kind, priority=1 if is_wide else 0)


NAME_COLUMN = TableColumn("Name", lambda item: value_at(item, "metadata", "name"), format="name")
AGE_COLUMN = make_column(
    "Age", lambda item: AgeCell(value_at(item, "metadata", "creationTimestamp"))
)


@dataclass(frozen=True, slots=True)
class DurationCell:
    """A cell that shows the time between two instants; without an end, the time until now."""

    start: str | None
    end: str | None
