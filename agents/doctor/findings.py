"""One problem that a check has found, and how a check is bounded."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

CHECK_SECONDS: Final = 5.0
"""The longest time that one check may take; all of them run at once."""
CONNECT_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One problem; the fields are those of `kapok config check`.

    Attributes:
        path: the setting that it is about, such as `broker.host`; empty: all of them.
        severity: "error": the agent cannot do its work; "warning": it may, or part of it.
        what: what is wrong.
        instead: what to do about it.
    """

    path: str
    severity: str
    what: str
    instead: str


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at.

    Attributes:
        name: short name, for the table.
        run: yields the findings; it may raise anything.
    """

    name: str
    run: Callable[[], Iterable[DoctorFinding]]


def error(path: str, what: str, instead: str) -> DoctorFinding:
    """What keeps the agent from its work."""
    return DoctorFinding(path, "error", what, instead)


def warning(path: str, what: str, instead: str) -> DoctorFinding:
    """What may do so, or takes a part of it."""
    return DoctorFinding(path, "warning", what, instead)
