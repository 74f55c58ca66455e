"""Programs that tests need and Python packages do not bring."""

import os
import shutil

import pytest


def need(tool: str) -> str:
    """The path of a program; without it the test is skipped by name, and in CI it fails."""
    found = shutil.which(tool)
    if found is None:
        message = f"{tool} is not installed (make system-deps)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)  # a laptop without it runs the rest; the gate sets CI and fails above
    return found
