"""The kernel is built where that is possible; elsewhere one line says what is missing."""

import stat
import sysconfig
import tomllib
from pathlib import Path

import pytest

import build_kernel
from build_kernel import FOLDER, SUFFIX, CannotBuild, build, built_digest, digest
from tests.support.tools import require_kernel, require_tool

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A source tree with a small kernel."""
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "kernel.pyx").write_text("INTERFACE: int = 1\n")
    return tmp_path


@pytest.fixture
def target(root: Path) -> Path:
    return root / FOLDER / f"kernel{SUFFIX}"


@pytest.fixture
def _no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_kernel_says_what_it_was_built_from(root: Path, target: Path) -> None:
    require_kernel()
    build(root, target)
    assert built_digest(target) == digest(root)
    (root / FOLDER / "kernel.pyx").write_text("INTERFACE: int = 2\n")
    assert built_digest(target) != digest(root)


def test_a_kernel_that_is_up_to_date_is_not_built_again(root: Path, target: Path) -> None:
    require_kernel()
    assert build_kernel.main(root) == 0
    built = target.stat()
    assert build_kernel.main(root) == 0
    assert target.stat() == built
    assert {one.name for one in (root / FOLDER).iterdir()} == {target.name, "kernel.pyx"}


@pytest.mark.usefixtures("_no_compiler")
def test_without_a_compiler_one_line_says_what_to_install(
    root: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target.write_bytes(b"")  # an old one
    assert build_kernel.main(root) == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("decisions run interpreted, slower and with the same answers: ")
    assert "install gcc or clang" in line
    assert not target.exists()


@pytest.mark.usefixtures("_no_compiler")
def test_a_compiler_that_compiles_nothing_is_named(
    root: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\necho no libc here >&2\nexit 1\n")
    broken.chmod(stat.S_IRWXU)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(CannotBuild, match="broken-cc compiles nothing here: no libc here"):
        build(root, target)


def test_missing_headers_of_python_are_named(
    root: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("cc")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(root / "nowhere"))
    with pytest.raises(CannotBuild, match=r"nowhere/Python\.h is missing; install the headers"):
        build(root, target)


def test_a_kernel_that_does_not_compile_is_an_error(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_kernel()
    (root / FOLDER / "kernel.pyx").write_text("cdef int x = nothing\n")
    assert build_kernel.main(root) == 1
    assert "undeclared name not builtin: nothing" in capsys.readouterr().err


def test_a_wheel_is_built_with_what_the_lock_pins() -> None:
    text = (build_kernel.ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)
    extra = project["project"]["optional-dependencies"]["build"]
    assert set(project["build-system"]["requires"]) <= set(extra)
