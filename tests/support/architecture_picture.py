"""The picture of the architecture, from the code: `make pictures` writes it.

Each box is a top folder of one of the two programs, with what its row in the table of rooms says.
A box stands above all that its modules import. An arrow leads to an imported folder; one that
follows from other arrows is left out.
"""

import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Final

from tests.support.rooms import PROGRAMS, ROOT, imported_rooms

PICTURE: Final = ROOT / "docs/images/architecture.svg"
_ROW: Final = re.compile(r"^\| `([a-z_/]+)` \| ([^|]*) \|", re.MULTILINE)
_BOX_WIDTH, _BOX_HEIGHT, _GAP, _ROW_GAP, _MARGIN = 196, 66, 14, 42, 24
_COLUMNS: Final = {"scheduler": 6, "agents": 4}
_STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#1d2733}.t{font-size:18px;font-weight:600}"
    ".n{font-weight:600}.w{font-size:10.5px;fill:#4a5866}"
    "rect{fill:#fff;stroke:#8494a4}.p{fill:#f3f6f9;stroke:none}.pure rect{fill:#e5f3ea}"
    "path{fill:none;stroke:#5b7fa6;stroke-width:1.1;opacity:.65}"
)


@dataclass(frozen=True, slots=True)
class Box:
    """One folder in the picture.

    Attributes:
        left, top: its corner, in pixels.
    """

    room: str
    holds: str
    left: float
    top: float


def folder_imports() -> dict[str, set[str]]:
    """Top folder → the other top folders that its modules import; the programs are left out."""
    rooms = imported_rooms()
    found: dict[str, set[str]] = {top: set() for room in rooms if (top := _top(room))}
    for room, others in rooms.items():
        if top := _top(room):
            found[top] |= {other for one in others if (other := _top(one)) and other != top}
    return found


def _top(room: str) -> str:
    parts = room.split("/")
    return "/".join(parts[:2]) if len(parts) > 1 else ""


def heights(imports: Mapping[str, set[str]]) -> dict[str, int]:
    """How far above the lowest folders each stands: one more than the highest that it imports.

    Raises:
        ValueError: folders import each other in a circle.
    """
    found: dict[str, int] = {}
    while left := imports.keys() - found.keys():
        ready = {room for room in left if imports[room] <= found.keys()}
        if not ready:
            raise ValueError(f"looked for an order of folders; these import in a circle: {left}")
        found |= {
            room: 1 + max((found[one] for one in imports[room]), default=-1) for room in ready
        }
    return found


def arrows(imports: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """The imports that do not follow from others, in the order of names."""
    reached: dict[str, set[str]] = {}
    for room in sorted(imports, key=heights(imports).__getitem__):
        reached[room] = imports[room].union(*(reached[one] for one in imports[room]))
    return sorted(
        (room, one)
        for room, others in imports.items()
        for one in others
        if not any(one in reached[other] for other in others)
    )


def boxes() -> list[Box]:
    """Every folder with its place: the programs side by side, the highest folders on top."""
    words = dict(_ROW.findall((ROOT / "docs/architecture.md").read_text(encoding="utf-8")))
    imports = folder_imports()
    found, left = list[Box](), float(_MARGIN)
    level = heights(imports)
    for program in PROGRAMS:
        mine = [room for room in sorted(imports) if room.startswith(f"{program}/")]
        for number, line in enumerate(_lines(mine, level, _COLUMNS[program])):
            top = _MARGIN + 40 + number * (_BOX_HEIGHT + _ROW_GAP)
            start = left + (_COLUMNS[program] - len(line)) * (_BOX_WIDTH + _GAP) / 2
            found += [
                Box(room, words[room], start + place * (_BOX_WIDTH + _GAP), top)
                for place, room in enumerate(line)
            ]
        left += _COLUMNS[program] * (_BOX_WIDTH + _GAP) + 2 * _MARGIN
    return found


def _lines(rooms: list[str], level: Mapping[str, int], columns: int) -> Iterator[list[str]]:
    for height in sorted({level[room] for room in rooms}, reverse=True):
        line = [room for room in rooms if level[room] == height]
        for start in range(0, len(line), columns):
            yield line[start : start + columns]


def picture() -> str:
    """The picture as SVG."""
    placed = {box.room: box for box in boxes()}
    width = max(box.left for box in placed.values()) + _BOX_WIDTH + 2 * _MARGIN
    height = max(box.top for box in placed.values()) + _BOX_HEIGHT + 2 * _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">',
        "<title>The folders of Kapok, and which imports which</title>",
        f"<style>{_STYLE}</style>",
        *(_panel(program, placed, height) for program in PROGRAMS),
        *(_arrow(placed[room], placed[one]) for room, one in arrows(folder_imports())),
        *(_drawn(box) for box in placed.values()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _panel(program: str, placed: Mapping[str, Box], height: float) -> str:
    lefts = [box.left for room, box in placed.items() if room.startswith(f"{program}/")]
    left = min(lefts) - _GAP
    width = max(lefts) + _BOX_WIDTH + _GAP - left
    return (
        f'<rect class="p" x="{left:g}" y="10" width="{width:g}" height="{height - 20:g}" rx="8"/>'
        f'<text class="t" x="{left + _GAP:g}" y="40">{program}/</text>'
    )


def _arrow(upper: Box, lower: Box) -> str:
    start, end = upper.left + _BOX_WIDTH / 2, lower.left + _BOX_WIDTH / 2
    above, below = upper.top + _BOX_HEIGHT, lower.top
    bend = (below - above) / 2
    return (
        f'<path d="M{start:g} {above:g}C{start:g} {above + bend:g} {end:g} {below - bend:g}'
        f' {end:g} {below:g}m-3 -6l3 6l3 -6"/>'
    )


def _drawn(box: Box) -> str:
    x, y = f"{box.left + 9:g}", box.top + 19
    holds = textwrap.wrap(re.sub(r"[`]", "", box.holds), 30, max_lines=3, placeholder=" …")
    lines = "".join(
        f'<text class="w" x="{x}" y="{y + 15 + 13 * number:g}">{escape(line)}</text>'
        for number, line in enumerate(holds)
    )
    kind = "pure" if "pure" in box.holds else "shell"
    name = box.room.partition("/")[2]
    return (
        f'<g class="{kind}"><rect x="{box.left:g}" y="{box.top:g}" width="{_BOX_WIDTH}"'
        f' height="{_BOX_HEIGHT}" rx="5"/><text class="n" x="{x}" y="{y:g}">{name}</text>'
        f"{lines}</g>"
    )


def main() -> int:
    """Writes the picture, and names it if it changed."""
    drawn = picture()
    if not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != drawn:
        PICTURE.write_text(drawn, encoding="utf-8")
        sys.stdout.write(f"{PICTURE.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
