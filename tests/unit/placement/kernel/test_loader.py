"""A kernel is used only if it has the interface that this code calls."""

import ast
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import build_kernel
from scheduler.placement import kernel as package
from scheduler.placement.kernel import loader as compiled
from tests.support.tools import require_kernel

STUB = build_kernel.ROOT / build_kernel.FOLDER / "kernel.pyi"


def compiled_with(found: ModuleType | None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What loader.py says when it finds this kernel."""
    monkeypatch.delattr(package, "kernel", raising=False)
    monkeypatch.setitem(sys.modules, f"{package.__name__}.kernel", found)
    return runpy.run_path(str(Path(compiled.__file__)))


def kernel_of(interface: int | None) -> ModuleType:
    """A kernel that was built for another version."""
    found = ModuleType(f"{package.__name__}.kernel")
    if interface is not None:
        vars(found)["INTERFACE"] = interface
    return found


def names_in(scope: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ...]]:
    """What a stub declares, members after their class; aliases and protocols are only for mypy."""
    for node in scope.body:
        match node:
            case ast.ClassDef(bases=[ast.Name(id="Protocol")]):
                pass
            case ast.FunctionDef(name=name):
                yield (name,)
            case ast.ClassDef(name=name):
                yield (name,)
                yield from ((name, *rest) for rest in names_in(node))
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                if ast.unparse(annotation) != "TypeAlias":
                    yield (name,)
            case _:
                pass


def test_the_kernel_was_built_from_this_source() -> None:
    require_kernel()
    assert build_kernel.digest(build_kernel.ROOT) == compiled.kernel.SOURCE, (
        "kernel.pyx or build_kernel.py was edited after the kernel was built: make kernel"
    )


def test_the_kernel_has_what_its_stub_names() -> None:
    require_kernel()
    missing = [".".join(name) for name in names_in(ast.parse(STUB.read_text())) if not _has(name)]
    assert missing == []


def _has(name: tuple[str, ...]) -> bool:
    found: object = compiled.kernel
    for part in name:
        found = getattr(found, part, None)
    return found is not None


def test_a_kernel_of_this_interface_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    says = compiled_with(kernel_of(compiled.INTERFACE), monkeypatch)
    assert (says["MODE"], says["MODE_SENTENCE"]) == ("compiled", "decisions run compiled")


@pytest.mark.parametrize("interface", [compiled.INTERFACE + 1, None])
def test_a_kernel_of_another_interface_is_not_used(
    interface: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = compiled_with(kernel_of(interface), monkeypatch)
    assert (says["IS_COMPILED"], says["IS_ABSENT"]) == (False, False)
    assert f"interface {interface}, wanted {compiled.INTERFACE}" in says["MODE_SENTENCE"]


def test_without_a_kernel_decisions_run_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    says = compiled_with(None, monkeypatch)
    assert (says["IS_COMPILED"], says["IS_ABSENT"]) == (False, True)
    assert says["MODE_SENTENCE"] == (
        "decisions run interpreted, slower and with the same answers: no kernel was built"
    )
