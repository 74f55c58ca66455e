"""The files for those who come name files, targets and commands that exist."""

import json
import re
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("CONTRIBUTING.md", "SECURITY.md", ".github/pull_request_template.md")
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PLACEHOLDER = "NAME"
VENDORS = ("scheduler/web/page/vendor", "tests/vendor")
"""Where works of others lie."""
CHECKLISTS = {
    "A field of a kind",
    "A hard rule",
    "A cost",
    "A sensor",
    "A command",
    "A route of the HTTP API",
    "A metric",
}
MOST_FILES_OF_A_RULE = 5


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def tree(name: str) -> Any:  # noqa: ANN401 - any YAML
    return yaml.safe_load(text(name))


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))


def recipe(target: str) -> list[str]:
    """The command lines of a target."""
    body = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text("Makefile"), re.MULTILINE)
    assert body is not None, target
    return [line.strip() for line in body[1].splitlines()]


def code(document: str) -> Iterator[str]:
    """Everything in backticks and in code blocks, piece by piece."""
    blocks = re.split(r"^```\w*$", document, flags=re.MULTILINE)
    for prose, block in zip(blocks[::2], [*blocks[1::2], ""], strict=True):
        yield from re.findall(r"`([^`]+)`", prose)
        yield from block.splitlines()


def paths(document: str) -> set[str]:
    """What is written like a path of this repository."""
    words = {word.rstrip(".,;:") for piece in code(document) for word in piece.split()}
    looks_like_one = re.compile(
        r"(?!\.venv)\.?\w[\w.-]*(/[\w.-]+)+|[\w.-]+\.(py|md|ya?ml|toml|json)"
    )
    return {word for word in words if looks_like_one.fullmatch(word)}


def exists(path: str) -> bool:
    """A file, a folder, or for a name with a placeholder the folder that it goes into."""
    if PLACEHOLDER in path:
        return (ROOT / path).parent.is_dir()
    if "/" in path:
        return (ROOT / path).exists()
    return (ROOT / path).exists() or any((ROOT / "scheduler").rglob(path))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_name_files_that_exist(name: str) -> None:
    assert [path for path in sorted(paths(text(name))) if not exists(path)] == []


@pytest.mark.parametrize("name", [*DOCUMENTS, "README.md", "README.zh-CN.md"])
def test_documents_name_make_targets_that_exist(name: str) -> None:
    pieces = "\n".join(code(text(name)))
    assert set(re.findall(r"\bmake ([a-z-]+)", pieces)) <= make_targets()


def test_contributing_names_files_and_targets_at_all() -> None:
    contributing = text("CONTRIBUTING.md")
    assert len(paths(contributing)) > 40
    assert {"make kernel", "make test"} <= {
        line.partition("#")[0].strip() for line in code(contributing)
    }


def test_contributing_has_a_checklist_for_each_kind_of_change() -> None:
    _, _, checklists = text("CONTRIBUTING.md").partition("## Checklists\n")
    assert set(re.findall(r"^### (.+)$", checklists, re.MULTILINE)) == CHECKLISTS


def test_adding_a_rule_touches_few_files() -> None:
    _, _, rest = text("CONTRIBUTING.md").partition("<!-- checklist: rule -->")
    checklist = rest.partition("<!-- end of checklist: rule -->")[0]
    assert "scheduler/placement/filter/constraints/NAME.py" in paths(checklist)
    assert len(paths(checklist)) <= MOST_FILES_OF_A_RULE


def test_the_notice_names_the_derived_files() -> None:
    named = set(re.findall(r"^- (\S+):", text("NOTICE"), re.MULTILINE))
    core = Path("scheduler/apiserver/kinds/core")
    derived = {str(core / path.name) for path in (ROOT / core).glob("*.json")}
    vendored = {
        str(path.relative_to(ROOT))
        for vendor in VENDORS
        for path in (ROOT / vendor).iterdir()
        if path.is_dir()
    }
    assert derived
    assert vendored
    assert named == derived | vendored


