"""How commands print: one JSON object, a table whose columns line up, a line, or an error.

Nothing else in the commands writes what came from the hub, a ledger or a file: here every hidden
character is escaped (`agents.protocol.printable`), so that no message of a site or tenant forges a
row or moves the cursor.
"""

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from scheduler.hub.schema.yaml_writer import TextDumper
from scheduler.runtime.printable import printable, printable_json

if TYPE_CHECKING:
    from scheduler.words.catalogue import Catalogue

_YAML_WIDTH = 1_000_000
"""No line is folded: a folded text is hard to compare with its source."""
_NARROWEST = 6
"""No column is cut to less."""


def print_json(value: Mapping[str, Any]) -> None:
    """Prints one JSON object on one line of stdout; names in Chinese stay readable."""
    sys.stdout.write(printable_json(json.dumps(value, ensure_ascii=False)) + "\n")


def print_text(text: str) -> None:
    """Prints text on stdout, with a newline at its end; line feeds inside it stay."""
    sys.stdout.write(printable(text, keep_newlines=True) + "\n")


def print_raw(text: str) -> None:
    """Prints text on stdout whose caller has escaped hidden characters and ended the lines."""
    sys.stdout.write(text)


def print_table(
    rows: Sequence[Sequence[str]],
    *,
    fixed: int = 1,
    least: Sequence[int] = (),
    titles: Sequence[str] = (),
    is_ours: bool = True,
) -> list[int]:
    """Prints a table on stdout that fits the terminal, where stdout is one.

    Args:
        rows: cells of each row.
        fixed: so many columns from the left are never cut.
        least: least widths; those of rows printed before, so that later ones line up.
        titles: of the columns, where no row has them.
        is_ours: whether columns of sentences hold words of ours; those of others stay.

    Returns:
        The widths of the columns.
    """
    rows = said_rows(rows, titles, is_ours=is_ours)
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = _widths(cells, least)
    sys.stdout.writelines(format_table(rows, width=terminal_width(), fixed=fixed, least=least))
    return widths


_SAID_COLUMNS = frozenset(
    {
        "PHASE",
        "STATE",
        "REASON",
        "EVENT",
        "HEALTH",
        "OPERATIONS",
        "FRESHNESS",
        "ORIGIN",
        "LINE",
        "WHY NONE",
    }
)
"""Titles of columns that hold words or sentences of ours; the others hold names and numbers."""


def said_rows(
    rows: Sequence[Sequence[str]], titles: Sequence[str] = (), *, is_ours: bool = True
) -> list[list[str]]:
    """A table with its titles, and what columns of sentences hold, in the language of the reader.

    Args:
        rows: the table.
        titles: of rows without a title row; empty: the first row has them.
        is_ours: whether columns of sentences hold words of ours.
    """
    words = _reader_catalogue()
    if words.language == "en" or not rows:
        return [list(row) for row in rows]
    known = titles or rows[0]
    said = {index for index, title in enumerate(known) if title.strip() in _SAID_COLUMNS}
    said = said if is_ours else set()
    head = [] if titles else [[_title(title, words) for title in known]]
    return head + [
        [words.say(cell) if index in said else cell for index, cell in enumerate(row)]
        for row in rows[len(head) :]
    ]


def _title(title: str, words: "Catalogue") -> str:
    indent = title[: len(title) - len(title.lstrip())]
    return indent + words.label(title.strip())


def _reader_catalogue() -> "Catalogue":
    # Imported here: an error without the extra [hub] is printed too, and needs no catalogue.
    from scheduler.words.catalogue import reader_catalogue  # noqa: PLC0415

    return reader_catalogue()


def print_sentences(text: str) -> None:
    """Prints sentences of ours on stdout, one a line, in the language of the reader."""
    words = _reader_catalogue()
    print_text("\n".join(words.say(line) for line in text.split("\n")))


