"""What the documents say is what the code has."""

import re
from pathlib import Path

import pytest

from scheduler.cli.entry import COMMANDS
from scheduler.control.status.not_enforced import NOT_ENFORCED
from scheduler.model.reasons import REASONS, TRANSIENT_REASONS
from tests.support.architecture_picture import PICTURE, arrows, heights, picture
from tests.support.docs_tables import TABLES, with_table
from tests.support.reason_fixes import FIXES
from tests.support.reference_tables import setting_comments

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def test_the_glossary_lists_every_reason_with_its_meaning() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (.*?) \| (yes)? *\|$",
        (ROOT / "docs/glossary.md").read_text(),
        re.MULTILINE,
    )
    assert {name: meaning for name, meaning, _ in rows} == REASONS
    assert {name for name, _, passing in rows if passing} == TRANSIENT_REASONS


def test_every_reason_has_a_fix() -> None:
    assert FIXES.keys() == REASONS.keys()
    assert all(len(text) > len("ask someone") for text in FIXES.values())


def test_a_setting_has_the_comment_beside_it_and_the_lines_below(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("# Head\n\na:  # first\n  b: 1   # second,\n         # goes on\n  c: 2\n")
    assert setting_comments(file) == {"a": "first", "a.b": "second, goes on", "a.c": ""}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_as_make_docs_tables_writes_it(name: str) -> None:
    text = TABLES[name][0].read_text()
    assert text == with_table(text, name)


def test_the_picture_of_the_architecture_is_as_make_architecture_image_draws_it() -> None:
    assert PICTURE.read_text() == picture()
    assert "images/architecture.svg" in (ROOT / "docs/architecture.md").read_text()


def test_a_picture_has_no_arrow_that_follows_from_others() -> None:
    imports = {"top": {"middle", "low"}, "middle": {"low"}, "low": set[str]()}
    assert heights(imports) == {"top": 2, "middle": 1, "low": 0}
    assert arrows(imports) == [("middle", "low"), ("top", "middle")]
    with pytest.raises(ValueError, match="circle"):
        heights({"one": {"other"}, "other": {"one"}})


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_commands_in_the_readme_exist() -> None:
    words = re.findall(r"^kapok ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert words
    assert set(words) <= COMMANDS.keys()


def test_every_command_has_its_module() -> None:
    for name in COMMANDS:
        assert (ROOT / "scheduler/cli" / f"{name.replace('-', '_')}.py").is_file(), name


def test_the_readme_names_what_is_not_enforced() -> None:
    text = (ROOT / "README.md").read_text()
    assert [path for path in NOT_ENFORCED["Workload"] if path not in text] == []


def test_decisions_are_numbered_once() -> None:
    numbers = [path.name[:4] for path in (ROOT / "docs/decisions").glob("0*.md")]
    assert len(numbers) == len(set(numbers))


def test_no_lock_holds_an_address() -> None:
    locks = sorted(ROOT.glob("*.lock"))
    assert locks
    assert [lock.name for lock in locks if "://" in lock.read_text()] == []
