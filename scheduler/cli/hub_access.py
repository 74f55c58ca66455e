"""How commands find the hub: --kubeconfig, else the data directory's, else $KUBECONFIG."""

import argparse
import os
from pathlib import Path

from scheduler.runtime.data_dir import KUBECONFIG_FILE
from scheduler.settings import DATA_HOME, data_directory


class HubNotFound(Exception):
    """No kubeconfig was found; the message says where it was looked for."""


def add_hub_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --kubeconfig and --data-dir."""
    parser.add_argument("--kubeconfig", metavar="FILE", help="how to reach the hub")
    parser.add_argument("--data-dir", metavar="DIR", help="of the `kapok up` to talk to")


def find_kubeconfig(kubeconfig: str | None, data_dir: str | None) -> Path:
    """The kubeconfig to use.

    Raises:
        HubNotFound: there is none at any of the places.
    """
    if kubeconfig:
        return _check_exists(Path(kubeconfig))
    if data_dir or os.environ.get(DATA_HOME):
        return _check_exists(data_directory(data_dir) / KUBECONFIG_FILE)
    from_environment = os.environ.get("KUBECONFIG")
    if from_environment:
        return _check_exists(Path(from_environment.split(os.pathsep)[0]))
    return _check_exists(data_directory(None) / KUBECONFIG_FILE)


def _check_exists(path: Path) -> Path:
    if not path.exists():
        raise HubNotFound(
            f"{path}: no kubeconfig there. Start a hub with `kapok up`, or name one with "
            "--kubeconfig FILE or --data-dir DIR"
        )
    return path
