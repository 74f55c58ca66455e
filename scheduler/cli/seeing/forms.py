"""The forms of output of commands that list figures: a table, `-o json|yaml|csv|wide|name`.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@` as a formula ("CSV injection",
OWASP), and names, messages and labels are the words of tenants. Such text gets an apostrophe in
front, which spreadsheets show as text; numbers stay numbers.
"""

import argparse
import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scheduler.cli.support.output import (
    columns_that_fit,
    format_object_as_yaml,
    format_table,
    print_json,
    print_raw,
    print_table,
    print_text,
    terminal_width,
)
from scheduler.runtime.printable import printable

FORMS: Final = ("json", "yaml", "csv", "wide", "name")
CSV_HELP: Final = """\
-o csv is RFC 4180 in UTF-8. Text that a spreadsheet would run as a formula (it begins with = + - @
or a tab) has an apostrophe in front; a figure that is not known is an empty cell."""
UNKNOWN_CELL: Final = "?"
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")
_FORMULA_STARTS: Final = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - programs take both widths

Row = Mapping[str, Any]
Value = str | float | int | bool | None


@dataclass(frozen=True, slots=True)
class ShownColumn:
    """A column of a table and of CSV.

    Attributes:
        header: its name in the table; in CSV it is in lower case, with `_`.
        value: its value in a row; None: not known.
        text: how people see the value; None: as it is.
        is_wide: whether only `-o wide` and `-o csv` show it.
    """

    header: str
    value: Callable[[Row], Value]
    text: Callable[[Any], str] | None = None
    is_wide: bool = False

    def cell(self, row: Row) -> str:
        """The cell of a table; what is not known is a question mark."""
        value = self.value(row)
        if value is None:
            return UNKNOWN_CELL
        return str(value) if self.text is None else self.text(value)


def add_form_option(parser: argparse.ArgumentParser) -> None:
    """Adds `-o`."""
    parser.add_argument("-o", "--output", choices=FORMS, help="form of the output")


def print_listed(
    form: str | None,
    answer: Mapping[str, Any],
    rows: Sequence[Row],
    columns: Sequence[ShownColumn],
    *,
    name_of: Callable[[Row], str],
    fixed: int = 1,
) -> None:
    """Prints rows in the form that was asked for.

    Args:
        form: one of `FORMS`; None: a table.
        answer: all of it, for `json` and `yaml`.
        rows: the rows, for all other forms.
        columns: the columns, for tables and `csv`.
        name_of: what `name` prints of a row.
        fixed: so many columns from the left are never cut.
    """
    if form == "json":
        print_json(answer)
    elif form == "yaml":
        print_text(format_object_as_yaml(dict(answer)).rstrip("\n"))
    elif form == "csv":
        print_raw(format_csv([one.header for one in columns], _values(rows, columns)))
    elif form == "name":
        for row in rows:
            print_text(printable(name_of(row)))
    elif rows:
        table = table_of(rows, columns, is_wide=form == "wide")
        print_table(table if form else _cut(table, terminal_width(), fixed), fixed=fixed)


def table_of(
    rows: Iterable[Row], columns: Sequence[ShownColumn], *, is_wide: bool
) -> list[list[str]]:
    """The cells of a table, the header first."""
    shown = [one for one in columns if is_wide or not one.is_wide]
    return [[one.header for one in shown], *([one.cell(row) for one in shown] for row in rows)]


def lines_of(
    rows: Iterable[Row], columns: Sequence[ShownColumn], *, width: int | None, fixed: int = 1
) -> list[str]:
    """The lines of a table that is cut for a width, without line feeds."""
    table = _cut(table_of(rows, columns, is_wide=False), width, fixed)
    return [line.rstrip("\n") for line in format_table(table, width=width, fixed=fixed)]


def _cut(table: list[list[str]], width: int | None, fixed: int) -> list[list[str]]:
    """The table without the last columns, where they do not fit; `-o wide` has them."""
    if width is None:
        return table
    count = columns_that_fit(table, width, fixed=fixed)
    return [row[:count] for row in table]


def _values(rows: Iterable[Row], columns: Sequence[ShownColumn]) -> Iterable[list[Value]]:
    return ([one.value(row) for one in columns] for row in rows)


def format_csv(headers: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    """Rows as CSV (RFC 4180): lines end with CRLF, and cells are quoted where they must be."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    if headers:
        writer.writerow([_NOT_IN_NAMES.sub("_", one.lower()) for one in headers])
    writer.writerows([csv_cell(one) for one in row] for row in rows)
    return buffer.getvalue()


def csv_cell(value: Value) -> str:
    """A cell of CSV: numbers as they are, text that no program takes for a formula or a command."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    guarded = f"'{value}" if value.lstrip(" ").startswith(_FORMULA_STARTS) else value
    return printable(guarded)
