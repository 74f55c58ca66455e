"""Tables of documents that are written from the code: `make docs-tables` writes them.

In the document, a table stands between `<!-- table: NAME -->` and `<!-- end of table: NAME -->`. Of
the tables of packages only the column "knows" is written; the other columns stay as they are.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from scheduler.apiserver.auth.access_reviews import REVIEW_KINDS
from scheduler.apiserver.kinds.core.core_kinds import core_resources
from scheduler.apiserver.kinds.not_served import NOT_SERVED_RESOURCES, NOT_SERVED_SUBRESOURCES
from scheduler.apiserver.kinds.resources import ALL_VERBS
from scheduler.apiserver.routes import PUBLIC_PATHS, ROOT_PATHS
from scheduler.model.reasons import REASONS, TRANSIENT_REASONS
from tests.support import reference_tables, sizing_tables
from tests.support.rooms import known_to

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = ROOT / "docs/architecture.md"
EMBEDDED_HUB = ROOT / "docs/embedded-hub.md"
REFERENCE = ROOT / "docs/reference"
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


def served_kind_rows() -> Iterator[str]:
    """The core kinds that the embedded hub serves, and what it does not do with them."""
    yield "| kind | API version | names | scope | subresources | not acted on |"
    yield "|---|---|---|---|---|---|"
    for one in core_resources():
        name = one.group_resource
        names = ", ".join(f"`{each}`" for each in (name.plural, *one.short_names))
        scope = "namespaced" if one.namespaced else "cluster"
        subresources = ", ".join(f"`{each}`" for each in sorted(one.subresources))
        line = f"| {name.kind} | `{one.api_version}` | {names} | {scope} | {subresources}"
        yield f"{line} | {one.strategy.not_enforced} |"


def served_path_rows() -> Iterator[str]:
    """The paths that are not resources, and the reviews that are answered and not stored."""
    yield "| path or kind | what it answers |"
    yield "|---|---|"
    for path in ROOT_PATHS:
        public = "; without a token" if path in PUBLIC_PATHS else ""
        yield f"| `{path}` | as Kubernetes{public} |"
    for path in sorted(PUBLIC_PATHS - set(ROOT_PATHS)):
        yield f"| `{path}` | as Kubernetes; without a token |"
    yield "| `/metrics` | requests by resource, verb and code; the owner's token only |"
    for (group, _), kind in REVIEW_KINDS.items():
        yield f"| {kind} (`{group}/v1`) | answered at once for the caller, never stored |"
    yield f"| each resource | {', '.join(f'`{verb}`' for verb in ALL_VERBS)} |"


def refused_rows() -> Iterator[str]:
    """What other API servers have and this one refuses by name."""
    yield "| what | the sentence |"
    yield "|---|---|"
    for (group, plural), sentence in NOT_SERVED_RESOURCES.items():
        yield f"| `{plural}.{group}` | {sentence} |"
    for (plural, name), sentence in NOT_SERVED_SUBRESOURCES.items():
        yield f"| `{plural}/{name}` | {sentence} |"


TABLES: dict[str, tuple[Path, Callable[[], Iterator[str]]]] = {
    "reasons": (ROOT / "docs/glossary.md", reason_rows),
    "scheduler-rooms": (ARCHITECTURE, lambda: room_rows("scheduler")),
    "agent-rooms": (ARCHITECTURE, lambda: room_rows("agents")),
    "embedded-kinds": (EMBEDDED_HUB, served_kind_rows),
    "embedded-paths": (EMBEDDED_HUB, served_path_rows),
    "embedded-refusals": (EMBEDDED_HUB, refused_rows),
    "sizing-decide": (ROOT / "docs/howto/sizing.md", sizing_tables.decide_rows),
    "sizing-ingest": (ROOT / "docs/howto/sizing.md", sizing_tables.ingest_rows),
    "sizing-hub": (ROOT / "docs/howto/sizing.md", sizing_tables.hub_rows),
    "sizing-agent": (ROOT / "docs/howto/sizing.md", sizing_tables.agent_rows),
    "reason-pages": (REFERENCE / "reasons.md", reference_tables.reason_pages),
    "messages": (REFERENCE / "errors.md", reference_tables.message_rows),
    "commands": (REFERENCE / "commands.md", reference_tables.command_rows),
    "kinds": (REFERENCE / "kinds.md", reference_tables.kind_rows),
    "scheduler-settings": (REFERENCE / "settings.md", reference_tables.scheduler_setting_rows),
    "agent-settings": (REFERENCE / "settings.md", reference_tables.agent_setting_rows),
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
