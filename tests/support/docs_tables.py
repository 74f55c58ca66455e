"""Tables of documents that are written from the code: `make docs-tables` writes them.

In the document, a table stands between `<!-- table: NAME -->` and `<!-- end of table: NAME -->`. Of
the tables of packages only the column "knows" is written; the other columns stay as they are.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from scheduler.model.reasons import REASONS, TRANSIENT_REASONS
from tests.support.rooms import known_to

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = ROOT / "docs/architecture.md"
_ROOM_ROW = re.compile(r"\| `([a-z_/]+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \|")


def reason_rows() -> Iterator[str]:
    """The rows of the reasons, in their order."""
    yield "| reason | meaning | passing |"
    yield "|---|---|---|"
    for reason, meaning in REASONS.items():
        yield f"| `{reason}` | {meaning} | {'yes' if reason in TRANSIENT_REASONS else ''} |"


def room_rows(program: str) -> Iterator[str]:
    """The rows of a program's packages, in the document's order, with what each knows."""
    yield "| package | holds | knows | start with |"
    yield "|---|---|---|---|"
    for room, holds, _, start in _ROOM_ROW.findall(ARCHITECTURE.read_text()):
        if room.partition("/")[0] == program:
            yield f"| `{room}` | {holds} | {known_to(room)} | {start} |"


TABLES: dict[str, tuple[Path, Callable[[], Iterator[str]]]] = {
    "reasons": (ROOT / "docs/glossary.md", reason_rows),
    "scheduler-rooms": (ARCHITECTURE, lambda: room_rows("scheduler")),
    "agent-rooms": (ARCHITECTURE, lambda: room_rows("agents")),
}
"""By name: the document, and what writes the rows."""


def with_table(text: str, name: str) -> str:
    """A document's text with one table as the code has it.

    Raises:
        ValueError: the document has not exactly one such table.
    """
    begin, end = f"<!-- table: {name} -->\n", f"<!-- end of table: {name} -->"
    before, begins, rest = text.partition(begin)
    _, ends, after = rest.partition(end)
    if not begins or not ends or begin in after:
        raise ValueError(f"looked for one {begin.strip()} … {end} and did not find it")
    rows = "".join(f"{row}\n" for row in TABLES[name][1]())
    return f"{before}{begin}\n{rows}\n{end}{after}"


def main() -> int:
    """Writes every table, and names the documents that changed."""
    for name, (document, _) in TABLES.items():
        text = document.read_text()
        written = with_table(text, name)
        if written != text:
            document.write_text(written)
            sys.stdout.write(f"{document.relative_to(ROOT)}: {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
