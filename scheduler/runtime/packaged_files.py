"""Finds the manifests and configs that Kapok ships, in the wheel or in a source tree."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]  # the folder of `scheduler`


def packaged_folder(folder: str) -> Path:
    """The shipped folder `manifests` or `configs`.

    Args:
        folder: "manifests" or "configs".

    Raises:
        FileNotFoundError: neither the wheel nor a source tree has it.
    """
    for candidate in (_PACKAGE / "_shipped" / folder, _PACKAGE.parent / folder):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(
        f"{folder}: not shipped with this installation; reinstall kapok-scheduler"
    )
