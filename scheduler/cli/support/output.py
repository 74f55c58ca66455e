"""How commands print: one JSON object, a table whose columns line up, or an error."""

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any


def print_json(value: Mapping[str, Any]) -> None:
    """Prints one JSON object on one line of stdout; names in Chinese stay readable."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def print_error(command: str, error: object) -> None:
    """Prints `kapok COMMAND: ERROR` on stderr."""
    sys.stderr.write(f"kapok {command}: {error}\n")


def format_table(rows: Sequence[Sequence[str]], *, gap: str = "   ") -> list[str]:
    """Rows as lines whose columns line up, also with Chinese text.

    Args:
        rows: cells, the header first; every row has the same number of cells.
        gap: text between two columns.
    """
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
