"""Rooms and words: what a newcomer relies on when reading the tree."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.sources import CODE, ROOT, each, text_of, tree_of

pytestmark = pytest.mark.timeout(300)  # the first test parses all modules, beside other work

PACKAGES = sorted({path.parent for path in CODE})
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

MAX_MODULES = 16
MIN_LINES = 40
EXTENSION_POINTS = {
    "scheduler/placement/filter/constraints",
    "scheduler/placement/cost/terms",
    "scheduler/cli",
    "agents/sensors",
}
"""Folders to which users add files: they may hold many, and small ones."""

SMALL_MODULES = {
    "scheduler/control/ports/not_recorded.py": "errors of the ledger import it without the model",
    "scheduler/apiserver/write/merge_patch.py": "one file for each type of patch",
    "scheduler/hub/schema/json_types.py": "two aliases that the whole API server uses",
    "scheduler/ledger/errors.py": "ten modules raise or catch these",
    "scheduler/model/formatters.py": "one form for texts of many modules",
    "scheduler/model/kinds/metadata.py": "a part of every kind",
    "scheduler/model/lazy.py": "one decorator of manifests, demands and placement",
    "scheduler/model/units.py": "factors between units, used by ten modules",
    "scheduler/placement/kernel/loader.py": "the only module that imports the kernel",
    "scheduler/runtime/packaged_files.py": "a topic of its own: files of the wheel or the source",
}
"""Modules under `MIN_LINES` lines, each with the reason why it does not join its user."""

SAME_NAME: dict[str, str] = {}
"""Public classes that may share a name, each with the reason."""


def name_of(path: Path) -> str:
    """A path as it is written in these tests."""
    return path.relative_to(ROOT).as_posix()


def test_no_folder_holds_more_modules_than_a_reader_can_take_in() -> None:
    modules = {
        name_of(folder): len([p for p in folder.glob("*.py") if p.name != "__init__.py"])
        for folder in PACKAGES
    }
    assert {
        folder: count
        for folder, count in modules.items()
        if count > MAX_MODULES and folder not in EXTENSION_POINTS
    } == {}


def test_no_module_is_a_fragment() -> None:
    small = {
        name_of(path)
        for path in CODE
        if path.name != "__init__.py"
        and name_of(path.parent) not in EXTENSION_POINTS
        and len(text_of(path).splitlines()) < MIN_LINES
    }
    assert small == set(SMALL_MODULES)


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_a_package_says_what_it_holds_what_it_knows_and_where_to_start(package: Path) -> None:
    words = ast.get_docstring(tree_of(package / "__init__.py")) or ""
    assert len(words.splitlines()) >= 3
    assert "Start with `" in words
    for module in re.findall(r"`([a-z_]+\.py)`", words):
        assert list(package.rglob(module)), f"{module} is named and not there"


def test_public_classes_have_names_of_their_own() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in CODE:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name_of(path))
    shared = {name: places for name, places in homes.items() if len(places) > 1}
    assert set(shared) == set(SAME_NAME), shared


def imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """Every `from MODULE import NAME` of ours."""
    for node in each(path, ast.ImportFrom):
        if node.module and node.module.partition(".")[0] in ("scheduler", "agents"):
            yield from ((node.module, alias.name) for alias in node.names)


def test_nothing_private_is_imported_from_another_module() -> None:
    assert [
        (name_of(path), module, name)
        for path in CODE
        for module, name in imports_of(path)
        if name.startswith("_") and not name.startswith("__")
    ] == []


def test_a_package_does_not_import_its_own_init() -> None:
    """What a package shares inside stands in a module; its `__init__` only describes it."""

    def is_module(module: str, name: str) -> bool:
        place = ROOT / module.replace(".", "/") / name
        return place.is_dir() or any(place.with_suffix(s).is_file() for s in (".py", ".pyx"))

    assert [
        (name_of(path), module, name)
        for path in CODE
        for module, name in imports_of(path)
        if (ROOT / module.replace(".", "/")).is_dir()
        and path.is_relative_to(ROOT / module.replace(".", "/"))
        and not is_module(module, name)
        and name != "__version__"  # the convention is that a package has it
    ] == []


# ------------------------------------------------------------------ words


@cache
def banned_words() -> list[tuple[re.Pattern[str], str]]:
    """The word list: a pattern, and what to write instead."""
    found = []
    for line in (Path(__file__).parent / "words.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            pattern, _, instead = (part.strip() for part in line.partition("→"))
            found.append((re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE), instead))
    return found


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Docstrings, comments and messages of a module, with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(text_of(path)).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in each(path, ast.Constant):
        if isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value  # one word is a name, a slug or a key


def breaches(text: str) -> list[str]:
    """Banned words in a text, with what to write instead."""
    plain = re.sub(r"`[^`\n]*`", "", text)  # names of code are not prose
    return [
        f"{found.group()!r}: write {instead or 'it otherwise'}"
        for pattern, instead in banned_words()
        for found in pattern.finditer(plain)
    ]


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_prose_in_code_has_no_private_words(package: Path) -> None:
    assert [
        f"{name_of(path)}:{line}: {breach}"
        for path in sorted(package.glob("*.py"))
        for line, text in prose_of(path)
        for breach in breaches(text)
    ] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_documents_have_no_private_words(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    assert breaches(text) == []


OWN_TEXT_ONLY = {
    "hub.py": "the kubeconfig that it wrote",
    "open.py": "the address that it made",
    "serve_api.py": "names from the command line",
    "simulate.py": "figures",
    "version.py": "versions",
}
"""Commands that write to stdout past `cli/support/output.py`, and what they write there."""


def test_commands_print_through_one_module_that_escapes_hidden_characters() -> None:
    direct = {
        path.name
        for path in (ROOT / "scheduler/cli").glob("*.py")
        if re.search(r"stdout\.write\(|\bprint\(", path.read_text(encoding="utf-8"))
        and "console.print" not in path.read_text(encoding="utf-8")
        and "Console(" not in path.read_text(encoding="utf-8")
    }
    assert direct <= set(OWN_TEXT_ONLY)
