"""Paths, classes and functions that the guides name exist in the tree."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from tests.support.sources import CODE, ROOT, each

pytestmark = pytest.mark.timeout(300)  # the first test parses all modules, beside other work

GUIDES = [
    ROOT / "docs" / "architecture.md",
    *sorted((ROOT / "docs" / "paths").glob("*.md")),
    ROOT / "docs" / "glossary.md",
    ROOT / "CONTRIBUTING.md",
]
METRICS = ROOT / "docs" / "metrics.md"
PACKAGES = {
    path.parent.relative_to(ROOT).as_posix()
    for top in ("scheduler", "agents")
    for path in (ROOT / top).rglob("__init__.py")
    if "_shipped" not in path.parts
}
PLACEHOLDER = "NAME"
TOPS = ("scheduler", "agents", "tests", "docs")
KINDS = {"Site", "SiteGrant", "DataClassScheme", "Tenant", "PlacementPolicy", "Workload"}
NOT_OURS = {
    *("Raises", "TaskGroup", "PlacementDecision"),
    *("utils", "helpers", "common", "base"),  # what CONTRIBUTING.md forbids as a name
}
"""Names of others, or of what must not exist."""

_PATH = re.compile(r"\.?[\w.-]+(?:/[\w.-]+)+/?|[\w-]+\.(?:py|pyi|pyx|md|toml|ya?ml)")
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?:\(\))?")


def guide_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def quoted(document: str) -> set[str]:
    """What is in backticks in running text."""
    prose = re.sub(r"^```.*?^```$", "", document, flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`([^`\n]+)`", prose))


@cache
def members() -> dict[str, set[str]]:
    """Class → its methods, fields and what its methods assign to `self`."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in CODE:
        for node in each(path, ast.ClassDef):
            found[node.name] |= defined_in(ast.walk(node)) | {"__init__"}
    return found


DEFINING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Name, ast.Attribute, ast.arg)


@cache
def defined_by(path: Path) -> set[str]:
    """Names that a module defines."""
    return defined_in(node for kind in DEFINING for node in each(path, kind))


def defined_in(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that nodes define: functions, classes, variables, arguments, attributes."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return names


@cache
def names() -> set[str]:
    """Names that some module defines, texts that it holds, modules and folders."""
    found: set[str] = set()
    for path in CODE:
        found |= defined_by(path) | {path.stem}
        found |= {node.value for node in each(path, ast.Constant) if isinstance(node.value, str)}
    folders = (one for top in TOPS for one in (ROOT / top).rglob("*") if one.is_dir())
    return found | {one.name for one in folders} | set(TOPS)


def snake(name: str) -> str:
    """`onViolation` as Python writes it."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def path_exists(path: str) -> bool:
    """A file or folder: from the root, or below some folder if the name is shorter."""
    if PLACEHOLDER in path:
        return (ROOT / path).parent.is_dir()
    if (ROOT / path).exists():
        return True
    endings = (f"/{path.rstrip('/')}",)
    return any(
        one.as_posix().endswith(endings)
        for top in ("scheduler", "agents")
        for one in (ROOT / top).rglob(path.rstrip("/").rpartition("/")[2])
    )


def name_exists(name: str) -> bool:
    """A name of the code; of a dotted one, each part after a class is a member of it."""
    first, *rest = name.removesuffix("()").split(".")
    if first in members():
        if not rest:
            return True
        known = members()[first] | ({"spec", "status", "metadata"} if first in KINDS else set())
        return snake(rest[0]) in known and all(is_known(part) for part in rest[1:])
    return all(is_known(part) for part in (first, *rest))


def is_known(part: str) -> bool:
    """Of fields, the camelCase of manifests is known too; classes and constants are exact."""
    is_field = part[0].islower() and snake(part) in names()
    return part in NOT_OURS or part in names() or is_field


@pytest.mark.parametrize("guide", GUIDES, ids=guide_id)
def test_paths_in_guides_exist(guide: Path) -> None:
    found = {word for word in quoted(guide.read_text("utf-8")) if _PATH.fullmatch(word)}
    ours = {word for word in found if not is_of_others(word)}
    assert [path for path in sorted(ours) if not path_exists(path)] == []


def is_of_others(word: str) -> bool:
    """Topics, API groups and URL paths look like paths of files or like names."""
    return word.startswith(("kapok/v1", "kapok.dev/", "/")) or word.endswith(".kapok.dev")


@pytest.mark.parametrize("guide", GUIDES, ids=guide_id)
def test_names_in_guides_exist(guide: Path) -> None:
    found = {
        word
        for word in quoted(guide.read_text("utf-8"))
        if _NAME.fullmatch(word) and not _PATH.fullmatch(word) and not word.startswith("_")
    }
    ours = {name for name in found if not is_of_others(name)}
    assert [name for name in sorted(ours) if not name_exists(name)] == []


@pytest.mark.parametrize("guide", GUIDES, ids=guide_id)
def test_a_function_named_after_a_module_is_in_that_module(guide: Path) -> None:
    """`module.py` → `Class.function` names a function of this very module."""
    wrong = []
    for path, name in re.findall(r"`([\w/]+\.py)` → `([\w.]+)`", guide.read_text("utf-8")):
        defined = defined_by(ROOT / path)
        if not all(part in defined for part in name.split(".")):
            wrong.append(f"{path} → {name}")
    assert wrong == []


@pytest.mark.parametrize("guide", GUIDES, ids=guide_id)
def test_metrics_in_guides_exist(guide: Path) -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", METRICS.read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"`(kapok_\w+)(?:\{[^`]*\})?`", guide.read_text("utf-8")))
    assert named <= listed


def test_each_path_names_its_functions() -> None:
    for page in (ROOT / "docs" / "paths").glob("*.md"):
        assert len(re.findall(r"`[\w/]+\.py` → `[\w.]+`", page.read_text("utf-8"))) >= 10


def test_the_tables_of_rooms_list_every_package_once() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    listed = re.findall(r"^\| `([a-z_/]+)` \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(PACKAGES)


def test_each_room_starts_with_a_module_of_its_own() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z_/]+)` \|.*\| `(\w+\.py)` \|$", text, re.MULTILINE)
    assert len(rows) >= len(PACKAGES) - 1  # simulation has two packages and no module
    assert [
        f"{package}/{name}" for package, name in rows if not (ROOT / package / name).is_file()
    ] == []


def test_every_term_of_the_glossary_stands_there_once_and_in_order() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text("utf-8").partition("## Reasons")[0]
    seen: set[str] = set()
    for topic in text.split("\n## ")[1:]:
        terms = re.findall(r"^\| ([a-zA-Z][^|`]*?) \| (?!meaning)", topic, re.MULTILINE)
        assert [term.lower() for term in terms] == sorted(term.lower() for term in terms)
        assert not seen & set(terms)
        seen |= set(terms)
    assert len(seen) > 80