def print_error(command: str, error: object) -> None:
    """Prints `kapok COMMAND: ERROR` on stderr, in the language of the reader.

    Further lines of the error are indented.
    """
    text = "\n  ".join(said_error(line) for line in str(error).split("\n"))
    sys.stderr.write(printable(f"{f'kapok {command}'.rstrip()}: {text}", keep_newlines=True) + "\n")


def said_error(text: str) -> str:
    """An error in the language of the reader; what is not known stays English."""
    try:
        return _reader_catalogue().say(text)
    except ImportError:  # without the extra [hub] there is no catalogue, and that is an error too
        return text


def print_notice(text: str) -> None:
    """Prints a remark on stderr, which no reader of stdout takes for an answer."""
    text = _reader_catalogue().say(text)
    sys.stderr.write(printable(text, keep_newlines=True) + "\n")


def flush_output() -> None:
    """Passes what was printed to the reader of stdout, before a wait."""
    sys.stdout.flush()


def format_table(
    rows: Sequence[Sequence[str]],
    *,
    gap: str = "   ",
    width: int | None = None,
    fixed: int = 0,
    least: Sequence[int] = (),
) -> list[str]:
    """Rows as lines whose columns line up, also with Chinese text.

    Args:
        rows: cells, the header first; every row has the same number of cells.
        gap: text between two columns.
        width: columns of the terminal, which long cells are cut for; None: no limit.
        fixed: so many columns from the left are never cut, because they name the row.
        least: least widths of the columns; empty: none.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = _widths(rows, least)
    if width is not None:
        widths = _fit(widths, width - len(gap) * (len(widths) - 1), fixed)
    return [
        gap.join(_pad(cell, room) for cell, room in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in rows
    ]


def _widths(rows: Sequence[Sequence[str]], least: Sequence[int]) -> list[int]:
    found = [max(map(_display_width, column)) for column in zip(*rows, strict=True)]
    return [max(pair) for pair in zip(found, least, strict=True)] if least else found


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None: a file or a pipe, which takes long lines."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS"):
        return None
    return shutil.get_terminal_size().columns


def _fit(widths: list[int], most: int, fixed: int) -> list[int]:
    """Widths whose sum is at most `most`, where that is possible: the widest column gives first."""
    widths = list(widths)
    while sum(widths) > most:
        widest = max(range(fixed, len(widths)), key=widths.__getitem__, default=None)
        if widest is None or widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths


def _pad(cell: str, room: int) -> str:
    """A cell of exactly `room` columns; one that is too long ends with an ellipsis."""
    if (length := _display_width(cell)) <= room:
        return cell + " " * (room - length)
    kept, used = "", 1
    for one in cell:
        used += _display_width(one)
        if used > room:
            break
        kept += one
    return _pad(kept + "…", room)


def columns_that_fit(
    rows: Sequence[Sequence[str]], width: int, *, fixed: int, gap: str = "   "
) -> int:
    """How many columns from the left fit into a width; the first `fixed` ones are never cut."""
    used, count = -len(gap), 0
    for column in zip(*rows, strict=True):
        natural = max(map(_display_width, column))
        used += len(gap) + (natural if count < fixed else min(_NARROWEST, natural))
        if used > width:
            break
        count += 1
    return max(count, fixed)


def fit_text(text: str, width: int) -> str:
    """Text of at most `width` columns, hidden characters escaped; one that is longer is cut."""
    return _pad(printable(text), width).rstrip()


def _display_width(text: str) -> int:
    """Columns that a terminal needs (Unicode TR 11: wide ones take two, combining ones none)."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


def format_object_as_yaml(value: dict[str, Any]) -> str:
    """A value as block style YAML, in its own order of keys.

    Hidden characters are written as escapes, which mean the same characters to a reader.
    """
    text = _dump_yaml(value, is_unicode=True)
    if printable(text, keep_newlines=True) != text:
        text = _dump_yaml(value, is_unicode=False)
    return text


def _dump_yaml(value: dict[str, Any], *, is_unicode: bool) -> str:
    text: str = yaml.dump(
        value, Dumper=TextDumper, sort_keys=False, allow_unicode=is_unicode, width=_YAML_WIDTH
    )
    return text
