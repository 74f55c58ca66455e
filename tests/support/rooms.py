"""Which package imports which, as the tables of `docs/architecture.md` show it."""

from collections import defaultdict
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("scheduler", "agents")
VOCABULARY = "scheduler/model"
"""Stands for its own packages too, in the rows of all others."""


@cache
def imported_rooms() -> dict[str, set[str]]:
    """Package → the other packages from which its own modules import, as paths."""
    graph = grimp.build_graph(*PROGRAMS, cache_dir=None)
    found: dict[str, set[str]] = defaultdict(set)
    for module in graph.modules:
        # An import of the program's `__init__` takes its version only.
        imported = graph.find_modules_directly_imported_by(module) - set(PROGRAMS)
        found[room_of(module)] |= {room_of(name) for name in imported}
    return {room: others - {room} for room, others in found.items()}


def room_of(module: str) -> str:
    """The package that a module is in; a package is in itself."""
    path = Path(*module.split("."))
    return (path if (ROOT / path / "__init__.py").is_file() else path.parent).as_posix()


def known_to(room: str) -> str:
    """The cell "knows" of a package: what it imports.

    A package of the same top folder is named below that folder, any other below the program.
    """
    others = imported_rooms()[room]
    if not is_in(room, VOCABULARY):
        others = {VOCABULARY if is_in(one, VOCABULARY) else one for one in others}
    names = sorted(short_name(one, room) for one in others)
    return ", ".join(f"`{name}`" for name in names) or "nothing of ours"


def is_in(room: str, top: str) -> bool:
    """Whether a package is another one, or in it."""
    return room == top or room.startswith(f"{top}/")


def short_name(other: str, room: str) -> str:
    """How the row of `room` names another package."""
    program, *folders = room.split("/")
    if folders and other.startswith(f"{program}/{folders[0]}/"):
        return other.removeprefix(f"{program}/{folders[0]}/")
    return other.removeprefix(f"{program}/")
