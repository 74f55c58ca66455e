"""How soon the page is there and answers, as the benchmark measures it in a real browser."""

import argparse

import pytest

from benchmarks.page import (
    FIRST_LIMIT_MILLISECONDS,
    INPUT_LIMIT_MILLISECONDS,
    add_arguments,
    rows,
)
from tests.support.browser import require_browser

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def measured(*words: str) -> dict[object, dict[str, object]]:
    require_browser()
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return {row["case"]: row for row in rows(parser.parse_args(words))}


def below(row: dict[str, object], key: str, limit: float) -> bool:
    value = row[key]
    return isinstance(value, float) and 0 < value < limit


def test_every_case_is_measured_on_a_small_fleet() -> None:
    found = measured("--sites", "50", "--times", "1")
    assert len(found) >= 12
    assert all(below(row, "milliseconds", 20_000) for row in found.values())
    inputs = [row for row in found.values() if "paint_milliseconds" in row]
    assert len(inputs) == len(found) - 3


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_thousand_sites_are_there_in_a_second_and_answer_in_a_tenth() -> None:
    found = measured("--sites", "1000", "--times", "5")
    late = {
        case: row
        for case, row in found.items()
        if not (
            below(row, "paint_milliseconds", INPUT_LIMIT_MILLISECONDS)
            if "paint_milliseconds" in row
            else below(row, "milliseconds", FIRST_LIMIT_MILLISECONDS)
        )
    }
    assert late == {}
