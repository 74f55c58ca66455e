"""The site of documents: Sphinx builds it in both languages without a warning.

A warning is an error: a dead link, an unknown reference, a page that is in no list of pages.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog

from tests.support.page_catalogues import (
    FOLDER,
    catalogue_of,
    templates,
    translated_pages,
    untranslated,
)

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


def build(source: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Builds as `make docs` does; without bytecode, in a folder of the test's own."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-W", "-n", "-q", "--keep-going", "-b", "html"),
            *("-D", "gettext_auto_build=0", *options, str(source), str(folder)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_page_is_built_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    done = build(ROOT / "docs", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    pages = {
        path.relative_to(ROOT / "docs").with_suffix(".html")
        for path in (ROOT / "docs").rglob("*.md")
    }
    built = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.html")}
    assert pages <= built
    loads = re.compile(r'<(script|img|iframe)[^>]* src="(https?:)?//|<link[^>]* href="https?:')
    assert [str(path) for path in built if loads.search((tmp_path / path).read_text())] == []


def test_a_dead_link_and_a_page_in_no_list_are_errors(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "conf.py").write_text((ROOT / "docs/conf.py").read_text())
    (source / "index.md").write_text("# A page\n\n[to nothing](missing.md)\n")
    (source / "alone.md").write_text("# Alone\n")
    done = build(source, tmp_path / "out")
    assert done.returncode == 1
    assert "missing.md" in done.stderr
    assert "alone.md" in done.stderr


def test_every_sentence_of_tutorial_and_how_to_is_translated() -> None:
    found = templates()
    left = [
        (page, sentence)
        for page in translated_pages()
        for sentence in untranslated(found[page], catalogue_of(page))
    ]
    assert left == []
    catalogues = {str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.po")}
    assert catalogues == set(translated_pages())


def test_the_chinese_page_has_chinese_sentences_and_the_same_commands(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("conf.py", "tutorial.md", "locale/zh_CN/LC_MESSAGES/tutorial.po"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text((ROOT / "docs" / name).read_text())
    options = ("-D", "language=zh_CN", "-D", "root_doc=tutorial", "-D", "gettext_auto_build=1")
    done = build(source, tmp_path / "out", *options)
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "out/tutorial.html").read_text()
    assert "从零开始" in page
    assert "Start the hub" not in page
    assert "kapok explain health/portal" in re.sub(r"<[^>]+>", "", page)


def test_a_sentence_that_is_new_is_missing_from_its_catalogue() -> None:
    template = Catalog()
    template.add("A sentence that is new.")
    template.add("`kapok up`")
    assert list(untranslated(template, catalogue_of("tutorial"))) == ["A sentence that is new."]
