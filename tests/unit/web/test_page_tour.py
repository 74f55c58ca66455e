"""The tour of the page goes through every view that the router knows."""

import re
from pathlib import Path

from tests.support.page_images import MOST_BYTES, README_PICTURE, pictures
from tests.support.page_tour import LANGUAGES, PARTS, VIEWS

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "scheduler" / "web" / "page"


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


def test_each_view_has_its_picture_in_each_language() -> None:
    names = {f"page-{stop.view}-{language}.png" for stop in VIEWS for language in LANGUAGES}
    assert set(pictures()) == names
    files = {path.name: path.stat().st_size for path in (ROOT / "docs/images").glob("page*.png")}
    assert set(files) == names | {README_PICTURE}, "make page-images"
    assert sum(files.values()) <= MOST_BYTES
