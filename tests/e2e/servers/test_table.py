"""The table of cases names tests that exist."""

import re
from pathlib import Path

import pytest

from tests.support.rooms import ROOT

_TABLE = (Path(__file__).parent / "README.md").read_text()
_TESTS = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", _TABLE)


def test_the_table_lists_cases() -> None:
    assert len(_TESTS) == _TABLE.count("\n| ") - 1 >= 20


@pytest.mark.parametrize(("path", "name"), _TESTS, ids=[name for _, name in _TESTS])
def test_a_listed_case_exists(path: str, name: str) -> None:
    assert re.search(rf"def {name}\(", (ROOT / path).read_text()), f"{path} has no {name}"
