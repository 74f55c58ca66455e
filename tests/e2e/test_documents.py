"""The commands of the documents do what the documents say, typed in order on the real programs."""

from pathlib import Path

import pytest

from tests.support.console_blocks import Command, NotRun, SavedFile, Step, steps_of
from tests.support.document_session import reader
from tests.support.up import ROOT

DOCS = ROOT / "docs"
IN_ORDER = (
    "tutorial.md",
    "howto/join-a-site.md",
    "howto/grants.md",
    "howto/policies.md",
    "howto/failure-drills.md",
    "howto/backup.md",
    "upgrade.md",
    "howto/hardening.md",
    "howto/sizing.md",
    "tenants.md",
    "auditors.md",
)
"""Each page goes on where the one before ends."""

MOST_NOT_RUN = 8

pytestmark = [pytest.mark.e2e]


def steps(*names: str) -> list[Step]:
    return [step for name in names for step in steps_of(DOCS / name)]


@pytest.mark.timeout(300)
def test_a_reader_of_the_tutorial_has_a_placed_workload(tmp_path: Path) -> None:
    with reader(tmp_path) as one:
        one.follow(steps("tutorial.md"))
        assert len(one.ran) >= 15


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_reader_of_every_page_sees_what_it_says(tmp_path: Path) -> None:
    with reader(tmp_path) as one:
        for name in IN_ORDER:
            one.follow(steps(name))
        assert len(one.ran) >= 60


def test_every_page_with_commands_is_read() -> None:
    pages = {
        str(path.relative_to(DOCS))
        for path in DOCS.rglob("*.md")
        if "decisions" not in path.parts and list(steps_of(path))
    }
    assert pages == set(IN_ORDER)
    assert {f"howto/{path.name}" for path in (DOCS / "howto").glob("*.md")} <= set(IN_ORDER)


def test_what_is_not_run_has_a_reason_and_is_little() -> None:
    not_run = [step for step in steps(*IN_ORDER) if isinstance(step, NotRun)]
    assert all(len(step.reason) > 20 for step in not_run)
    assert len(not_run) <= MOST_NOT_RUN


def test_a_block_without_a_prompt_is_no_console(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- file: a.txt -->\n```yaml\na: 1\n```\n\n```console\n$ cat a.txt\na: …\n$ true\n```\n"
    )
    assert list(steps_of(page)) == [
        SavedFile("a.txt", "a: 1\n"),
        Command("cat a.txt", ("a: …",)),
        Command("true"),
    ]


def test_a_page_that_says_something_else_fails(tmp_path: Path) -> None:
    wrong = [Command("false")]
    with reader(tmp_path) as one, pytest.raises(AssertionError, match="ended with 1"):
        one.follow(wrong)
