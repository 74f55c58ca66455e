"""What `kapok top` shows of sites and workloads: summary, order, lines of a screen. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from scheduler.cli.seeing.forms import Row, ShownColumn, lines_of
from scheduler.cli.support.output import fit_text
from scheduler.model.units import GRAMS_PER_KILOGRAM, WATTS_PER_KILOWATT

TableName = Literal["sites", "workloads"]
TABLES: Final[tuple[TableName, ...]] = ("sites", "workloads")
_GIBIBYTE: Final = 2**30
_PHASES: Final = (
    *("Degraded", "Refused", "Waiting", "Pending", "Deleting"),
    *("Placed", "Running", "Completed"),
)
"""What needs a person comes first."""
_HEALTHS: Final = ("Lost", "Silent", "Late", "Unknown", "Reporting")
HELP_LINE: Final = "q quit   Tab sites/workloads   s sort   r reverse   j k scroll"

SortKey = Callable[[Row], Any]


@dataclass(frozen=True, slots=True)
class LiveState:
    """What the server has answered.

    Attributes:
        sites: rows of /api/v1/sites.
        workloads: rows of /api/v1/workloads.
        total: how many workloads there are, shown or not.
        evictions: the answer of /api/v1/evictions.
    """

    sites: Sequence[Row] = ()
    workloads: Sequence[Row] = ()
    total: int = 0
    evictions: Row | None = None

    def summary(self) -> dict[str, Any]:
        """Totals; a sum is of the sites whose figure is known, and None if it is of none."""
        phases = Counter(str(one.get("phase", "Pending")) for one in self.workloads)
        return {
            "sites": len(self.sites),
            "reporting": sum(bool(one.get("reporting")) for one in self.sites),
            "workloads": self.total,
            "phases": {name: phases[name] for name in _PHASES if phases[name]},
            "watts": _known_sum(self.sites, "watts"),
            "gco2PerHour": _known_sum(self.sites, "gco2PerHour"),
            "frozen": bool((self.evictions or {}).get("frozen")),
        }


@dataclass(frozen=True, slots=True)
class LiveView:
    """What a person has chosen.

    Attributes:
        tables: which tables are shown.
        sort: the name of the column to sort by, by table; absent: what needs a person first.
        is_reversed: whether the order is turned round.
        skip: rows that are scrolled away.
    """

    tables: tuple[TableName, ...] = TABLES
    sort: Mapping[str, str] = field(default_factory=dict)
    is_reversed: bool = False
    skip: int = 0

    def with_key(self, key: str) -> "LiveView":
        """The view after a key was pressed; unknown keys change nothing."""
        match key:
            case "\t":
                following = {TABLES: TABLES[:1], TABLES[:1]: TABLES[1:], TABLES[1:]: TABLES}
                return replace(self, tables=following[self.tables], skip=0)
            case "s":
                sort = dict(self.sort)
                for table in self.tables:
                    names = ["", *sort_names(table)]
                    sort[table] = names[(names.index(sort.get(table, "")) + 1) % len(names)]
                return replace(self, sort=sort, skip=0)
            case "r":
                return replace(self, is_reversed=not self.is_reversed, skip=0)
            case "j":
                return replace(self, skip=self.skip + 1)
            case "k":
                return replace(self, skip=max(0, self.skip - 1))
            case _:
                return self


def sort_names(table: TableName) -> list[str]:
    """What a table can be sorted by: its columns, in lower case."""
    return [one.header.lower() for one in COLUMNS[table]]


def sorted_rows(state: LiveState, view: LiveView, table: TableName) -> list[Row]:
    """The rows of a table in the chosen order; what is not known comes last."""
    rows: Sequence[Row] = state.sites if table == "sites" else state.workloads
    name = view.sort.get(table, "")
    if not name:
        found = sorted(rows, key=_urgency_of[table])
        return found[::-1] if view.is_reversed else found
    column = next(one for one in COLUMNS[table] if one.header.lower() == name)
    known = [row for row in rows if column.value(row) is not None]
    is_number = any(isinstance(column.value(row), (int, float)) for row in known)
    known.sort(key=lambda row: (column.value(row), _name(table, row)))
    # The largest figures first, the first letters first.
    descends = is_number is not view.is_reversed
    return (known[::-1] if descends else known) + [r for r in rows if column.value(r) is None]


def screen_lines(
    state: LiveState, view: LiveView, *, width: int, height: int, notice: str = ""
) -> list[str]:
    """The lines of a screen, none wider than `width` and not more than `height`."""
    lines = [summary_line(state), notice or HELP_LINE]
    room = max(0, height - len(lines))
    for number, table in enumerate(view.tables):
        rows = sorted_rows(state, view, table)
        share = room // (len(view.tables) - number)
        lines += _table_lines(rows, view, table, width=width, height=share)
        room = max(0, height - len(lines))
    return [fit_text(line, width) for line in lines[:height]]


def summary_line(state: LiveState) -> str:
    """The totals in one line."""
    found = state.summary()
    phases = ", ".join(f"{count} {name}" for name, count in found["phases"].items())
    parts = [
        f"{found['reporting']}/{found['sites']} sites report",
        f"{found['workloads']} workloads" + (f": {phases}" if phases else ""),
        f"{_scaled(found['watts'], WATTS_PER_KILOWATT)} kW",
        f"{_scaled(found['gco2PerHour'], GRAMS_PER_KILOGRAM)} kgCO2e/h",
    ]
    if found["frozen"]:
        parts.insert(0, f"EVICTIONS FROZEN ({(state.evictions or {}).get('reason', '')})")
    return "   ".join(parts)


def _table_lines(
    rows: Sequence[Row], view: LiveView, table: TableName, *, width: int, height: int
) -> list[str]:
    """An empty line, the header, and as many rows as fit."""
    if height < 3:  # noqa: PLR2004 - the empty line, the header, one row
        return []
    room = height - 2
    skip = min(view.skip, max(0, len(rows) - room))
    shown = rows[skip : skip + room]
    return ["", *lines_of(shown, COLUMNS[table], width=width)]


def _known_sum(rows: Sequence[Row], name: str) -> float | None:
    found = [float(one[name]) for one in rows if one.get(name) is not None]
    return sum(found) if found else None


def _scaled(value: float | None, per: float) -> str:
    return "?" if value is None else f"{value / per:.1f}"


def _name(table: TableName, row: Row) -> str:
    return str(row["name"]) if table == "sites" else f"{row['namespace']}/{row['name']}"


def _site_urgency(row: Row) -> tuple[int, str]:
    health = str(row.get("health", "Unknown"))
    return (_HEALTHS.index(health) if health in _HEALTHS else 0), str(row["name"])


def _workload_urgency(row: Row) -> tuple[int, str]:
    phase = str(row.get("phase", "Pending"))
    return (_PHASES.index(phase) if phase in _PHASES else 0), _name("workloads", row)


_urgency_of: Final[Mapping[TableName, SortKey]] = {
    "sites": _site_urgency,
    "workloads": _workload_urgency,
}


def _amount(group: str, resource: str, per: float = 1.0) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        found = (row.get(group) or {}).get(resource)
        return None if found is None else float(found) / per

    return value


def _used(row: Row) -> float:
    """What Kapok's work uses is never unknown: a resource that is not listed is not used."""
    return float((row.get("used") or {}).get("cpu", 0.0))