@pytest.mark.parametrize("folder", VENDORS)
def test_what_is_of_others_is_as_published_and_has_its_licence(folder: str) -> None:
    """The sums are those of the published files."""
    vendor = ROOT / folder
    known = json.loads((vendor / "versions.json").read_text("utf-8"))
    assert {one.name for one in vendor.iterdir() if one.is_dir()} == set(known)
    for name, library in known.items():
        found = {
            path.name: f"sha256:{sha256(path.read_bytes()).hexdigest()}"
            for path in (vendor / name).iterdir()
        }
        assert found == library["files"]
        assert "LICENSE" in found
        assert f"- {folder}/{name}: version {library['version']}" in text("NOTICE")


def test_only_the_vendored_files_of_the_page_are_of_others() -> None:
    page = ROOT / "scheduler" / "web" / "page"
    vendor = page / "vendor"
    for path in page.rglob("*.*"):
        if path.is_file() and vendor not in path.parents:
            words = path.read_text("utf-8")
            assert not re.search(r"@license|copyright|\(c\)", words, re.IGNORECASE), path


def workflow_steps() -> list[dict[str, Any]]:
    [job] = tree(".github/workflows/ci.yml")["jobs"].values()
    steps: list[dict[str, Any]] = job["steps"]
    return steps


def test_the_workflow_runs_the_commands_of_the_gate() -> None:
    gate = re.findall(r"^make .+$", text(".ci/run"), re.MULTILINE)
    runs = [step["run"].removeprefix("sudo ") for step in workflow_steps() if "run" in step]
    assert gate
    assert [run for run in runs if run.startswith("make ")] == gate


def test_the_workflow_sets_what_the_gate_sets() -> None:
    wanted = set(re.findall(r"^export (\w+)=", text(".ci/run"), re.MULTILINE))
    given = {name for step in workflow_steps() for name in step.get("env", {})}
    assert wanted - {"CI"} == given  # forges set CI themselves


def test_the_workflow_uses_actions_by_major_version() -> None:
    used = [step["uses"] for step in workflow_steps() if "uses" in step]
    assert {use.partition("@")[0] for use in used} == {"actions/checkout", "actions/setup-python"}
    assert [use for use in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", use)] == []


def test_pre_commit_hooks_are_the_checks_of_make_and_download_nothing() -> None:
    repositories = tree(".pre-commit-config.yaml")["repos"]
    assert [one["repo"] for one in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    checks = [line.replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in recipe("check")]
    assert [hook["entry"].removesuffix(" --force-exclude") for hook in hooks] == checks


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_can_be_filled_in(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"]
    assert form["description"]
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert ids
    assert len(ids) == len(set(ids))


def test_the_classifiers_name_the_versions_that_are_required() -> None:
    least = tuple(map(int, PROJECT["project"]["requires-python"].removeprefix(">=").split(".")))
    named = [
        tuple(map(int, found[1].split(".")))
        for line in PROJECT["project"]["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]
    assert min(named) == least
    assert named == sorted(set(named))


def test_the_sdist_contains_what_the_readme_links() -> None:
    shipped = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text("README.md") + text("README.zh-CN.md"))
    assert {link for link in links if f"/{link.partition('/')[0]}" not in shipped} == set()


def test_every_package_says_that_it_is_typed() -> None:
    shipped = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    packages = [name for name in shipped if (ROOT / name).is_dir()]
    assert packages
    assert [name for name in packages if not (ROOT / name / "py.typed").is_file()] == []


def test_the_files_of_the_licence_exist_and_are_in_the_sdist() -> None:
    shipped = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert PROJECT["project"]["license-files"] == ["LICENSE", "NOTICE"]
    for name in (*PROJECT["project"]["license-files"], PROJECT["project"]["readme"]):
        assert (ROOT / name).is_file()
        assert f"/{name}" in shipped
