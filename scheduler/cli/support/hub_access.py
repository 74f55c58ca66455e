"""How commands find the hub.

In this order: `--kubeconfig`; the kubeconfig in `--data-dir` or $KAPOK_DATA_HOME; $KUBECONFIG; the
kubeconfig in the default data directory.
"""

import argparse
import os
from pathlib import Path

from scheduler.cli.support.arguments import add_data_dir_option
from scheduler.runtime.data_dir import KUBECONFIG_FILE
from scheduler.settings import DATA_HOME, data_directory

_FIX = "start a hub with `kapok up`, or name one with --kubeconfig FILE or --data-dir DIR"


class HubNotFound(Exception):
    """A kubeconfig does not exist; the message names the file and how to name another one."""


def add_hub_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --kubeconfig and --data-dir."""
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="kubeconfig of the hub (default: that of --data-dir, else $KUBECONFIG)",
    )
    add_data_dir_option(parser)


def find_kubeconfig(kubeconfig: str | None, data_dir: str | None) -> Path:
    """The kubeconfig of the hub; see the module for the order of search.

    Args:
        kubeconfig: the value of `--kubeconfig`; None: not given.
        data_dir: the value of `--data-dir`; None: not given.

    Raises:
        HubNotFound: the first place that is named has no kubeconfig.
    """
    if kubeconfig:
        return existing_kubeconfig(kubeconfig)
    if data_dir or os.environ.get(DATA_HOME):
        return existing_kubeconfig(data_directory(data_dir) / KUBECONFIG_FILE)
    from_environment = os.environ.get("KUBECONFIG")
    if from_environment:
        # $KUBECONFIG may list several files; the first one is the hub's.
        return existing_kubeconfig(from_environment.split(os.pathsep)[0])
    return existing_kubeconfig(data_directory(None) / KUBECONFIG_FILE)


def existing_kubeconfig(file: str | Path, *, fix: str = _FIX) -> Path:
    """A kubeconfig's path, checked.

    Args:
        file: the kubeconfig.
        fix: end of the message: what to do when the file does not exist.

    Raises:
        HubNotFound: the file does not exist.
    """
    path = Path(file)
    if not path.exists():  # not `is_file`: shells pass pipes, as in --kubeconfig <(…)
        raise HubNotFound(f"kubeconfig {path} not found; {fix}")
    return path
