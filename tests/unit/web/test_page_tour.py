"""The tour of the page goes through every view that the router knows."""

import re
from pathlib import Path

from tests.support.page_tour import PARTS, VIEWS

PAGE = Path(__file__).resolve().parents[3] / "scheduler" / "web" / "page"


def test_the_tour_has_one_picture_of_each_view_of_the_router() -> None:
    router = (PAGE / "views" / "index.js").read_text("utf-8")
    known = re.findall(r'^  \{name: "(\w+)", path', router, re.MULTILINE)
    assert len(known) >= 9
    assert [stop.view for stop in VIEWS] == known
    assert {stop.view for stop in PARTS} <= set(known)


def test_the_tour_opens_every_part_of_a_workload() -> None:
    written = (PAGE / "views" / "workload.js").read_text("utf-8")
    [names] = re.findall(r"^const PARTS = \[(.+)\];$", written, re.MULTILINE)
    parts = {f"part={name}" for name in re.findall(r'"(\w+)"', names)}
    shown = {part for part in parts for stop in (*VIEWS, *PARTS) if part in stop.address}
    assert shown == parts
