"""The page's search looks at every row, and counts all that match, above the rows that it holds."""

import pytest

from benchmarks._web_state import WebState
from scheduler.web.search import MAX_SEARCH_LENGTH, Search, Searcher, words_of
from scheduler.web.views import MAX_LIVE_ROWS, DashboardRenderer, DashboardView
from tests.support.fake_clock import FakeClock

PLACED, REFUSED = 3000, 40


@pytest.fixture(scope="module")
def base() -> DashboardView:
    scene = WebState(FakeClock())
    scene.admit(3)
    scene.report_all()
    scene.place(PLACED)
    scene.refuse(REFUSED)
    return DashboardRenderer().render(scene.take_snapshot())


async def test_totals_are_of_all_and_not_of_the_rows_that_are_sent(base: DashboardView) -> None:
    all_rows = await Searcher().search(base, Search())
    assert all_rows.summary["workloads"] == PLACED + REFUSED
    assert all_rows.summary["matching"]["workloads"] == PLACED + REFUSED
    assert len(all_rows.workloads) == MAX_LIVE_ROWS


async def test_a_workload_beyond_the_first_thousand_is_found(base: DashboardView) -> None:
    last = base.ordered[-1].metadata
    assert last.key not in base.workloads
    found = await Searcher().search(base, Search(workloads=words_of(last.name.upper())))
    assert [*found.workloads] == [last.key]
    assert found.summary["matching"] == {"sites": 3, "workloads": 1}


async def test_more_matches_than_rows_are_all_counted(base: DashboardView) -> None:
    found = await Searcher().search(base, Search(workloads=words_of("work-")))
    assert found.summary["matching"]["workloads"] == PLACED
    assert len(found.workloads) == MAX_LIVE_ROWS


async def test_every_word_must_match_and_reasons_and_sites_are_searched(
    base: DashboardView,
) -> None:
    searcher = Searcher()
    for text, matches in (("not-allowed", REFUSED), ("not-allowed work-", 0), ("no such", 0)):
        found = await searcher.search(base, Search(workloads=words_of(text)))
        assert found.summary["matching"]["workloads"] == matches, text
    name = base.snapshot.facts[1].name
    found = await searcher.search(base, Search(sites=words_of(f"{name} reporting")))
    assert [*found.sites] == [name]
    assert found.workloads == base.workloads


def test_a_search_is_bounded() -> None:
    assert words_of(" Silent  CN-GD ") == ("silent", "cn-gd")
    assert sum(map(len, words_of("x" * 10_000))) == MAX_SEARCH_LENGTH
    assert len(words_of("a " * 90)) <= 16
