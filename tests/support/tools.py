"""Programs and the compiled kernel, which tests need and Python packages do not install."""

import os
import shutil
from typing import NoReturn

import pytest

from scheduler.placement.kernel import loader as compiled


def require_tool(tool: str) -> str:
    """The path of a program; without it the test is skipped with its name, and fails in CI."""
    found = shutil.which(tool)
    if found is None:
        skip_or_fail(f"{tool} is not installed (make system-deps)")
    return found


def require_kernel() -> None:
    """Skips the test without the compiled kernel, fails in CI; an outdated kernel always fails."""
    if compiled.IS_ABSENT:
        skip_or_fail("the kernel is not built (make kernel says what it lacks)")
    assert compiled.IS_COMPILED, f"{compiled.FALLBACK_REASON} (make kernel)"


def skip_or_fail(message: str) -> NoReturn:
    """Skips a test that this machine cannot run; in CI, where it must be able to, fails it."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)  # a laptop without it runs the rest; the gate sets CI and fails above
