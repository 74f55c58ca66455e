"""What `kubectl kustomize` makes of a folder of the manifests, and `kubectl apply -k` applies."""

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from scheduler.runtime.packaged_files import packaged_folder

Json = dict[str, Any]
MANIFESTS = packaged_folder("manifests")
OVERLAYS = sorted(path.name for path in (MANIFESTS / "overlays").iterdir())
"""The names of the overlays."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KUBECTL = Path(sys.executable).with_name("kubectl")


@cache
def kustomize(folder: Path) -> tuple[Json, ...]:
    """The objects of a kustomization, in the order in which they are applied."""
    done = subprocess.run(
        [str(_KUBECTL), "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"HOME": "/nonexistent", "PATH": "/nonexistent"},  # no git, no network
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return tuple(yaml.load_all(done.stdout, _LOADER))


def overlay(name: str) -> tuple[Json, ...]:
    """The objects of an overlay."""
    return kustomize(MANIFESTS / "overlays" / name)


def of_kind(objects: tuple[Json, ...], kind: str) -> list[Json]:
    """The objects of a kind."""
    return [one for one in objects if one["kind"] == kind]
