"""Forms of output: CSV that no spreadsheet runs, tables that say what is not known."""

import csv
import io
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scheduler.cli.seeing.forms import Row, ShownColumn, format_csv, lines_of, print_listed
from scheduler.runtime.printable import printable

COLUMNS = [
    ShownColumn("NAME", lambda row: row["name"]),
    ShownColumn("WATTS", lambda row: row["watts"], lambda watts: f"{watts:.1f}"),
    ShownColumn("ORIGIN", lambda row: row["origin"], is_wide=True),
]
ROWS: list[Row] = [
    {"name": "广州", "watts": 4000.0, "origin": "measured"},
    {"name": "m2", "watts": None, "origin": "unknown"},
]


def shown(form: str | None, capsys: pytest.CaptureFixture[str]) -> str:
    print_listed(form, {"rows": ROWS}, ROWS, COLUMNS, name_of=lambda row: f"site/{row['name']}")
    return capsys.readouterr().out


def test_each_form_holds_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(None, capsys) == "NAME   WATTS\n广州   4000.0\nm2     ?\n"
    assert shown("wide", capsys).splitlines()[1].split() == ["广州", "4000.0", "measured"]
    assert shown("name", capsys) == "site/广州\nsite/m2\n"
    assert json.loads(shown("json", capsys)) == {"rows": ROWS}
    assert yaml.safe_load(shown("yaml", capsys)) == {"rows": ROWS}
    expected = "name,watts,origin\r\n广州,4000.0,measured\r\nm2,,unknown\r\n"
    assert shown("csv", capsys) == expected


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "\r=1", "\uff1d1+1", '=HYPERLINK("x")']
)
def test_text_that_is_a_formula_has_an_apostrophe_in_front(text: str) -> None:
    [[cell]] = csv.reader(io.StringIO(format_csv((), [[text]])))
    assert cell.startswith("'")


def test_numbers_stay_numbers() -> None:
    assert format_csv((), [[-3, 0.5, True, None]]) == "-3,0.5,true,\r\n"


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), min_size=1))
def test_every_text_is_one_cell_without_control_characters(rows: list[list[str]]) -> None:
    text = format_csv(("a", "b"), rows)
    assert printable(text.replace("\r\n", "\n"), keep_newlines=True) == text.replace("\r\n", "\n")
    found = list(csv.reader(io.StringIO(text)))
    assert len(found) == len(rows) + 1
    assert all(len(one) == 2 for one in found)
    for row in found[1:]:
        assert not any(cell.lstrip(" ").startswith(("=", "+", "-", "@")) for cell in row)


@pytest.mark.parametrize("width", [24, 16, 8])
def test_columns_that_do_not_fit_the_terminal_are_left_out(width: int) -> None:
    columns = [ShownColumn(name * 8, lambda _: "x" * 12) for name in "ABCD"]
    lines = lines_of([{}, {}], columns, width=width)
    assert len(lines) == 3
    assert all(len(one) <= max(width, 12) for one in lines)  # the name of a row is never cut
    assert lines[0].startswith("AAAAAAAA")
