"""Finds the files that Kapok ships: manifests and configs, from the wheel or the source."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def packaged_folder(folder: str) -> Path:
    """The folder `manifests` or `configs` as shipped.

    Args:
        folder: "manifests" or "configs".

    Raises:
        FileNotFoundError: neither the wheel's copy nor a source tree's is there.
    """
    for candidate in (_PACKAGE / "_shipped" / folder, _PACKAGE.parent / folder):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(
        f"{folder}: not shipped with this installation; reinstall kapok-scheduler"
    )
