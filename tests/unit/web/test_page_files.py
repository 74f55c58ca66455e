"""The page's own files: words in both languages, and modules that name what exists."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from scheduler.model.kinds.fields import DataClass, Origin
from scheduler.model.kinds.site import Tier
from scheduler.model.kinds.workload import Phase
from scheduler.model.mass_silence import DomainKind
from scheduler.model.site_health import HEALTH_NAMES
from scheduler.web.live import attention
from scheduler.web.page_files import PREFIX

PAGE = Path(__file__).resolve().parents[3] / "scheduler" / "web" / "page"
VENDOR = PAGE / "vendor"
MODULES = sorted(path for path in PAGE.rglob("*.js") if VENDOR not in path.parents)
MAX_LINES = 400


def words(language: str) -> dict[str, str]:
    """A catalogue; a slug that stands twice is an error."""

    def once(pairs: list[tuple[str, str]]) -> dict[str, str]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    text = (PAGE / "words" / f"{language}.json").read_text("utf-8")
    found: dict[str, str] = json.loads(text, object_pairs_hook=once)
    return found


def test_both_languages_have_the_same_slugs_and_values() -> None:
    english, chinese = words("en"), words("zh")
    assert set(english) == set(chinese)
    values = {
        slug: (set(re.findall(r"\{(\w+)", english[slug])), set(re.findall(r"\{(\w+)", text)))
        for slug, text in chinese.items()
    }
    assert {slug: pair for slug, pair in values.items() if pair[0] != pair[1]} == {}


def test_every_slug_that_a_module_writes_out_has_words() -> None:
    used = {
        (path.name, slug)
        for path in MODULES
        for slug in re.findall(r"\bt\(\"([^\"]+)\"", path.read_text("utf-8"))
    }
    assert len(used) > 20
    assert {(name, slug) for name, slug in used if slug not in words("en")} == set()


def exports_of(path: Path) -> set[str]:
    """The names that a module exports."""
    text = path.read_text("utf-8")
    declared = r"^export (?:async )?(?:function|const|let|class) (\w+)"
    found = set(re.findall(declared, text, re.MULTILINE))
    for names in re.findall(r"^export const \{([^}]*)\}", text, re.MULTILINE):
        found |= {name.split(":")[-1].strip() for name in names.split(",") if name.strip()}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PAGE).as_posix())
def test_a_module_is_of_a_readers_size_names_what_exists_and_makes_no_markup(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert text.startswith("// ")
    for module in re.findall(r"from \"([^\"]+)\"", text):
        assert module.startswith(PREFIX), "a relative name would be a second copy of the module"
        assert (PAGE / module.removeprefix(PREFIX)).is_file(), module
    for names, module in re.findall(r"import \{([^}]*)\} from \"/page/([^\"]+)\"", text):
        exported = exports_of(PAGE / module)
        wanted = {name.split(" as ")[0].strip() for name in names.split(",") if name.strip()}
        assert wanted <= exported, f"the whole page ends where {module} lacks a name"
    # Text of users is text: nothing parses it as HTML or runs it.
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(", text)
    assert "dangerouslySetInnerHTML" not in text


def test_the_document_has_no_script_or_style_of_its_own() -> None:
    text = (PAGE / "index.html").read_text("utf-8")
    assert re.findall(r"<script(?![^>]* src=)", text) == []
    assert "<style" not in text
    assert " style=" not in text
    for path in re.findall(r"(?:src|href)=\"(/page/[^\"]+)\"", text):
        assert (PAGE / path.removeprefix(PREFIX)).is_file(), path


def test_every_word_of_a_closed_list_has_words() -> None:
    source = Path(attention.__file__).read_text("utf-8")
    alike = set(re.findall(r"_alike_\w+\(\"([a-z-]+)\"", source)) | {"degraded", "refused"}
    single = set(re.findall(r"AttentionItem\(\"([a-z-]+)\"", source))
    assert len(alike | single) >= 9
    needed = {
        "phase": get_args(Phase),
        "health": HEALTH_NAMES,
        "domain": get_args(DomainKind),
        "origin": get_args(Origin),
        "class": get_args(DataClass),
        "tier": get_args(Tier),
        "attention": {*alike, *single, *(f"many-{slug}" for slug in alike)},
    }
    known = words("en")
    assert [
        f"{kind}.{slug}"
        for kind, slugs in needed.items()
        for slug in slugs
        if f"{kind}.{slug}" not in known
    ] == []
