"""The site of documents: Sphinx builds it in both languages without a warning.

A warning is an error: a dead link, an unknown reference, a page that is in no list of pages.
"""

import subprocess
import sys
from pathlib import Path

import pytest

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


def test_built_pages_load_nothing_from_other_hosts(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "conf.py").write_text((ROOT / "docs/conf.py").read_text())
    (source / "index.md").write_text("# A page\n")
    done = build(source, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "out" / "index.html").read_text()
    assert 'src="http' not in page
    assert 'src="//' not in page
    assert '<link rel="stylesheet" type="text/css" href="http' not in page