def _per(name: str, per: float) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        return None if row.get(name) is None else float(row[name]) / per

    return value


def _one_digit(value: float) -> str:
    return f"{value:.1f}"


def _seconds(value: float) -> str:
    return f"{value:.0f}s"


def _places(row: Row) -> str:
    listed = [f"{one['name']} ({one['replicas']})" for one in row.get("sites") or ()]
    return ", ".join(listed)


COLUMNS: Final[Mapping[TableName, tuple[ShownColumn, ...]]] = {
    "sites": (
        ShownColumn("SITE", lambda row: str(row["name"])),
        ShownColumn("HEALTH", lambda row: row.get("health")),
        ShownColumn("WORKLOADS", lambda row: row.get("workloads")),
        ShownColumn("CPU-USED", _used, _one_digit),
        ShownColumn("CPU-FREE", _amount("free", "cpu"), _one_digit),
        ShownColumn("GIB-FREE", _amount("free", "memory", _GIBIBYTE), _one_digit),
        ShownColumn("IN-FLIGHT", lambda row: row.get("inFlightReplicas")),
        ShownColumn("KILOWATTS", _per("watts", WATTS_PER_KILOWATT), _one_digit),
        ShownColumn("KGCO2E/H", _per("gco2PerHour", GRAMS_PER_KILOGRAM), _one_digit),
        ShownColumn("AGE", lambda row: row.get("reportAgeSeconds"), _seconds),
        ShownColumn("PROVINCE", lambda row: row.get("province", ""), is_wide=True),
        ShownColumn("TIER", lambda row: row.get("tier"), is_wide=True),
        ShownColumn("POWER-ORIGIN", lambda row: row.get("wattsOrigin"), is_wide=True),
        ShownColumn("CARBON-ORIGIN", lambda row: row.get("gco2PerKwhOrigin"), is_wide=True),
    ),
    "workloads": (
        ShownColumn("WORKLOAD", lambda row: _name("workloads", row)),
        ShownColumn("PHASE", lambda row: row.get("phase")),
        ShownColumn("READY", lambda row: row.get("readiness", "")),
        ShownColumn("CLASS", lambda row: row.get("dataClass", "")),
        ShownColumn("SITES", _places),
        ShownColumn("WHY", lambda row: row.get("reason") or row.get("line", "")),
        ShownColumn("DECISION", lambda row: row.get("decision", ""), is_wide=True),
    ),
}
"""The columns of each table; their names, in lower case, are what `--sort` takes."""
