"""How commands print: one JSON object, a table whose columns line up, a line, or an error.

Nothing else in the commands writes what came from the hub, a ledger or a file: here every hidden
character is escaped (`agents.protocol.printable`), so that no message of a site or tenant forges a
row or moves the cursor.
"""

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from scheduler.runtime.printable import printable


def print_json(value: Mapping[str, Any]) -> None:
    """Prints one JSON object on one line of stdout; names in Chinese stay readable."""
    # In a JSON string the escapes mean the characters themselves: nothing is lost.
    sys.stdout.write(_escape_json(json.dumps(value, ensure_ascii=False)) + "\n")


def print_text(text: str) -> None:
    """Prints text on stdout, with a newline at its end; line feeds inside it stay."""
    sys.stdout.write(printable(text, keep_newlines=True) + "\n")


def print_error(command: str, error: object) -> None:
    """Prints `kapok COMMAND: ERROR` on stderr; further lines of the error are indented."""
    text = str(error).replace("\n", "\n  ")
    sys.stderr.write(printable(f"kapok {command}: {text}", keep_newlines=True) + "\n")


def _escape_json(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if printable(one) == one else json.dumps(one)[1:-1] for one in text)


def format_table(rows: Sequence[Sequence[str]], *, gap: str = "   ") -> list[str]:
    """Rows as lines whose columns line up, also with Chinese text.

    Args:
        rows: cells, the header first; every row has the same number of cells.
        gap: text between two columns.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(_display_width, column)) for column in zip(*rows, strict=True)]
    return [
        gap.join(
            cell + " " * (width - _display_width(cell))
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        + "\n"
        for row in rows
    ]


def _display_width(text: str) -> int:
    """Columns that a terminal needs (Unicode TR 11: wide and full-width characters take two)."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)
