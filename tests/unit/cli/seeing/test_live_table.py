"""What `kapok top` draws: fits the terminal, in an order that a person can use."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.cli.seeing.live_table import (
    HELP_LINE,
    TABLES,
    LiveState,
    LiveView,
    screen_lines,
    sorted_rows,
    summary_line,
)
from scheduler.cli.support.output import fit_text

SITES: list[dict[str, Any]] = [
    {"name": "m1", "reporting": True, "health": "Reporting", "watts": 4000.0, "workloads": 2},
    {"name": "m2", "reporting": False, "health": "Lost", "workloads": 0},
    {
        "name": "广州-edge",
        "reporting": True,
        "health": "Reporting",
        "watts": 900.0,
        "gco2PerHour": 1500.0,
        "free": {"cpu": 7.5, "memory": 2**30},
        "workloads": 1,
    },
]
WORKLOADS: list[dict[str, Any]] = [
    {"namespace": "a", "name": "runs", "phase": "Running", "readiness": "2/2"},
    {"namespace": "a", "name": "fails", "phase": "Degraded", "reason": "\x1b[2J\nboom"},
    {"namespace": "b", "name": "waits", "phase": "Waiting", "line": "0/3 sites: 3 full"},
]
STATE = LiveState(SITES, WORKLOADS, 3)


def names(view: LiveView, table: str = "sites") -> list[str]:
    return [str(one["name"]) for one in sorted_rows(STATE, view, table)]  # type: ignore[arg-type]


def test_what_needs_a_person_comes_first() -> None:
    assert names(LiveView()) == ["m2", "m1", "广州-edge"]
    assert names(LiveView(), "workloads") == ["fails", "waits", "runs"]


def test_what_is_not_known_comes_last_in_both_directions() -> None:
    view = LiveView(sort={"sites": "kilowatts"})
    assert names(view) == ["m1", "广州-edge", "m2"]
    assert names(view.with_key("r")) == ["广州-edge", "m1", "m2"]
    assert names(LiveView(sort={"sites": "site"})) == ["m1", "m2", "广州-edge"]


def test_keys_change_the_view_and_unknown_ones_do_not() -> None:
    view = LiveView()
    seen = [view.tables]
    for _ in TABLES:
        view = view.with_key("\t")
        seen.append(view.tables)
    assert seen == [("sites", "workloads"), ("sites",), ("workloads",)]
    sites = LiveView(tables=("sites",))
    assert sites.with_key("s").sort == {"sites": "site"}
    everything = sites
    for _ in range(15):
        everything = everything.with_key("s")
    assert everything.sort == {"sites": ""}
    assert sites.with_key("j").with_key("j").with_key("k").skip == 1
    assert sites.with_key("k").skip == 0
    assert sites.with_key("\x00") == sites


def test_the_totals_say_what_is_not_known() -> None:
    assert summary_line(STATE) == (
        "2/3 sites report   3 workloads: 1 Degraded, 1 Waiting, 1 Running   4.9 kW   1.5 kgCO2e/h"
    )
    assert "? kW" in summary_line(LiveState(SITES[1:2]))
    frozen = LiveState(SITES, WORKLOADS, 3, {"frozen": True, "reason": "operator"})
    assert summary_line(frozen).startswith("EVICTIONS FROZEN (operator)")


def test_scrolling_ends_at_the_last_row() -> None:
    many = LiveState([{**SITES[0], "name": f"m{n:03}"} for n in range(100)])
    view = LiveView(tables=("sites",), skip=1000)
    lines = screen_lines(many, view, width=200, height=14)
    assert len(lines) == 14
    assert lines[-1].startswith("m099")
    assert lines[1] == HELP_LINE


@pytest.mark.parametrize("view", [LiveView(), LiveView(tables=("sites",))])
@given(width=st.integers(1, 300), height=st.integers(0, 60), text=st.text())
def test_no_line_is_wider_than_the_terminal_and_none_holds_an_escape(
    view: LiveView, width: int, height: int, text: str
) -> None:
    rows = [*WORKLOADS, {"namespace": text, "name": text, "phase": text, "line": text}]
    state = LiveState([*SITES, {"name": text, "health": text}], rows, len(rows))
    lines = screen_lines(state, view, width=width, height=height, notice=text)
    assert len(lines) <= height
    for line in lines:
        assert fit_text(line, width) == line
        assert "\x1b" not in line
        assert "\n" not in line
