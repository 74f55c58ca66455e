"""The commands of the documents do what the documents say, typed in order on the real programs."""

import re
from dataclasses import replace
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
    "howto/roll-out.md",
    "howto/rebalance.md",
    "howto/failure-drills.md",
    "howto/site-drills.md",
    "howto/backup.md",
    "upgrade.md",
    "howto/hardening.md",
    "howto/sizing.md",
    "tenants.md",
    "auditors.md",
    "terminal.md",
    "recovery.md",
    *(f"runbooks/{path.name}" for path in sorted((DOCS / "runbooks").glob("Kapok*.md"))),
    "joining.md",
)
"""Each page goes on where the one before ends."""

NAMES = {"NAMESPACE/NAME": "health/portal", "NAMESPACE": "health", "SITE": "edge-1"}
"""What a reader of a runbook writes in place of its words in capitals."""

MOST_NOT_RUN = 11

pytestmark = [pytest.mark.e2e]


def steps(*names: str) -> list[Step]:
    return [with_names(step) for name in names for step in steps_of(DOCS / name)]


def with_names(step: Step) -> Step:
    """A command with the names of the reader's own objects."""
    if not isinstance(step, Command):
        return step
    words = re.sub("|".join(NAMES), lambda found: NAMES[found[0]], step.words)
    return replace(step, words=words)


@pytest.mark.timeout(300)
def test_a_reader_of_the_tutorial_has_a_placed_workload(tmp_path: Path) -> None:
    with reader(tmp_path) as one:
        one.follow(steps("tutorial.md"))
        assert len(one.ran) >= 15


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_reader_of_every_page_sees_what_it_says(tmp_path: Path) -> None:
    with reader(tmp_path) as one:
        for name in IN_ORDER:
            one.follow(steps(name))
        assert len(one.ran) >= 140


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
    tests = [name for step in not_run for name in re.findall(r"tests/[\w/.]*\w", step.reason)]
    assert [name for name in tests if not (ROOT / name).exists()] == []


def test_words_in_capitals_are_names_of_the_reader() -> None:
    command = Command("kapok status NAMESPACE/NAME --site SITE -n NAMESPACE")
    typed = Command("kapok status health/portal --site edge-1 -n health")
    assert with_names(command) == typed


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
